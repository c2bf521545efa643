"""A schedule of my own.

What it must do is listed in the docstring of `pipeline.schedules.base.Schedule`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.schedules.base import Schedule
from pipeline.spec.parameters import vector

if TYPE_CHECKING:
    from torch import Tensor

    from pipeline.schedules.base import ScheduleColumns


class MySchedule(Schedule):
    """Falls as a hyperbola: to one half after `half_after` updates, to one third after twice as many."""

    name = "my_schedule"

    # Hyperparameters beside `warmup_steps`, which every schedule has. Each may differ between the runs of a pack.
    half_after: int = vector(200, gt=0)

    def after_warmup(self, step_S1: Tensor, columns: ScheduleColumns) -> Tensor:
        """The factor on `lr` of each of S runs at its update number: 1 until warm-up ends, and never rising."""
        since_S1 = (step_S1 - columns["warmup_steps"]).clamp(min=0)
        return 1.0 / (1.0 + since_S1 / columns["half_after"])
