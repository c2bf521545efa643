"""Examples that programs draw, written from `Task.sample`: equal to torch's."""

from __future__ import annotations

import ctypes
import os
from functools import cache

import numpy as np
import pytest
import torch

from pipeline.codegen.graph.build import GraphBuilder
from pipeline.codegen.graph.nodes import Operand
from pipeline.codegen.graph.ranges import Ranges
from pipeline.codegen.sampling import has_classes, planned_sample, sampling_of
from pipeline.codegen.text.loss_text import task_text
from pipeline.codegen.text.sample_text import SampleEmitter
from pipeline.numerics.compiler import compiled, toolchain
from pipeline.numerics.streams import Draws, held_out_key, stream_key
from pipeline.spec.parameters import vector
from pipeline.tasks.base import TASKS, Batch, Task, TaskShape
from pipeline.tasks.linear_regression import LinearRegression

needs_compiler = pytest.mark.skipif(toolchain() is None, reason="there is no g++ here")
FIRST, STEP = 5, 2**24 + 3
SPLITS = ("train", "label", "probe")
# Each in its tiny form, and one of odd sizes.
ODD = {
    "dictionary_lookup": {"num_keys": 7, "num_values": 3, "num_pairs": 5},
    "linear_regression": {"dim": 5, "num_pairs": 3, "num_batches": 3},
    "modular_addition": {"modulus": 9, "train_share": 0.7, "split_seed": 2},
    "pair_lookup": {"num_keys": 3, "num_values": 7, "num_pairs": 1},
    "repeated_sequence": {"num_tokens": 37, "period": 9},
    "separate_regression": {"dim": 1, "num_pairs": 6},
    "sparse_parity": {"num_bits": 11, "num_relevant": 11},
    "two_hop_lookup": {"num_keys": 9, "num_values": 2, "one_hop_share": 0.25},
}
REGISTERED = [task for name in ODD for task in (TASKS[name].tiny(), TASKS[name](**ODD[name]))]
NUM_DRAWN = int(os.environ.get("SEEDBED_EXAMPLES", 4))


class Tokens(Task):
    """Four tokens below 7 and a class below 7."""

    def shape(self):
        """As said."""
        return TaskShape("tokens", 4, 7, 7)

    def losses(self, predictions, targets):
        """Cross entropy."""
        return predictions.logsumexp(-1) - predictions.gather(-1, targets.unsqueeze(-1)).squeeze(-1)


class Scaled(Task):
    """Three numbers that are drawn where a number of the run is above 0, once beside others and once alone."""

    spread: float = vector(0.5, ge=0)

    def shape(self):
        """As said."""
        return TaskShape("vectors", 6, 1, 1)

    def losses(self, predictions, targets):
        """Squared error."""
        return (predictions.squeeze(-1) - targets).square()

    def sample(self, streams, vectors, dtype, split):
        """The numbers, or -1 in place of those that stand alone; the target is the first."""
        first, second = (streams["data"].normal(3, lane, getattr(torch, dtype)) for lane in (0, 1))
        spread = vectors["spread"].view(-1, 1, 1)
        moved = torch.where(spread > 0, first.square() + spread * second, first.square())
        inputs = torch.cat([torch.where(spread > 0, first, -1.0), moved], 2)
        return Batch(inputs.unsqueeze(-1), inputs[:, :, 0])


class Alone(Scaled):
    """Numbers that nothing but a choice reads."""

    def sample(self, streams, vectors, dtype, split):
        """The same without sums."""
        drawn = streams["data"].normal(6, 0, getattr(torch, dtype))
        inputs = torch.where(vectors["spread"].view(-1, 1, 1) > 0, drawn, -1.0)
        return Batch(inputs.unsqueeze(-1), inputs[:, :, 0])


class Parts(Scaled):
    """Numbers of two draws, of as many numbers each as are made of a part of it, or of all in another order."""

    def sample(self, streams, vectors, dtype, split):
        """Three of each; the target is the first."""
        first, second = (streams["data"].normal(6, lane, getattr(torch, dtype)) for lane in (0, 1))
        inputs = torch.cat([first.flip(2).abs()[..., :3], second[..., :3]], 2)
        return Batch(inputs.unsqueeze(-1), inputs[:, :, 0])


def drawn_task(seed):
    """A task whose `sample` applies operations, drawn at random, to whole and real draws of four columns."""
    choose = np.random.default_rng(seed)
    chosen = [(int(choose.integers(len(OPERATIONS))), *choose.integers(1, 6, 3).tolist()) for _ in range(7)]

    class Drawn(Tokens):
        def sample(self, streams, vectors, dtype, split):
            draws, real = streams["data"], getattr(torch, dtype)
            found = [draws.integers(high, 4, high) for high in (3, 8)]
            unit = draws.uniform(4, 9, real)
            for number, a, b, c in chosen:
                pair = found[-1 - a % len(found)], found[-1 - b % len(found)]
                # As many values as tokens have, so that what is multiplied stays exact.
                found.append(OPERATIONS[number](*pair, c, unit) % 50)
            tokens = found[-1] % 7
            return Batch(tokens, (tokens.sum(2) + found[-2][..., 0]) % 7)

    return Drawn()


OPERATIONS = [
    lambda x, y, c, u: x + c * y,
    lambda x, y, c, u: x * y - c,
    lambda x, y, c, u: (x - y).abs() // c,
    lambda x, y, c, u: (x - c * y) // (c + 1),
    lambda x, y, c, u: (x - 40) % (c + 2),
    lambda x, y, c, u: torch.where(x < y, x, y + c),
    lambda x, y, c, u: y.gather(2, x % 4),
    lambda x, y, c, u: x.argsort(dim=2, descending=c > 3) + y,
    lambda x, y, c, u: x.sort(2).values.flip(2),
    lambda x, y, c, u: x.roll(c, 2).clamp(min=c, max=30),
    lambda x, y, c, u: torch.nn.functional.one_hot(x % 4, 4).sum(2) + y,
    lambda x, y, c, u: (u * (c + 0.5)).long() + (u > 0.5).long() * y,
    lambda x, y, c, u: u.argsort(2) * torch.tensor([c, 1, 2, 3])[y % 4],
    lambda x, y, c, u: x.amax(2, keepdim=True) - y,
    lambda x, y, c, u: torch.cat([x[..., c % 4 :], y[..., : c % 4]], 2),
    lambda x, y, c, u: ((x > c) & (y != c) | (u < 0.25)).to(torch.int64) * c,
]
TASKS_HERE = [*REGISTERED, Scaled(), Alone(), Parts(), *map(drawn_task, range(NUM_DRAWN))]
# Numbers of tasks and vector hyperparameters, at 0 of which nothing is drawn for what they scale.
CASES = [
    (number, noise) for number, task in enumerate(TASKS_HERE) for noise in [0.3, 0.0][: 1 + bool(task.vector_fields())]
]

HEAD = """
#include "draws.h"
#include "products.h"
extern "C" int num_lanes() { return LANES; }
"""
UNIT = """
namespace task_{number} {{
{text}
}}
extern "C" void draw_{number}(const std::int64_t* keys, std::int64_t step, const real* vectors, void* inputs,
                              void* targets) {{
  using Own = task_{number}::Task;
  Stream streams[4];
  for (int s = 0; s < 4; ++s)
    streams[s] = {{{{std::uint32_t(keys[2 * s]), std::uint32_t(keys[2 * s + 1])}}, std::uint32_t(step)}};
  Own::Batch batch;
  Own::sample(streams, vectors, {first}, batch);
  std::memcpy(inputs, &batch.tokens, sizeof batch.tokens);
  std::memcpy(targets, &batch.targets, sizeof batch.targets);
}}
"""


@cache
def library(folder):
    """All tasks in one library, in single precision, without their losses."""
    texts = [
        task_text(task.shape(), has_classes(task, "float32"), (), *sampling_of(task, "float32")) for task in TASKS_HERE
    ]
    units = [UNIT.format(number=k, text=text, first=FIRST) for k, text in enumerate(texts)]
    source = folder / "sampling.cpp"
    source.write_text("".join([HEAD, *units]))
    return compiled(str(source), "#define REAL float\n")


@pytest.fixture(scope="module")
def programs(tmp_path_factory):
    return library(tmp_path_factory.mktemp("sampling"))


def by_torch(task, keys, num_rows, noise):
    streams = {
        name: Draws(torch.tensor([key]), torch.tensor([STEP]), num_rows, FIRST)
        for name, key in zip(task.streams, keys, strict=True)
    }
    vectors = {name: torch.tensor([noise]) for name in task.vector_fields()}
    return streams, vectors


@needs_compiler
@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize(("number", "noise"), CASES)
def test_examples_that_a_program_draws_are_those_of_torch(number, noise, split, programs):
    task, lanes = TASKS_HERE[number], programs.num_lanes()
    keys = [stream_key(name, 7) if split == "train" else held_out_key(split, name) for name in task.streams]
    expected = task.sample(*by_torch(task, keys, lanes, noise), "float32", split)
    flat = np.array([*(word for key in keys for word in key), *[0] * 8], np.int64)
    vectors = np.full(4, noise, np.float32)
    kinds = [np.float32 if array.dtype.is_floating_point else np.int32 for array in expected]
    sizes = [array.numel() // lanes for array in expected]
    found = [np.zeros((size, lanes), kind) for size, kind in zip(sizes, kinds, strict=True)]
    call = getattr(programs, f"draw_{number}")
    call.restype, call.argtypes = None, [ctypes.c_void_p, ctypes.c_int64, *[ctypes.c_void_p] * 3]
    call(flat.ctypes.data, STEP, vectors.ctypes.data, *(array.ctypes.data for array in found))
    for array, mine in zip(expected, found, strict=True):
        wanted = array.numpy().reshape(lanes, -1).T
        if array.dtype.is_floating_point:
            np.testing.assert_allclose(mine, wanted, rtol=2e-6, atol=2e-6)
        else:
            np.testing.assert_array_equal(mine, wanted)


def test_inputs_are_computed_where_they_stand_and_noise_is_drawn_where_it_counts():
    emitter = SampleEmitter(planned_sample(LinearRegression.tiny(), "float32", "train"), "sample", (False, False))
    lines = emitter.lines()
    (uniform,) = [line for line in lines if line.startswith("draw(")]
    assert "{ inputs[" in uniform
    normals = [number for number, line in enumerate(lines) if line.startswith("draw_normals(")]
    assert ["if (" in lines[number - 1] for number in normals] == [False, True]
    # Noise alone is copied from elsewhere, and what follows from x.
    assert sum("inputs[" in line and "tape" in line.partition("=")[2] for line in lines) == 2


def test_a_sum_of_numbers_of_which_one_is_chosen_is_as_large_as_that_one():
    builder = GraphBuilder(None)
    place = builder.draw(1, "integer", 0, 0, 3).whole(1, 1)
    is_here = builder.map("equals", place, builder.constant(torch.arange(3)))
    terms = builder.map("either", is_here, builder.number(2.0), builder.number(0.0))
    assert Ranges().of(builder.reduce("add", terms, [1], False)).bounds() == (0, 2)
    # Four such choices are added up.
    rows = Operand(terms.node, np.broadcast_to(terms.index, (4, 3)))
    assert Ranges().of(builder.reduce("add", rows, [0, 1], False)).high.max() >= 8
