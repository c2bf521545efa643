"""Linear decay of the learning rate after warm-up."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.schedules._decay import Decay

if TYPE_CHECKING:
    from torch import Tensor


class Linear(Decay):
    """Falls in a straight line from the end of warm-up to `horizon`."""

    name = "linear"

    def shape(self, progress_S1: Tensor) -> Tensor:
        """1 - progress."""
        return 1 - progress_S1
