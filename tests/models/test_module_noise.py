"""Modules that draw random numbers or keep averages while they train: dropout, batch norm."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from pipeline.contracts.models import MODEL_CONTRACT
from pipeline.contracts.runs import RUN_CONTRACT
from pipeline.engine.block import Block
from pipeline.models._module_noise import RunNoise, SeparateDropout, draws_unseen
from pipeline.models._module_slots import by_slot, by_slot_with_state
from pipeline.models.base import MODELS
from pipeline.numerics.streams import Draws, stream_key
from pipeline.spec.sweep import SweepSpec
from pipeline.store.sweep_store import SweepStore
from pipeline.tasks.base import TASKS
from pipeline.training.replay import model as model_at
from tests.support import configs, drop_in, same, states_of, tiny, trained

SOURCE = """
import torch
from torch import nn

from pipeline.models.torch_module import TorchModule


class Noisy(TorchModule):
    name = "noisy"
    accepts = ("tokens", "vectors")

    def module(self, task_shape):
        enter = nn.Embedding(task_shape.size, 6) if task_shape.kind == "tokens" else nn.Linear(task_shape.size, 6)
        return nn.Sequential(
            enter,
            nn.Dropout(0.3),
            nn.Flatten(),
            nn.Linear(task_shape.length * 6, 5),
            nn.BatchNorm1d(5),
            nn.Linear(5, task_shape.num_outputs),
        )

"""


def draws(seed=3, step=7):
    return Draws(torch.tensor([stream_key("noise", seed)]), torch.tensor([step]), 1)


@pytest.fixture
def noisy(tmp_path, monkeypatch):
    return drop_in(monkeypatch, tmp_path, "model", "noisy", SOURCE)


def test_every_draw_is_a_pure_function_of_stream_step_and_place():
    before = torch.random.get_rng_state()
    with RunNoise(draws()) as noise:
        mask = nn.functional.dropout(torch.ones(3, 50), 0.25)
        normal = torch.randn(40)
    assert noise.num_calls == 2
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(mask != 0, (draws().uniform(150, 0) < 0.75).view(3, 50))
    assert torch.equal(mask.unique(), torch.tensor([0, 1 / 0.75]))
    assert torch.equal(normal, draws().normal(40, 1).view(40))
    for other in (draws(seed=4), draws(step=8)):
        with RunNoise(other):
            assert not torch.equal(nn.functional.dropout(torch.ones(3, 50), 0.25), mask)


LAYERS = {
    "gru": (lambda: nn.GRU(4, 4, 2, dropout=0.5), 1),
    "encoder": (lambda: nn.TransformerEncoderLayer(4, 2, 4, dropout=0.5), 4),
}


@pytest.mark.parametrize("name", LAYERS)
def test_dropout_inside_torchs_own_layers_is_drawn_from_the_stream(name):
    make, num_calls = LAYERS[name]
    layer, inputs = make(), torch.ones(3, 2, 4)
    before = torch.random.get_rng_state()
    found = []
    for seed in (3, 3, 4):
        with RunNoise(draws(seed)) as noise:
            found.append(layer(inputs)[0])
    assert noise.num_calls == num_calls
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])


LIKE_TORCH = {
    "dropout": (lambda x: nn.functional.dropout(x, 0.3), 1.0, 0.3 / 0.7),
    "dropout in attention": (
        lambda x: nn.functional.scaled_dot_product_attention(0 * x, 0 * x, x, dropout_p=0.5).mean(1) * 50**0.5,
        50**0.5,
        1.0,
    ),
    "rand": (lambda x: torch.rand(40_000), 0.5, 1 / 12),
    "rand_like": (torch.rand_like, 0.5, 1 / 12),
    "uniform_": (lambda x: torch.empty(40_000).uniform_(2, 4), 3.0, 1 / 3),
    "randn": (lambda x: torch.randn(40_000), 0.0, 1.0),
    "randn_like": (torch.randn_like, 0.0, 1.0),
    "normal_": (lambda x: torch.empty(40_000).normal_(2, 3), 2.0, 9.0),
    "normal": (lambda x: torch.normal(2 * x, 3 * x), 2.0, 9.0),
    "normal of a mean": (lambda x: torch.normal(2.0, 3 * x), 2.0, 9.0),
    "bernoulli": (lambda x: torch.bernoulli(0.2 * x), 0.2, 0.16),
    "bernoulli_ of a tensor": (lambda x: torch.empty_like(x).bernoulli_(0.2 * x), 0.2, 0.16),
    "exponential_": (lambda x: torch.empty_like(x).exponential_(2), 0.5, 0.25),
    "randint": (lambda x: torch.randint(5, (40_000,)).float(), 2.0, 2.0),
    "randint from": (lambda x: torch.randint(3, 8, (40_000,)).float(), 5.0, 2.0),
    "rsample": (lambda x: torch.distributions.Normal(x, 3 * x).rsample(), 1.0, 9.0),
    "randperm": (lambda x: torch.randperm(40_000).div(40_000) + 0 * x.flatten(), 0.5, 1 / 12),
}


@pytest.mark.parametrize("name", LIKE_TORCH)
def test_each_operation_has_the_mean_and_variance_of_torchs_own(name):
    call, mean, variance = LIKE_TORCH[name]
    with RunNoise(draws()) as noise:
        found = call(torch.ones(20, 50, 40))
    assert noise.num_calls == 1
    assert abs(found.mean() - mean) < 0.05 * max(1, abs(mean))
    assert abs(found.var() - variance) < 0.1 * max(1, variance) or name == "dropout in attention"


@pytest.mark.parametrize(("low", "high"), [(0, 2**31 + 2**30), (-(2**33), 2**33), (5, 2**40), (-(2**62), 2**62)])
def test_integers_of_wide_ranges_are_uniform_over_all_of_the_range(low, high):
    with RunNoise(draws()):
        found = torch.randint(low, high, (4000,))
        again = torch.randint(low, high, (2000, 2))
    assert found.min() >= low
    assert found.max() < high
    shares = torch.histc((found.double() - low) / (high - low), 4, 0, 1) / 4000
    assert (shares - 0.25).abs().max() < 0.04
    assert not torch.equal(found, again.flatten())


def test_integers_of_more_values_than_a_stream_gives_are_refused():
    with RunNoise(draws()), pytest.raises(ValueError, match=r"1 to 2\^63 different numbers"):
        torch.randint(-(2**63), 2**62, (3,))
    with pytest.raises(AssertionError, match="more than a word"):
        draws().integers(2**31 + 1, 1, 0)


class Kernels(torch.utils._python_dispatch.TorchDispatchMode):
    """Notes at every dropout which fused kernels torch may use there."""

    def __init__(self):
        super().__init__()
        self.allowed = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func in (torch.ops.aten.native_dropout.default, torch.ops.aten.bernoulli_.float):
            attention = torch.backends.cuda.flash_sdp_enabled() or torch.backends.cuda.mem_efficient_sdp_enabled()
            self.allowed.append((attention, torch.backends.cudnn.enabled))
        return func(*args, **kwargs or {})


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        (nn.TransformerEncoderLayer(4, 2, 4, dropout=0.5), [(False, True), (True, True), (True, True), (True, True)]),
        (nn.GRU(4, 4, 2, dropout=0.5), [(True, False)]),
        (nn.LSTM(4, 4, 2, dropout=0.5), [(True, False)]),
        (nn.Sequential(nn.GRU(4, 4, 2)), []),
    ],
)
def test_attention_and_recurrent_layers_that_drop_use_kernels_whose_dropout_can_be_seen(layer, expected):
    with Kernels() as kernels, SeparateDropout():
        layer(torch.ones(3, 2, 4))
    assert kernels.allowed == expected
    assert torch.backends.cudnn.enabled
    assert torch.backends.cuda.flash_sdp_enabled()


ATEN = torch.ops.aten
UNSEEN = {
    "fused attention that drops": (ATEN._scaled_dot_product_flash_attention.default, (0, 0, 0, 0.1), {}, True),
    "fused attention that drops by name": (
        ATEN._scaled_dot_product_efficient_attention.default,
        (0, 0, 0, None, True),
        {"dropout_p": 0.1},
        True,
    ),
    "fused attention": (ATEN._scaled_dot_product_flash_attention.default, (0, 0, 0), {}, False),
    "fused attention of share 0": (ATEN._scaled_dot_product_cudnn_attention.default, (0,) * 4 + (True, 0.0), {}, False),
    "cuDNN that drops": (ATEN._cudnn_rnn.default, (0,) * 11 + (0.5, True), {}, True),
    "cuDNN that drops nothing": (ATEN._cudnn_rnn.default, (0,) * 11 + (0.0, True), {}, False),
    "cuDNN in evaluation": (ATEN._cudnn_rnn.default, (0,) * 11 + (0.5, False), {}, False),
    "multinomial": (ATEN.multinomial.default, (0, 1), {}, True),
    "dropout, which is known": (ATEN.native_dropout.default, (0, 0.5, True), {}, False),
    "a product": (ATEN.mm.default, (0, 0), {}, False),
}


@pytest.mark.parametrize("name", UNSEEN)
def test_operations_that_draw_from_the_generator_of_a_device_are_told_from_others(name):
    func, args, given, is_unseen = UNSEEN[name]
    assert draws_unseen(func, args, given) == is_unseen


class Sometimes(nn.Module):
    """Draws for large inputs alone, by dropout or by an operation that no stream has."""

    def __init__(self, draw):
        super().__init__()
        self.weight, self.draw = nn.Parameter(torch.ones(1)), draw

    def forward(self, inputs):
        return self.weight * (self.draw(inputs) if inputs.max() > 5 else inputs)


@pytest.mark.parametrize("is_training", [True, False])
def test_what_draws_only_now_and_then_is_told_when_it_does(is_training):
    parameters = {"weight": torch.ones(2, 1, 1)}
    small, large = torch.ones(2, 3, 4), torch.full((2, 3, 4), 9.0)
    dropping = Sometimes(nn.functional.dropout).train(is_training)
    noise = Draws(draws().keys_S2.repeat(2, 1), draws().steps_S.repeat(2), 1)
    by_slot(dropping, parameters, small)
    with pytest.raises(RuntimeError, match="draws random numbers that it did not draw when it was tried"):
        by_slot(dropping, parameters, large)
    by_slot_with_state(dropping, parameters, large, noise)
    unknown = Sometimes(lambda inputs: inputs.clone().cauchy_()).train(is_training)
    by_slot_with_state(unknown, parameters, small, noise)
    with pytest.raises(RuntimeError, match="so no stream gives them"):
        by_slot_with_state(unknown, parameters, large, noise)


def test_on_other_devices_than_the_cpu_what_draws_unseen_raises():
    meta = torch.ones(2, 3, device="meta")
    with RunNoise(draws()) as noise:
        torch.multinomial(meta, 1)
    noise.draws = Draws(draws().keys_S2.to("meta"), draws().steps_S.to("meta"), 1)
    with noise, pytest.raises(ValueError, match=r"multinomial.* draws from the generator of the device"):
        torch.multinomial(meta, 1)


def test_a_noisy_module_keeps_the_rule_resumes_and_replays_to_the_bit(noisy):
    assert noisy().noise_streams(SweepSpec.model_validate(spec()).task.shape()) == ("noise",)
    for check in RUN_CONTRACT.checks:
        check({"task": "dictionary_lookup", "model": "noisy"})


@pytest.mark.parametrize("check", MODEL_CONTRACT.checks, ids=lambda check: check.__name__)
def test_a_noisy_module_keeps_the_contract_of_models(noisy, check):
    check(noisy, TASKS["dictionary_lookup"])


def spec(**changes):
    return tiny().identity() | {"model": {"name": "noisy"}} | changes


def test_a_noisy_module_trains_as_it_does_by_itself(noisy):
    (run,) = configs(SweepSpec.model_validate(spec(seeds={"together": [5]}, optimiser={"name": "sgd", "lr": 0.1})))
    torch.manual_seed(5)
    module = run.model.module(run.task.shape()).train()
    optimiser = torch.optim.SGD(module.parameters(), 0.1)
    block = Block(run, 3, torch.device("cpu"))
    for step in range(4):
        batch = block.sample("train", torch.full_like(block.steps_S, step), run.batch_size)
        with RunNoise(draws(5, step)):
            answers = module(batch.inputs[0])
        optimiser.zero_grad()
        run.task.losses(answers[None], batch.targets[:1]).mean().backward()
        optimiser.step()
    block.train(4)
    batch = block.sample("label", block.steps_S, 20)
    module.eval()
    ours = block.model.predict({name: value.detach() for name, value in block.parameters.items()}, batch.inputs)
    torch.testing.assert_close(ours[0], module(batch.inputs[0]).detach(), rtol=1e-4, atol=1e-5)
    for name, value in {**dict(module.named_parameters()), **dict(module.named_buffers())}.items():
        own = block.parameters[name][0].detach().view(value.shape)
        torch.testing.assert_close(own.to(value.dtype), value.detach(), rtol=1e-4, atol=1e-5)


def test_noise_has_a_stream_of_its_own_that_a_sweep_can_pin(noisy):
    def state(data_seed, **streams):
        seeds = {"zipped": {"init_seed": [0], "data_seed": [data_seed]}}
        return states_of(configs(SweepSpec.model_validate(spec(seeds=seeds, streams=streams))), 1, steps=3)[0]

    pinned = state(1, noise=9, data=4)
    assert same(pinned, state(2, noise=9, data=4))
    assert not same(pinned, state(1, data=4))
    assert not same(state(1, data=4), state(2, data=4))
    with pytest.raises(ValueError, match=r"valid: data, noise, init/"):
        state(1, nois=9)


def test_what_is_kept_of_batch_norm_counts_in_no_norm_and_is_the_modules_own(noisy, tmp_path):
    store = trained(SweepSpec.model_validate(spec(seeds={"together": [0]})), tmp_path / "results")
    (run,) = configs(SweepSpec.model_validate(spec(seeds={"together": [0]})))
    module = model_at(SweepStore(store.folder), run.run_id, 30)
    assert type(module).__name__ == "Sequential"
    assert list(module.state_dict()) == list(MODELS["noisy"]().module(run.task.shape()).state_dict())
    assert module[4].num_batches_tracked == 30
    assert not module.training
    norm = torch.cat([value.flatten() for value in module.parameters()]).norm()
    recorded = store.history().values["weight_norm"][0, -1]
    assert abs(float(norm) - recorded) < 1e-4
