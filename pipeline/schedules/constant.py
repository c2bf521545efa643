"""A constant learning rate after warm-up."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.schedules.base import Schedule

if TYPE_CHECKING:
    from torch import Tensor

    from pipeline.schedules.base import ScheduleColumns


class Constant(Schedule):
    """`lr` after a linear warm-up over `warmup_steps`."""

    name = "constant"

    def after_warmup(self, step_S1: Tensor, columns: ScheduleColumns) -> Tensor:
        """1 everywhere."""
        import torch

        return torch.ones_like(step_S1)
