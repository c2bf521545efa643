"""Positions that are read at regular steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.codegen.graph.nodes import Index


@dataclass(frozen=True)
class Strides:
    """Flat positions base + sum over axes of step times the axis's own position."""

    base: int
    steps: tuple[int, ...]

    @staticmethod
    def of(index: Index, first: Sequence[int] | None = None) -> Strides | None:
        """The strides of positions whose axes begin at `first`; None where there are none."""
        starts = tuple(first or (0,) * index.ndim)
        if index.size == 0:
            return Strides(0, (0,) * index.ndim)
        origin = int(index.flat[0])
        steps = tuple(
            int(index[tuple(1 if other == axis else 0 for other in range(index.ndim))]) - origin
            if index.shape[axis] > 1
            else 0
            for axis in range(index.ndim)
        )
        regular = np.full((1,) * index.ndim, origin)
        for axis, step in enumerate(steps):
            shape = [1] * index.ndim
            shape[axis] = -1
            regular = regular + (step * np.arange(index.shape[axis])).reshape(shape)
        if not (regular == index).all():
            return None
        return Strides(origin - sum(step * start for step, start in zip(steps, starts, strict=True)), steps)
