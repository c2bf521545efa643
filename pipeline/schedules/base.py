"""Base class of learning-rate schedules: a linear warm-up, then a factor of the schedule's own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pipeline.registry import Registry
from pipeline.spec.parameters import Registered, vector

if TYPE_CHECKING:
    from typing import Self

    from torch import Tensor

    from pipeline.models.base import Model

    ScheduleColumns = Mapping[str, Tensor]


class Schedule(Registered):
    """A factor on `lr` for every update of a run: a linear warm-up, times `after_warmup`.

    Parameters are fields; those that are numbers are `vector`, so each slot has its own value. Torch is imported inside
    methods only.

    Contract:
    1. Parameters are declared and checked without torch.
    2. Update t < `warmup_steps` w, counted from 0, has the factor (t + 1) / (w + 1), so that no update is at 0; update
       w has the factor 1.
    3. From there on the factor never rises, and stays within [0, 1].
    4. A schedule with a `horizon` is constant from that update on, at `final_fraction`.
    5. Each slot by itself, bit for bit, from its own update number and columns alone.
    6. The C++ that is written from `after_warmup` gives the same numbers, to 1e-9 in float64.
    """

    warmup_steps: int = vector(0, ge=0, lt=2**53)

    @classmethod
    def tiny(cls) -> Self:
        """A small instance for tests, over within 20 updates where the schedule has an end."""
        return cls()

    def for_model(self, model: Model) -> Schedule:
        """The schedule of runs of this model: itself, unless it is whatever the model asks for."""
        return self

    def num_updates(self) -> int | None:
        """The updates that it has a factor for; None where it has one for any number, as all of ours have."""
        return None

    def fraction(self, steps_S: Tensor, columns: ScheduleColumns) -> Tensor:
        """The factor (S, 1) on lr for update number `steps_S` (0 is the first), in the dtype of the columns (S, 1)."""
        step_S1 = steps_S.unsqueeze(1).to(columns["warmup_steps"].dtype)
        rising_S1 = ((step_S1 + 1) / (columns["warmup_steps"] + 1)).clamp_(max=1.0)
        return rising_S1 * self.after_warmup(step_S1, columns)

    def after_warmup(self, step_S1: Tensor, columns: ScheduleColumns) -> Tensor:
        """(S, 1): 1 up to the end of warm-up, then the schedule's own shape.

        Only operations that IEEE 754 rounds exactly are safe on (S, 1) columns; see Cosine for one that is not.
        """
        raise NotImplementedError


SCHEDULES: Registry[Schedule] = Registry("pipeline.schedules", Schedule)
