"""Dropout and other noise of training in programs: the numbers that torch draws, and none in evaluation."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from torch import nn

from pipeline.codegen.generated import generated_or_why
from pipeline.engine.program import missing_part
from pipeline.models._module_noise import RunNoise
from pipeline.models.torch_module import TorchModule
from pipeline.numerics.compiler import compiled, toolchain
from pipeline.numerics.streams import Draws, stream_key
from pipeline.own_code.imported import forget, load, resolved
from pipeline.tasks.base import TaskShape
from tests.codegen.test_programs import LOOKUP, SEQUENCE, ZOO, assert_equal_to_torch, run

needs_compiler = pytest.mark.skipif(toolchain() is None, reason="there is no g++ here")
SHAPE = TaskShape("vectors", 3, 5, 2)
BATCH = 11


@pytest.fixture(autouse=True)
def zoo():
    """The modules of the zoo as imported code of one's own."""
    entry = resolved(ZOO, Path())
    load(entry)
    yield
    forget(entry)


# Of the numbers of a batch: in how many pieces an example's stand, how many each has, and what torch draws.
DRAWN = (
    (1, 5, "Below{7549747, 1 / real(0.9)}", lambda x: nn.functional.dropout(x, 0.1)),
    (1, 6, "Below{2516582, 1}", lambda x: torch.bernoulli(0.3 * x.float()).to(x)),
    (3, 8, "Units{}", torch.rand_like),
    (1, 4, "Units{}", torch.rand_like),
    (2, 7, "Normals{}", torch.randn_like),
    (4, 1, "Normals{}", torch.randn_like),
    (1, 12, "Normals{}", torch.randn_like),
)


def probe():
    """C++ that draws each of them in one step, an example behind the other."""
    calls, first = [], 0
    for place, (pieces, size, numbers, _) in enumerate(DRAWN):
        target = f"found[{first} + (first + lane) * {pieces * size} + i]"
        calls.append(
            f"draw_noise<{pieces}, {size}>(stream, first, {place}, {numbers}, [&](int i, Lanes drawn) {{"
            f" for (int lane = 0; lane < LANES && first + lane < {BATCH}; ++lane) {target} = drawn[lane]; }});"
        )
        first += BATCH * pieces * size
    return "\n".join(
        [
            f"namespace constants {{ constexpr long batch_size = {BATCH}; }}",
            '#include "noise.h"',
            'extern "C" void probe(const std::uint32_t* key, std::uint32_t step, real* found) {',
            "const Stream stream{{key[0], key[1]}, step};",
            f"for (int first = 0; first < {BATCH}; first += LANES) {{",
            *calls,
            "}}",
        ]
    )


@needs_compiler
@pytest.mark.parametrize(("real", "dtype"), [("float", torch.float32), ("double", torch.float64)])
def test_programs_draw_what_torch_draws_from_the_stream_of_a_run(real, dtype, tmp_path):
    (tmp_path / "probe.cpp").write_text(probe())
    library = compiled(str(tmp_path / "probe.cpp"), f"#define REAL {real}\n")
    found = torch.zeros(sum(BATCH * pieces * size for pieces, size, *_ in DRAWN), dtype=dtype)
    key = stream_key("noise", 3)
    for step in (0, 1, 70_000):
        library.probe((ctypes.c_uint32 * 2)(*key), ctypes.c_uint32(step), ctypes.c_void_p(found.data_ptr()))
        with RunNoise(Draws(torch.tensor([key]), torch.tensor([step]), 1)):
            expected = [draw(torch.ones(pieces, BATCH, size, dtype=dtype)) for pieces, size, _, draw in DRAWN]
        parts = found.split([one.numel() for one in expected])
        for part, one, (_, _, numbers, _) in zip(parts, expected, DRAWN, strict=True):
            right = one.transpose(0, 1).flatten()
            close = 3e-6 if dtype == torch.float32 else 1e-12
            assert (part - right).abs().max() <= (close if numbers.startswith("Normals") else 0)


@needs_compiler
def test_a_language_model_with_dropout_trains_as_torch_does(monkeypatch):
    config = run(SEQUENCE, {"name": "zoo_everywhere", "width": 4, "num_layers": 1, "dropout": 0.1}).runs()[0]
    assert missing_part(config) == ""
    with_dropout = assert_equal_to_torch(config, monkeypatch)
    assert with_dropout["probe_loss"] != with_dropout["train_loss"]


class Given(TorchModule):
    """A model of any module."""

    name = "given"
    accepts: ClassVar[tuple[str, ...]] = ("vectors",)

    def module(self, task_shape):
        """A linear map before and after what `make` makes of (B, L, 4)."""
        after = nn.Sequential(nn.Flatten(), nn.Linear(task_shape.length * 4, task_shape.num_outputs))
        return nn.Sequential(nn.Linear(task_shape.size, 4), Between(type(self).noisy), after)


class Between(nn.Module):
    """A function in training, and nothing in evaluation."""

    def __init__(self, noisy):
        super().__init__()
        self.noisy = noisy

    def forward(self, x):
        return self.noisy(x) if self.training else x


def positions_first(x):
    return nn.functional.dropout(x.transpose(0, 1), 0.5).transpose(0, 1)


def examples_inside(x):
    mixed = x.permute(1, 0, 2).reshape(-1, 4)
    return nn.functional.dropout(mixed, 0.5).view(x.shape[1], x.shape[0], 4).transpose(0, 1)


WRITTEN = {
    "positions first": (positions_first, (3,)),
    "two draws": (lambda x: torch.randn_like(x) + nn.functional.dropout(x, 0.2), (1, 1)),
}
REFUSED = {
    "a mask for the whole batch": (lambda x: x * torch.bernoulli(torch.full(x.shape[1:], 0.5)), "examples of a batch"),
    "examples within an axis": (examples_inside, "examples of a batch"),
    "whole numbers": (lambda x: x + torch.randint(3, x.shape), "whole numbers that a model draws"),
    "an order": (lambda x: x[torch.randperm(len(x))], "words of a stream"),
}


def model_of(noisy):
    return type("Made", (Given,), {"noisy": staticmethod(noisy), "name": "made"})()


@pytest.mark.parametrize("name", WRITTEN)
def test_it_is_known_where_the_numbers_of_an_example_stand(name):
    noisy, pieces = WRITTEN[name]
    model = model_of(noisy)
    assert model.noise_pieces(SHAPE) == pieces
    text = generated_or_why(model, SHAPE, "float32").text
    assert text.count("draw_noise<") == len(pieces)
    assert "draw_noise<" not in text.partition("struct Probe")[2]


@pytest.mark.parametrize("name", REFUSED)
def test_numbers_that_examples_share_and_whole_numbers_are_left_to_torch(name):
    noisy, why = REFUSED[name]
    assert why in generated_or_why(model_of(noisy), SHAPE, "float32").why_not


LAYERS = {
    "lstm": {"name": "zoo", "kind": "lstm", "width": 6, "dropout": 0.3},
    "gru": {"name": "zoo", "kind": "gru", "width": 5, "dropout": 0.3},
}


@pytest.mark.slow
@needs_compiler
@pytest.mark.parametrize("kind", LAYERS)
def test_recurrent_layers_that_drop_train_as_torch_does(kind, monkeypatch):
    assert_equal_to_torch(run(LOOKUP, LAYERS[kind]).runs()[0], monkeypatch)
