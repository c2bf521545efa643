"""Draws by one kernel on GPUs: the words of the reference, where Triton's interpreter or compiler can be had."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys

import pytest
import torch

from pipeline.numerics import philox_gpu
from pipeline.numerics.philox_gpu import UNIFORM, has_kernel
from pipeline.numerics.streams import Draws, stream_key

KEYS = torch.tensor([stream_key("data", seed) for seed in range(3)])
STEPS = torch.tensor([0, 7, 4_000_000_000])
GPU = torch.device("cuda")


INTERPRETED = """
import itertools
import torch
from pipeline.numerics.philox_gpu import INTEGERS, UNIFORM, draw_by_kernel
from pipeline.numerics.streams import Draws, stream_key

keys = torch.tensor([stream_key("data", seed) for seed in range(3)])
steps = torch.tensor([0, 7, 4_000_000_000])
for (num_rows, first_row), num_columns in itertools.product([(1, 0), (5, 11)], [1, 4, 7]):
    draws, shape = Draws(keys, steps, num_rows, first_row), (num_rows, first_row, num_columns)
    assert torch.equal(draw_by_kernel(keys, steps, None, *shape, 3, 0, 1, torch.int64), draws.words(num_columns, 3))
    for high in (1, 10, 2**31):
        found = draw_by_kernel(keys, steps, None, *shape, 1, INTEGERS, high, torch.int64)
        assert torch.equal(found, draws.integers(high, num_columns, 1))
    for dtype in (torch.float32, torch.float64):
        found = draw_by_kernel(keys, steps, None, *shape, 0, UNIFORM, 1, dtype)
        assert torch.equal(found, draws.uniform(num_columns, 0, dtype))
rows = torch.tensor([[0, 5], [2**31, 1], [7, 4_000_000_000]])
found = draw_by_kernel(keys, steps, rows, 2, 0, 6, 2, 0, 1, torch.int64)
assert torch.equal(found, Draws(keys, steps, 2).words_of(rows, 6, 2))
"""
COMPILED = """
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from pipeline.numerics.philox_triton import philox_kernel

numbers = ["num_rows", "first_row", "num_columns", "num_counters", "substream", "high", "total"]
# Triton makes a constant of every number that is 1.
for kind, element, has_rows, ones in ((0, "i64", True, numbers), (1, "i64", False, []), (2, "fp32", False, [])):
    constants = {"KIND": kind, "HAS_ROWS": has_rows, "BLOCK": 256} | dict.fromkeys(ones, 1)
    types = {"keys": "*i64", "steps": "*i64", "rows": "*i64", "out": "*" + element} | dict.fromkeys(numbers, "i32")
    signature = types | dict.fromkeys(constants, "constexpr")
    compiled = triton.compile(ASTSource(philox_kernel, signature, constants), target=GPUTarget("cuda", 90, 32))
    assert compiled.asm["cubin"]
"""


@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="Triton is not installed")
@pytest.mark.parametrize(("script", "interprets"), [(INTERPRETED, "1"), (COMPILED, "0")], ids=["its words", "compiles"])
def test_the_kernel_draws_the_words_of_the_reference_and_compiles_for_a_gpu_that_is_not_here(script, interprets):
    """In a process of its own, since Triton reads whether it interprets when it is imported."""
    environment = {**os.environ, "TRITON_INTERPRET": interprets}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


def test_what_the_operation_is_said_to_give_has_the_shape_and_type_of_the_draws():
    shapes = (KEYS.to("meta"), STEPS.to("meta"))
    for dtype in (torch.float32, torch.float64):
        drawn = Draws(KEYS, STEPS, 5).uniform(7, 0, dtype)
        found = philox_gpu.draw(*shapes, 5, 0, 7, 0, kind=UNIFORM, dtype=dtype)
        assert (found.shape, found.dtype) == (drawn.shape, drawn.dtype)


@pytest.fixture
def device_of_draws(monkeypatch):
    """A GPU whose tensors are on the CPU, with Triton, whose kernel is given."""
    real = torch.zeros
    monkeypatch.setattr(philox_gpu.torch, "zeros", lambda *sizes, device, **given: real(*sizes, **given))
    monkeypatch.setattr(philox_gpu.importlib.util, "find_spec", lambda name: name)
    has_kernel.cache_clear()
    yield lambda kernel: monkeypatch.setattr(philox_gpu, "draw_by_kernel", kernel)
    has_kernel.cache_clear()


def test_the_kernel_is_used_where_it_draws_words_that_are_known(device_of_draws):
    def by_torch(keys_S2, steps_S, rows_SB, num_rows, first_row, num_columns, substream, *kind):
        return Draws(keys_S2, steps_S, num_rows, first_row).words(num_columns, substream)

    device_of_draws(by_torch)
    assert has_kernel(GPU)
    assert not has_kernel(torch.device("cpu"))


@pytest.mark.parametrize("fault", ["raises", "draws others"])
def test_torch_draws_where_the_kernel_does_not_work(fault, device_of_draws, capsys):
    def faulty(*_):
        if fault == "raises":
            raise RuntimeError("Failed to find C compiler")
        return torch.zeros(1, 1, 4, device=None)

    device_of_draws(faulty)
    assert not has_kernel(GPU)
    assert "random numbers are drawn by torch" in capsys.readouterr().err


def test_torch_draws_where_triton_is_not_installed(device_of_draws, monkeypatch):
    device_of_draws(lambda *_: pytest.fail("there is no kernel"))
    monkeypatch.setattr(philox_gpu.importlib.util, "find_spec", lambda name: None)
    assert not has_kernel(GPU)
