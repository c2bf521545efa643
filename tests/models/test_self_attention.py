"""Linear self-attention and its variants (von Oswald et al. 2023) against plain code; the tasks it is trained on."""

from __future__ import annotations

import math

import pytest
import torch

from pipeline.contracts.tasks import sample
from pipeline.engine.block import Block
from pipeline.engine.parameter_layout import Layout
from pipeline.models.base import MODELS
from pipeline.tasks.base import TASKS
from tests.support import run_of

LAYERS, EMBEDDED = MODELS["linear_self_attention"], MODELS["embedded_self_attention"]
REGRESSION, SEPARATE, SINE = (TASKS[f"{kind}_regression"] for kind in ("linear", "separate", "sine"))


def drawn(model, task_shape, seed=0, scale=0.5):
    """Parameters (1, rows, columns), large enough that every path matters."""
    generator = torch.Generator().manual_seed(seed)
    return {
        spec.name: scale * torch.randn(1, spec.rows, spec.columns, generator=generator, dtype=torch.float64)
        for spec in model.parameter_specs(task_shape)
    }


def plain_layers(model, parameters, tokens_LD):
    """Their eq. 2 token by token, with the variants, for one example; the tokens after each layer."""
    length = len(tokens_LD)
    if model.position_width:
        rows = []
        for position in range(length):
            angles = [position / 10000 ** (2 * i / model.position_width) for i in range(model.position_width // 2)]
            rows.append([f(angle) for angle in angles for f in (math.sin, math.cos)])
        tokens_LD = torch.cat([tokens_LD, torch.tensor(rows, dtype=torch.float64)], 1)
    size, found = tokens_LD.shape[1], []
    for layer in range(model.num_layers):
        prefix = f"layer{0 if model.is_tied else layer}."
        query, key, value, projection = (
            parameters[prefix + name][0] for name in ("query", "key", "value", "projection")
        )
        after = tokens_LD.clone()
        for j in range(length):
            for head in range(model.num_heads):
                rows = slice(head * size, (head + 1) * size)
                looks = query[rows] @ tokens_LD[j]
                scores = torch.stack([(key[rows] @ tokens_LD[i]) @ looks for i in range(length - 1)])
                if model.softmax == "every" or (model.softmax == "first" and layer == 0):
                    scores = torch.softmax(scores / math.sqrt(size), 0)
                mixed = sum(scores[i] * (value[rows] @ tokens_LD[i]) for i in range(length - 1))
                after[j] += projection[:, rows] @ mixed
        limit = model.token_limit or math.inf
        after = after.clamp(-limit, limit)
        if model.mlp_width:
            hidden = torch.nn.functional.gelu(after @ parameters[f"{prefix}up"][0].T, approximate="tanh")
            after = (after + hidden @ parameters[f"{prefix}down"][0].T).clamp(-limit, limit)
        tokens_LD = after
        found.append(tokens_LD)
    return found


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"num_heads": 3},
        {"num_layers": 2, "num_heads": 2, "is_tied": True},
        {"num_layers": 2, "softmax": "first", "position_width": 4},
        {"num_heads": 2, "softmax": "every"},
        {"num_layers": 2, "mlp_width": 3},
        {"num_layers": 3, "token_limit": 0.3},
    ],
    ids=str,
)
def test_layers_are_their_equation_token_by_token(options):
    model, task = LAYERS(**options), REGRESSION(dim=3, num_pairs=4)
    parameters = drawn(model, task.shape())
    inputs = sample(task, (0,), num_rows=3).inputs.double()
    found = model.forward(parameters, inputs)
    expected = [-plain_layers(model, parameters, example)[-1][-1, -1] for example in inputs[0]]
    torch.testing.assert_close(found.predictions[0, :, 0], torch.stack(expected), rtol=1e-10, atol=1e-10)


def test_heads_start_with_the_single_head_and_as_the_public_code_does():
    task = REGRESSION()
    specs = LAYERS(init_variance=0.002585, num_heads=2).parameter_specs(task.shape())
    assert [(spec.rows, spec.columns) for spec in specs] == [(22, 11)] * 3 + [(11, 22)]
    one, two = (Layout(LAYERS(num_heads=heads).parameter_specs(task.shape()), torch.float64) for heads in (1, 2))
    seeds = {f"init/layer0.{name}": 3 for name in ("query", "key", "value", "projection")}
    single, double = (layout.views(layout.initial_weights(seeds, 1.0)[None]) for layout in (one, two))
    assert torch.equal(single["layer0.key"], double["layer0.key"][:, :11])
    draws = specs[0].std * torch.nn.init.trunc_normal_(torch.empty(200_000), a=-2.0, b=2.0)
    assert float(draws.std()) == pytest.approx(math.sqrt(0.002 / 11), rel=0.01)
    assert specs[3].std == pytest.approx(specs[0].std / math.sqrt(2))


def test_sensitivities_tell_a_layer_that_copies_from_one_that_does_nothing():
    model, task = LAYERS(num_layers=2, softmax="first", position_width=10), SEPARATE()
    inputs = sample(task, (0,), num_rows=16).inputs.double()
    parameters = {name: torch.zeros_like(value) for name, value in drawn(model, task.shape()).items()}
    idle = model.probes(parameters, inputs)
    assert float(idle["own_token_sensitivity"]) == pytest.approx(math.sqrt(10))
    assert float(idle["next_token_sensitivity"]) == float(idle["other_token_sensitivity"]) == 0
    # A query turns every sinusoid by one position, so that it meets the next token's.
    for i in range(5):
        angle = 10000 ** (-2 * i / 10)
        turn = torch.tensor([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
        places = slice(10 + 2 * i, 12 + 2 * i)
        parameters["layer0.query"][0, places, places] = 200 * turn.double()
        parameters["layer0.key"][0, places, places] = torch.eye(2, dtype=torch.float64)
    parameters["layer0.value"][0, :10, :10] = parameters["layer0.projection"][0, :10, :10] = torch.eye(10).double()
    copying = model.probes(parameters, inputs)
    assert float(copying["own_token_sensitivity"]) == pytest.approx(math.sqrt(10), rel=1e-3)
    assert float(copying["next_token_sensitivity"]) == pytest.approx(math.sqrt(10), rel=1e-2)
    assert float(copying["other_token_sensitivity"]) < 0.05


def test_separate_tokens_are_the_same_contexts():
    task = SEPARATE(dim=3, num_pairs=4)
    separate, paired = sample(task, (0, 1), num_rows=6), sample(task.paired(), (0, 1), num_rows=6)
    assert torch.equal(separate.inputs[:, :, 0::2], paired.inputs[..., :-1])
    assert torch.equal(separate.inputs[:, :, 1::2, -1], paired.inputs[:, :, :-1, -1])
    assert not separate.inputs[:, :, 1::2, :-1].any()
    assert torch.equal(separate.targets, paired.targets)
    assert torch.equal(task.reference_losses(separate), task.paired().reference_losses(paired))


def test_fixed_tasks_come_again_and_the_label_set_has_others():
    task = REGRESSION(num_batches=3)
    first, fourth, second = (sample(task, (0,), [step]).inputs for step in (0, 3, 1))
    assert torch.equal(first, fourth)
    assert not torch.equal(first, second)
    block = Block(run_of({"name": "linear_regression", "num_batches": 3}), 1, torch.device("cpu"))
    trained = block.sample("train", block.steps_S, 8).inputs
    assert not torch.equal(trained, block.sample("label", block.steps_S, 8).inputs)


def test_chance_on_sine_waves_is_the_best_guess_without_a_context():
    task = SINE()
    batch = sample(task, tuple(range(20)), num_rows=4000)
    x_SB = batch.inputs[:, :, -1, 0]
    guesses = {scale: scale * 0.3 * 2 / math.pi * x_SB.cos() for scale in (0.8, 1.0, 1.2)}
    losses = {scale: task.losses(guess.unsqueeze(-1), batch.targets) for scale, guess in guesses.items()}
    error = float(losses[1.0].std()) / losses[1.0].numel() ** 0.5
    assert float(losses[1.0].mean()) == pytest.approx(task.chance_loss(), abs=4 * error)
    assert min(losses, key=lambda scale: float(losses[scale].mean())) == 1.0
    # Amplitude and phase follow from two pairs: a sin(x + rho) = b sin x + c cos x.
    x, y = batch.inputs[0, :, :-1, 0].double(), batch.inputs[0, :, :-1, 1].double()
    waves = torch.linalg.lstsq(torch.stack([x.sin(), x.cos()], -1), y.unsqueeze(-1)).solution[..., 0]
    query = x_SB[0].double()
    answer = waves[:, 0] * query.sin() + waves[:, 1] * query.cos()
    torch.testing.assert_close(answer, batch.targets[0].double(), rtol=0, atol=1e-4)
    assert 0.1 <= float(waves.norm(dim=1).min()) <= float(waves.norm(dim=1).max()) <= 0.5 + 1e-5


def test_attention_that_is_a_gradient_step_does_what_a_layer_with_the_construction_does():
    from sweeps.von_oswald_2023.gradient_descent import Descent, construction

    task = SINE(num_pairs=5)
    stepping, trained = EMBEDDED(width=6, attention="gradient_step", step_size=0.7), EMBEDDED(width=6)
    parameters = drawn(stepping, task.shape())
    built = construction(6, 5, Descent.plain(0.7))
    layer = {name.removeprefix("layer0."): value.unsqueeze(0) for name, value in built.items()}
    inputs = sample(task, (0,), num_rows=9).inputs.double()
    torch.testing.assert_close(
        stepping.predict(parameters, inputs), trained.predict(parameters | layer, inputs), rtol=0, atol=1e-12
    )


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        (LAYERS, {"softmax": "first"}, "needs two layers or more"),
        (LAYERS, {"softmax": "first", "num_layers": 2, "is_tied": True}, "not tied"),
        (EMBEDDED, {"step_size": 0.3}, "step_size has no effect"),
        (SINE, {"least_amplitude": 0.6}, "must be below 0.5"),
    ],
)
def test_what_does_not_go_together_is_refused(model, options, message):
    with pytest.raises(ValueError, match=message):
        model(**options)
