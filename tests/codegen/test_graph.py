"""The graph of a program: equal to torch for the modules of the zoo and for modules drawn at random."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as some
from torch import nn

from pipeline.codegen.generated import generated_or_why
from pipeline.codegen.graph.choices import CHOICES
from pipeline.codegen.graph.operations import FILLS, MAPS, MOVES, RESHAPES, RULES
from pipeline.codegen.graph.sampling import WHOLE_MAPS
from pipeline.codegen.graph.trace import decompositions
from pipeline.models.torch_module import TorchModule
from pipeline.tasks.base import TaskShape
from pipeline.tasks.dictionary_lookup import DictionaryLookup
from pipeline.tasks.repeated_sequence import RepeatedSequence
from tests.codegen.interpreter import largest_difference
from tests.zoo.modules import Everywhere, Zoo

TOKENS = DictionaryLookup(num_keys=3, num_values=5, num_pairs=2).shape()
VECTORS = TaskShape("vectors", 3, 4, 1)
KINDS = ["rotary", "mlp", "gru", "lstm", "convolution", "linear_attention", "experts"]
NUM_EXAMPLES = int(os.environ.get("SEEDBED_EXAMPLES", "12"))


class Given(TorchModule):
    """A model of any module."""

    name = "given"
    accepts: ClassVar[tuple[str, ...]] = ("tokens", "vectors")

    def module(self, task_shape):
        """The module that `make` makes."""
        return type(self).make(task_shape)


def model_of(make):
    return type("Made", (Given,), {"make": staticmethod(make), "name": "made"})()


@pytest.mark.parametrize("kind", KINDS)
def test_predictions_and_gradients_of_ordinary_modules_are_those_of_torch(kind):
    assert largest_difference(Zoo(kind=kind, width=4), TOKENS) < 1e-11


def test_so_are_those_of_a_language_model_and_of_a_convnet_on_pictures():
    shape = RepeatedSequence(num_tokens=4, period=2).shape()
    assert largest_difference(Everywhere(width=4, num_layers=1), shape) < 1e-11
    assert largest_difference(Zoo(kind="picture", width=2), VECTORS) < 1e-11


def test_so_are_those_of_attention_norms_and_maxima_as_torch_writes_them():
    class Composite(nn.Module):
        def __init__(self):
            super().__init__()
            self.mix, self.norm = nn.MultiheadAttention(4, 2, batch_first=True), nn.GroupNorm(3, 3)
            self.head = nn.Linear(4, 1)

        def forward(self, x):
            x = self.norm(x + self.mix(x, x, x, need_weights=False)[0])
            x = nn.functional.leaky_relu(x, 0.3, inplace=True)
            x = nn.functional.normalize(x, dim=-1) * nn.functional.cosine_similarity(x, x.flip(1), -1).unsqueeze(-1)
            return self.head(x - x.max(1).values.unsqueeze(1))[:, -1]

    assert largest_difference(model_of(lambda shape: Composite()), VECTORS) < 1e-11


STEPS = {
    "tanh": lambda width: nn.Tanh(),
    "relu": lambda width: nn.ReLU(),
    "gelu": lambda width: nn.GELU(),
    "gelu by tanh": lambda width: nn.GELU(approximate="tanh"),
    "silu": lambda width: nn.SiLU(),
    "elu": lambda width: nn.ELU(0.7),
    "leaky": lambda width: nn.LeakyReLU(0.2),
    "softplus": lambda width: nn.Softplus(),
    "sigmoid": lambda width: nn.Sigmoid(),
    "softmax": lambda width: nn.Softmax(-1),
    "log softmax": lambda width: nn.LogSoftmax(1),
    "norm": lambda width: nn.LayerNorm(width),
    "linear": lambda width: nn.Linear(width, width),
    "shift": lambda width: Function(lambda x: x.roll(1, 1)),
    "flip": lambda width: Function(lambda x: x.flip(-1)),
    "causal mean": lambda width: Function(lambda x: torch.ones(x.shape[1], x.shape[1]).tril().to(x) @ x),
    "products": lambda width: Function(lambda x: (x @ x.transpose(1, 2)).tril() @ x),
    "largest": lambda width: Function(lambda x: x - x.amax(1, keepdim=True)),
    "clamped": lambda width: Function(lambda x: x.clamp(-0.8, 0.9)),
    "sines": lambda width: Function(lambda x: x.sin() + x.cos() * x.abs()),
    "powers": lambda width: Function(lambda x: (x.abs() + 0.5) ** 1.5 - 2 ** x.tanh()),
    "angles": lambda width: Function(lambda x: torch.atan2(x, x.abs() + 1) + x.atan() + (x.abs() + 1).log2()),
    "rests": lambda width: Function(lambda x: x % 0.7 + x.fmod(-0.9) + x.floor() - x.trunc() + x.round() - x.ceil()),
    "in place": lambda width: Function(in_place),
    "norm of rows": lambda width: Function(lambda x: x / (x.square().sum(-1, keepdim=True) + 1).sqrt()),
    "masked": lambda width: Function(lambda x: x.masked_fill(torch.eye(*x.shape[1:]).bool(), 0.5)),
    "padded with ones": lambda width: Function(lambda x: nn.functional.pad(x, (1, 0, 1, 1), value=1.0)[:, :-1, :-1]),
    "padded": lambda width: Function(lambda x: nn.functional.pad(x, (0, 0, 1, 0))[:, :-1]),
    "spread": lambda width: Function(lambda x: (x - x.mean(1, keepdim=True)) / (x.var(1, keepdim=True) + 1)),
    "two halves": lambda width: Function(lambda x: torch.cat([x[..., 1:] * 2, x[..., :1]], -1)),
}


def in_place(x):
    """A view that is changed, and what it is a view of."""
    y = (x * 2).unsqueeze(-1).squeeze_((-1,))
    y[:, 1:].mul_(x[:, :-1])
    return y + y.transpose(1, 2).sum(1, keepdim=True).transpose(1, 2).add_(1)


class Function(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


class Drawn(nn.Module):
    """Steps in order, one after the other or beside the stream."""

    def __init__(self, task_shape, steps, width):
        super().__init__()
        self.inward = nn.Embedding(task_shape.size, width) if task_shape.kind == "tokens" else None
        self.first = nn.Linear(task_shape.size if self.inward is None else width, width)
        self.steps = nn.ModuleList(STEPS[name](width) for name, _ in steps)
        self.beside = [beside for _, beside in steps]
        self.head = nn.Linear(width, task_shape.num_outputs)

    def forward(self, x):
        x = self.first(x if self.inward is None else self.inward(x))
        for step, beside in zip(self.steps, self.beside, strict=True):
            x = x + step(x) if beside else step(x)
            # Numbers that cancel are 0 but for rounding, where many of the functions have a kink or jump.
            x = x + 0.1 * torch.arange(1, x[0].numel() + 1).sin().to(x).view_as(x[0])
        return self.head(x)[:, -1]


@settings(
    max_examples=NUM_EXAMPLES,
    deadline=None,
    derandomize="SEEDBED_EXAMPLES" not in os.environ,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
)
@given(
    some.lists(some.tuples(some.sampled_from(sorted(STEPS)), some.booleans()), min_size=1, max_size=6),
    some.integers(1, 5),
    some.sampled_from([TOKENS, VECTORS]),
)
def test_modules_drawn_at_random_have_the_gradients_of_torch(steps, width, task_shape):
    model = model_of(lambda shape: Drawn(shape, steps, width))
    assert largest_difference(model, task_shape) < 1e-9


def test_an_operation_outside_the_table_is_named_with_the_line_that_called_it():
    class Sorted(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(4))

        def forward(self, x):
            return (x * self.weight).sort(-1).values.sum((1, 2), keepdim=True)[:, 0]

    found = generated_or_why(model_of(lambda shape: Sorted()), VECTORS, "float32")
    assert found.text is None
    assert "aten.sort" in found.why_not
    assert f"{Path(__file__).name}:" in found.why_not
    assert "return (x * self.weight).sort(-1)" in found.why_not


def test_modules_of_torch_alone_have_no_line_of_ones_own_that_calls_them():
    def pooled(shape):
        return nn.Sequential(nn.Unflatten(1, (1, 3)), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(2, 1))

    found = generated_or_why(model_of(pooled), VECTORS, "float32")
    assert found.why_not == "no C++ is written for aten.max_pool2d_with_indices.default"


@pytest.mark.parametrize("dtype", [torch.int64, torch.float16])
def test_a_conversion_that_changes_numbers_is_left_to_torch(dtype):
    class Converted(nn.Linear):
        def __init__(self):
            super().__init__(4, 1)

        def forward(self, x):
            return super().forward(x[:, -1].to(dtype).to(x.dtype))

    found = generated_or_why(model_of(lambda shape: Converted()), VECTORS, "float32")
    assert found.text is None
    assert "no C++ is written for a conversion from torch.float32" in found.why_not


def test_what_a_module_is_given_is_not_changed_in_place():
    class Clamped(nn.Linear):
        def __init__(self):
            super().__init__(4, 1)

        def forward(self, x):
            self.weight.data.clamp_(-1, 1)
            return super().forward(x[:, -1])

    class Kept(Clamped):
        def forward(self, x):
            with torch.no_grad():
                self.weight.clamp_(-1, 1)
            return nn.Linear.forward(self, x[:, -1])

    found = generated_or_why(model_of(lambda shape: Kept()), VECTORS, "float32")
    assert "it changes parameters or inputs in place" in found.why_not
    found = generated_or_why(model_of(lambda shape: Clamped()), VECTORS, "float32")
    assert found.text is None
    assert "clamp_.default of what the module is given" in found.why_not
    assert "self.weight.data.clamp_(-1, 1)" in found.why_not


def test_truth_values_of_numbers_are_those_of_torch():
    class Signs(nn.Linear):
        def __init__(self):
            super().__init__(4, 1)

        def forward(self, x):
            return super().forward(x[:, -1] * x[:, 0].relu().bool())

    assert largest_difference(model_of(lambda shape: Signs()), VECTORS) < 1e-9


def test_the_tables_hold_nothing_that_torch_takes_apart():
    entries = {*MAPS, *MOVES, *FILLS, *RULES, *CHOICES, *WHOLE_MAPS} - {*RESHAPES.values()}
    assert entries.isdisjoint(decompositions())


def test_the_worked_example_of_the_documentation_is_what_is_written():
    page = (Path(__file__).parents[2] / "docs/compiler.md").read_text(encoding="utf-8")
    example = page.partition("## An example\n")[2].partition("\n## ")[0]
    module, *texts = re.findall(r"```\w+\n(.*?)```", example, re.S)
    names = {"nn": nn, "torch": torch}
    exec(module, names)
    found = generated_or_why(model_of(lambda shape: names["Small"]()), TaskShape("vectors", 4, 3, 1), "float32")
    shown = [line for text in texts for line in text.splitlines()]
    assert len(shown) == 5
    assert not [line for line in shown if line not in found.text.splitlines()]


def test_what_is_too_large_is_left_to_torch(monkeypatch):
    monkeypatch.setattr("pipeline.codegen.graph.build.MOST_NUMBERS", 100)
    found = generated_or_why(model_of(lambda shape: nn.Sequential(nn.Flatten(), nn.Linear(12, 1))), VECTORS, "float32")
    assert found.text is None
    assert "numbers an example, more than 100" in found.why_not


def test_state_is_left_to_torch_and_noise_and_frozen_parameters_are_not():
    class Frozen(nn.Linear):
        def __init__(self):
            super().__init__(4, 1)
            self.bias.requires_grad_(False)

        def forward(self, x):
            return super().forward(x[:, -1])

    class Averaged(Frozen):
        def __init__(self):
            super().__init__()
            self.norm = nn.BatchNorm1d(4)

        def forward(self, x):
            return super().forward(self.norm(x.mT).mT)

    assert generated_or_why(model_of(lambda shape: Averaged()), VECTORS, "float32").text is None
    for make in (Frozen, lambda: nn.Sequential(Frozen(), nn.Dropout(0.1))):
        assert generated_or_why(model_of(lambda shape, make=make: make()), VECTORS, "float32").text is not None
