"""Offsets of parameters in one flat row of numbers, each on a 64-byte boundary. Imports no torch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

ALIGNMENT_BYTES = 64


@dataclass(frozen=True)
class RowPlan:
    """`offsets[i]` is the column at which parameter i begins; a row is `width` numbers, padding included."""

    offsets: tuple[int, ...]
    width: int


def plan_row(sizes: Sequence[int], itemsize: int) -> RowPlan:
    """The layout of parameters of `sizes` numbers of `itemsize` bytes each."""
    unit = ALIGNMENT_BYTES // itemsize
    padded = [math.ceil(size / unit) * unit for size in sizes]
    offsets = tuple(sum(padded[:index]) for index in range(len(padded) + 1))
    # Twice the boundary, so that no row leaves a remainder to the scalar loops behind 512-bit vectors.
    return RowPlan(offsets[:-1], math.ceil(offsets[-1] / (2 * unit)) * 2 * unit)
