"""Ordinary torch modules as models: their numbers, their seeds, and what is refused."""

from __future__ import annotations

import re

import pytest
import torch

from pipeline.contracts.models import MODEL_CONTRACT
from pipeline.engine.block import Block
from pipeline.engine.parameter_layout import Layout
from pipeline.models._module_slots import by_slot, template, vmapped
from pipeline.models.base import MODELS
from pipeline.own_code.imported import forget, load, resolved
from pipeline.spec.sweep import SweepSpec
from pipeline.tasks.base import TASKS
from tests.engine.test_rule import LOOKUP, REGRESSION, REPEATED
from tests.support import configs, drop_in, same, states_of, tiny

SOURCE = """
import torch
from torch import nn
from torch.nn import functional as F

from pipeline.spec.parameters import static
from pipeline.models.torch_module import TorchModule


class {name}(TorchModule):
    name = "{name}"
    accepts = ("tokens", "vectors")
    predicts_all_positions = {everywhere}
    is_vmapped = {is_vmapped}

    width: int = static(7, ge=1)

    def module(self, task_shape):
        return Net(task_shape, self.width)


class Net(nn.Module):
    def __init__(self, task_shape, width):
        super().__init__()
        tokens = task_shape.kind == "tokens"
        self.enter = nn.Embedding(task_shape.size, width) if tokens else nn.Linear(task_shape.size, width)
        self.scale = nn.Parameter(torch.tensor(1.5))
        self.register_buffer("angle", torch.linspace(0, 1, task_shape.length).view(-1, 1))
        self.leave = nn.Linear(width, task_shape.num_outputs)
        {parts}

    def forward(self, inputs):
        x = self.enter(inputs) * self.scale + torch.sin(self.angle)
        {body}
"""
DECODER = {
    "parts": "self.layer = nn.TransformerEncoderLayer(width, 1, 5, dropout=0.0, batch_first=True)",
    "body": """mask = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool, device=x.device).triu(1)
        return self.leave(self.layer(x, mask, is_causal=True))""",
    "everywhere": True,
}
GRU = {
    "parts": "self.cell = nn.GRU(width, 5, batch_first=True); self.mix = nn.Linear(5, width, bias=False)",
    "body": "return self.leave(F.gelu(self.mix(self.cell(x)[0][:, -1])))",
}
CONVOLUTION = {
    "parts": "self.mix = nn.Conv1d(width, 5, 3, padding=1); self.norm = nn.GroupNorm(1, 5); self.out = nn.Linear(5, 7)",
    "body": "return self.leave(F.gelu(self.out(self.norm(self.mix(x.transpose(1, 2))).amax(2))))",
}
PLAIN = {"parts": "", "body": "return self.leave(torch.tanh(x).mean(1))"}
# What begins the gradient is a product with a transposed matrix.
PRODUCT = {
    "parts": "del self.leave; self.leave = nn.Parameter(torch.randn(width, task_shape.num_outputs))",
    "body": "return torch.tanh(x).mean(1) @ self.leave",
}
KINDS = {"decoder": DECODER, "gru": GRU, "convolution": CONVOLUTION, "product": PRODUCT}
PAIRS = [("decoder", REPEATED), *((kind, task) for kind in KINDS for task in (LOOKUP, REGRESSION))]


@pytest.fixture
def register(tmp_path, monkeypatch):
    """A function that makes a model of pieces of code, and gives its class."""

    def make(name, parts="", body="", everywhere=False, is_vmapped=False):
        source = SOURCE.format(name=name, parts=parts, body=body, everywhere=everywhere, is_vmapped=is_vmapped)
        return drop_in(monkeypatch, tmp_path, "model", name, source)

    return make


def spec_of(model, **changes):
    return SweepSpec.model_validate(tiny().identity() | {"model": {"name": model.name}} | changes)


@pytest.mark.parametrize(("kind", "task"), [("decoder", "repeated_sequence"), ("gru", "linear_regression")])
def test_a_module_keeps_the_contract_of_models(register, kind, task):
    register(kind, **KINDS[kind])
    for check in MODEL_CONTRACT.checks:
        check(MODELS[kind], TASKS[task])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("kind", "task"), PAIRS)
def test_a_module_has_the_same_bits_in_every_slot_and_beside_any_neighbours(register, kind, task, dtype):
    model = register(kind, **KINDS[kind])
    changes = {"task": task, "batch_size": 13, "dtype": dtype, "vary": [{"optimiser.lr": [1e-3, 1e-2]}]}
    runs = configs(spec_of(model, **changes))
    together = states_of(runs, 8, steps=7)
    permuted = states_of(runs[::-1], 8, steps=7)[::-1]
    alone = states_of(runs[:1], 3, slots=[2], steps=7)
    assert all(same(a, b) for a, b in zip(together, permuted, strict=True))
    assert same(together[0], alone[0])
    copies = states_of(runs[1:2] * 8, 8, steps=7)
    assert all(same(together[1], copy) for copy in copies)


def test_a_run_trains_as_the_module_does_by_itself(register):
    model = register("gru", **GRU)
    (run,) = configs(spec_of(model, seeds={"together": [5]}, optimiser={"name": "adamw", "lr": 1e-2, "clip": 0.5}))
    torch.manual_seed(5)
    module = run.model.module(run.task.shape())
    optimiser = torch.optim.AdamW(module.parameters(), 1e-2, (0.9, 0.999), 1e-8, run.optimiser.weight_decay)
    block = Block(run, 3, torch.device("cpu"))
    for step in range(5):
        batch = block.sample("train", torch.full_like(block.steps_S, step), run.batch_size)
        optimiser.zero_grad()
        run.task.losses(module(batch.inputs[0])[None], batch.targets[:1]).mean().backward()
        torch.nn.utils.clip_grad_norm_(module.parameters(), 0.5)
        optimiser.step()
    block.train(5)
    for name, value in module.named_parameters():
        ours = block.parameters[name][0].detach().view(value.shape)
        torch.testing.assert_close(ours, value.detach(), rtol=1e-4, atol=1e-5)


def test_initial_weights_are_the_modules_own_under_the_seeds_of_its_streams(register):
    model = register("plain", **PLAIN)
    task_shape = TASKS["dictionary_lookup"]().shape()
    start = torch.random.get_rng_state()
    layout = Layout(model().parameter_specs(task_shape), torch.float32)
    weights = layout.initial_weights(
        {"init/enter.weight": 3, "init/scale": 3, "init/leave.weight": 8, "init/leave.bias": 3}, 1.0
    )
    assert torch.equal(torch.random.get_rng_state(), start), "the generator of the process is left alone"
    found = layout.views(weights[None])
    for seed, names in ((3, ("enter.weight", "scale", "leave.bias")), (8, ("leave.weight",))):
        torch.manual_seed(seed)
        module = model().module(task_shape)
        for name in names:
            value = module.get_parameter(name).detach()
            assert torch.equal(found[name][0], value.view(found[name].shape[1:])), name
    large = [
        layout.initial_weights(dict.fromkeys([f"init/{spec.name}" for spec in layout.specs], seed), 1.0)
        for seed in (1, 2**32 + 1)
    ]
    assert not torch.equal(*large), "torch itself reads 32 bits of a seed"


def test_a_parameter_without_a_gradient_keeps_its_value(register):
    model = register("frozen", parts="self.enter.weight.requires_grad_(False)", body=PLAIN["body"])
    run = configs(spec_of(model))[0]
    block = Block(run, 2, torch.device("cpu"))
    before = {name: value.detach().clone() for name, value in block.parameters.items()}
    block.train(3)
    moved = {name for name, value in block.parameters.items() if not torch.equal(value.detach(), before[name])}
    assert moved == {"scale", "leave.weight", "leave.bias"}


REFUSED = [
    ("", "return self.leave(F.dropout(x, 0.5).mean(1))", "evaluation draws random numbers"),
    ("", "return self.leave(F.rrelu(x, training=self.training).mean(1))", "draws random numbers by an operation that"),
    ("import numpy; self.np = numpy.random", "return self.leave(x.mean(1)) * self.np.rand()", "generators of numpy or"),
    ("self.count = [0]", "self.count.append(1); return self.leave(x.mean(1)) * len(self.count)", "the second time"),
    (
        "self.norm = nn.BatchNorm1d(width, track_running_stats=False)",
        "return self.leave(self.norm(x.mean(1)))",
        "in evaluation",
    ),
    ("", "return self.leave((x - x.mean(0)).mean(1))", "depends on the others of its batch"),
    (
        "self.register_buffer('seen', torch.zeros(()))",
        "self.seen += 1; return self.leave(x.mean(1))",
        "evaluation changes buffer seen",
    ),
    (
        "self.register_buffer('noise', torch.randn(width))",
        "return self.leave((x + self.noise).mean(1))",
        "buffer noise differs between",
    ),
    (
        "import random; self.leave.bias.data.fill_(random.random())",
        PLAIN["body"],
        "parameter leave.bias is initialised differently",
    ),
    ("self.extra = nn.Parameter(torch.ones(3))", PLAIN["body"], "forward does not read parameter extra"),
    ("self.extra = nn.LazyLinear(3)", PLAIN["body"], "parameter extra.weight is lazy"),
    ("self.none = nn.Parameter(torch.ones(0))", PLAIN["body"], "parameter none is torch.float32 of shape (0,)"),
    (
        "self.copy = [self.leave.weight]",
        "return x.mean(1) @ self.copy[0].T + self.leave.bias + 0 * self.leave.weight.sum()",
        "must read its parameters as attributes",
    ),
    ("", "return self.leave(x)[:, :2, 0]", "forward gives (4, 2) for 4 examples, not (4, 4)"),
    (
        "",
        "return self.leave(x).view(-1, 3)",
        "raises on a batch of inputs (4, 9) int64 and targets (4,) int64: ",
    ),
    (
        "self.extra = nn.Linear(width, -1)",
        PLAIN["body"],
        "RuntimeError: Trying to create tensor with negative dimension",
    ),
]


@pytest.mark.parametrize(("parts", "body", "message"), REFUSED, ids=[row[2] for row in REFUSED])
def test_what_would_break_the_rule_is_refused_when_the_spec_is_read(register, parts, body, message):
    model = register("refused", parts, body)
    before = torch.random.get_rng_state()
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        spec_of(model)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(error["loc"][0] == "model" for error in caught.value.errors())


def test_what_a_module_raises_is_told_with_the_line_that_raised_it_in_the_file_beside_the_model_s(tmp_path):
    (tmp_path / "nets_of_ours.py").write_text(
        "from torch import nn\n\n\nclass Net(nn.Linear):\n    def forward(self, tokens):\n"
        "        return tokens[:, 99]\n"
    )
    (tmp_path / "far.py").write_text(
        "from nets_of_ours import Net\n\nfrom pipeline.models.torch_module import TorchModule\n\n\n"
        'class Far(TorchModule):\n    name = "far"\n    accepts = ("tokens",)\n\n'
        "    def module(self, task_shape):\n        return Net(1, 4)\n"
    )
    entry = resolved("./far.py", tmp_path)
    load(entry)
    try:
        with pytest.raises(ValueError, match=r"IndexError: .* \(.*nets_of_ours\.py:6\)"):
            spec_of(MODELS["far"])
    finally:
        forget(entry)


def test_a_model_that_answers_one_position_is_refused_for_a_task_that_asks_more(register):
    model = register("plain", **PLAIN)
    with pytest.raises(
        ValueError, match="predicts the last position alone, but task repeated_sequence asks for the last 6"
    ) as caught:
        spec_of(model, task=REPEATED)
    fitting = str(caught.value).partition("models that fit: ")[2].partition(")")[0]
    assert fitting.split(", ") == ["attention_only", "transformer"]


@pytest.mark.parametrize("kind", ["plain", "convolution"])
def test_all_slots_at_once_give_the_numbers_of_one_by_one(register, kind):
    model = register(kind, **{"plain": PLAIN, **KINDS}[kind], is_vmapped=True)
    run = configs(spec_of(model, dtype="float64"))[0]
    block = Block(run, 3, torch.device("cpu"))
    task_shape = run.task.shape()
    module = template(run.model, task_shape, torch.float64, torch.device("cpu"))
    inputs = block.sample("train", block.steps_S, 5).inputs
    found = []
    for compute in (by_slot, vmapped):
        answers = compute(module, block.parameters, inputs)
        found.append((answers, *torch.autograd.grad(answers.square().sum(), list(block.parameters.values()))))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-12)


def test_a_module_that_vmap_would_change_is_refused(register):
    model = register(
        "shapes", body="return self.leave(x.mean(1)) / (1 + torch._C._functorch.is_batchedtensor(x))", is_vmapped=True
    )
    with pytest.raises(ValueError, match="the outputs under vmap differ"):
        spec_of(model)
