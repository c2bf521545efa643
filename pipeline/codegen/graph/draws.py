"""Draws of a stream as operations of a trace."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, library

from pipeline.numerics.streams import Draws

# What is drawn: the kinds of `nodes.Draw`.
INTEGER, UNIT, NORMAL = "integer", "unit", "normal"

_operations = library.Library("seedbed", "FRAGMENT")  # type: ignore[no-untyped-call]
_operations.define(  # type: ignore[no-untyped-call]
    "traced_draw(Tensor keys_S2, Tensor steps_S, str kind, int num_columns, int substream, int high, ScalarType dtype)"
    " -> Tensor"
)


def _drawn(
    keys_S2: Tensor, steps_S: Tensor, kind: str, num_columns: int, substream: int, high: int, dtype: torch.dtype
) -> Tensor:
    draws = Draws(keys_S2, steps_S, num_rows=1)
    if kind == INTEGER:
        return draws.integers(high, num_columns, substream)
    draw = draws.uniform if kind == UNIT else draws.normal
    return draw(num_columns, substream, dtype)


_operations.impl("traced_draw", _drawn, "CPU")  # type: ignore[no-untyped-call]
DRAW = torch.ops.seedbed.traced_draw.default


@dataclass(frozen=True)
class TracedDraws(Draws):
    """Draws of one example whose numbers are operations of a trace."""

    def words(self, num_columns: int, substream: int) -> Tensor:
        """Refused: they are no whole numbers that a program can hold."""
        raise NotImplementedError("no C++ is written for words of a stream")

    def words_of(self, rows_SB: Tensor, num_columns: int, substream: int) -> Tensor:
        """Refused likewise."""
        raise NotImplementedError("no C++ is written for words of rows of their own")

    def integers(self, high: int, num_columns: int, substream: int) -> Tensor:
        """As of `Draws`."""
        assert 0 < high <= 2**31, f"integers below {high} need more than a word each"
        return self._drawn(INTEGER, num_columns, substream, high, torch.int64)

    def uniform(self, num_columns: int, substream: int, dtype: torch.dtype = torch.float32) -> Tensor:
        """As of `Draws`."""
        return self._drawn(UNIT, num_columns, substream, 0, dtype)

    def normal(self, num_columns: int, substream: int, dtype: torch.dtype = torch.float32) -> Tensor:
        """As of `Draws`."""
        return self._drawn(NORMAL, num_columns, substream, 0, dtype)

    def _drawn(self, kind: str, num_columns: int, substream: int, high: int, dtype: torch.dtype) -> Tensor:
        found = torch.ops.seedbed.traced_draw(self.keys_S2, self.steps_S, kind, num_columns, substream, high, dtype)
        return cast("Tensor", found)
