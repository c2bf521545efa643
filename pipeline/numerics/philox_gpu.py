"""The draws of pipeline/numerics/streams.py on GPUs, one kernel each, with the same words.

Torch alone needs some 160 kernels for a draw, since it has no product of 32-bit words. The kernel is written in Triton,
which comes with torch's builds for CUDA; without it torch computes the same words. Normal numbers are made of uniform
ones by torch in either case, so that what is drawn does not depend on whether there is a kernel.
"""

from __future__ import annotations

import importlib.util
from functools import cache
from typing import Any

import torch
from torch import Tensor, library

from pipeline.numerics.compiler import notice

# What is made of a word: itself, an integer below `high`, or a uniform number.
WORDS, INTEGERS, UNIFORM = range(3)
_BLOCK = 256

# The words of counter 0 under key 0: Salmon et al. 2011, known answers of their library, Random123.
_FIRST_WORDS = [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]

_operations = library.Library("seedbed", "DEF")  # type: ignore[no-untyped-call]
_operations.define(  # type: ignore[no-untyped-call]
    "draw(Tensor keys_S2, Tensor steps_S, Tensor? rows_SB, int num_rows, int first_row, int num_columns, "
    "int substream, int kind, int high, ScalarType dtype) -> Tensor"
)


@cache
def has_kernel(device: torch.device) -> bool:
    """Whether draws on this device are made by the kernel: on a GPU for which Triton is installed, and can compile it.

    Looked at once a process, by drawing words that are known.
    """
    if device.type != "cuda" or importlib.util.find_spec("triton") is None:
        return False
    zeros = torch.zeros(1, 2, dtype=torch.int64, device=device)
    try:
        words = draw_by_kernel(zeros, zeros[:, 0], None, 1, 0, len(_FIRST_WORDS), 0, WORDS, 1, torch.int64)
        found = words.flatten().tolist()
    except Exception as error:
        # Triton needs a C compiler, too, and says in many ways what it lacks. Torch draws the same words.
        notice(f"random numbers are drawn by torch, since Triton's kernel does not work here: {error}")
        return False
    if found != _FIRST_WORDS:
        notice("random numbers are drawn by torch, since Triton's kernel does not draw the right words here")
    return found == _FIRST_WORDS


def draw(
    keys_S2: Tensor,
    steps_S: Tensor,
    num_rows: int,
    first_row: int,
    num_columns: int,
    substream: int,
    *,
    kind: int = WORDS,
    high: int = 1,
    dtype: torch.dtype = torch.int64,
    rows_SB: Tensor | None = None,
) -> Tensor:
    """(S, num_rows, num_columns), as of `Draws` with these keys, steps and rows; row numbers are `rows_SB`, if given.

    An operation of torch, so that whatever looks at a step's operations sees one.
    """
    numbers = (num_rows, first_row, num_columns, substream, kind, high)
    found: Tensor = torch.ops.seedbed.draw(keys_S2, steps_S, rows_SB, *numbers, dtype)
    return found


def draw_by_kernel(
    keys_S2: Tensor,
    steps_S: Tensor,
    rows_SB: Tensor | None,
    num_rows: int,
    first_row: int,
    num_columns: int,
    substream: int,
    kind: int,
    high: int,
    dtype: torch.dtype,
) -> Tensor:
    """The same by the kernel, on the tensors' device."""
    out = _empty(keys_S2, steps_S, rows_SB, num_rows, first_row, num_columns, substream, kind, high, dtype)
    num_counters = -(-num_columns // 4)
    total = len(steps_S) * num_rows * num_counters
    if total:
        rows = steps_S if rows_SB is None else rows_SB.contiguous()
        sizes = (num_rows, first_row, num_columns, num_counters, substream, high, total)
        constants = {"KIND": kind, "HAS_ROWS": rows_SB is not None, "BLOCK": _BLOCK}
        grid = (-(-total // _BLOCK),)
        _kernel()[grid](keys_S2.contiguous(), steps_S.contiguous(), rows, out, *sizes, **constants)
    return out


def _empty(
    keys_S2: Tensor,
    steps_S: Tensor,
    rows_SB: Tensor | None,
    num_rows: int,
    first_row: int,
    num_columns: int,
    substream: int,
    kind: int,
    high: int,
    dtype: torch.dtype,
) -> Tensor:
    return torch.empty(len(steps_S), num_rows, num_columns, dtype=dtype, device=keys_S2.device)


_operations.impl("draw", draw_by_kernel, "CUDA")  # type: ignore[no-untyped-call]
_operations.impl("draw", _empty, "Meta")  # type: ignore[no-untyped-call]


@cache
def _kernel() -> Any:
    # Here, since torch's builds for CPUs come without it.
    from pipeline.numerics.philox_triton import philox_kernel

    return philox_kernel
