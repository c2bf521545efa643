"""Base class of schedules that decay to a fraction of lr at a horizon."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import model_validator

from pipeline.schedules.base import Schedule
from pipeline.spec.parameters import vector

if TYPE_CHECKING:
    from typing import Self

    from torch import Tensor

    from pipeline.schedules.base import ScheduleColumns


class Decay(Schedule):
    """Falls from 1 at the end of warm-up to `final_fraction` at update `horizon`, which is independent of the budget.

    Raises ValueError unless warm-up ends before the horizon.
    """

    horizon: int = vector(gt=0, lt=2**53)
    final_fraction: float = vector(0.0, ge=0, le=1)

    @model_validator(mode="after")
    def _decay_follows_warmup(self) -> Decay:
        if self.warmup_steps >= self.horizon:
            raise ValueError(f"warmup_steps ({self.warmup_steps}) must be less than horizon ({self.horizon})")
        return self

    @classmethod
    def tiny(cls) -> Self:
        """Warm-up, decay and the flat end within 20 updates."""
        return cls(warmup_steps=3, horizon=15, final_fraction=0.1)

    def after_warmup(self, step_S1: Tensor, columns: ScheduleColumns) -> Tensor:
        """From 1 to `final_fraction` along `shape`, flat before and after."""
        warmup, final = columns["warmup_steps"], columns["final_fraction"]
        progress_S1 = ((step_S1 - warmup) / (columns["horizon"] - warmup).clamp(min=1)).clamp_(0.0, 1.0)
        return final + (1 - final) * self.shape(progress_S1)

    def shape(self, progress_S1: Tensor) -> Tensor:
        """(S, 1): from 1 at progress 0 to 0 at progress 1."""
        raise NotImplementedError
