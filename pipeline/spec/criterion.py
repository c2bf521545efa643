"""Convergence criterion: a threshold on a label metric, met at several successive evaluations."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.arrays import Bools, Floats


@dataclass(frozen=True)
class Criterion:
    """`metric` at or past a threshold at `evaluations` successive evaluations.

    Exactly one of `at_most` and `at_least` is given, in the metric's units. A NaN never satisfies. Raises ValueError
    when both or neither is given, or `evaluations` is below 1.
    """

    metric: str = "label_excess"
    at_most: float | None = None
    at_least: float | None = None
    evaluations: int = 2

    def __post_init__(self) -> None:
        if (self.at_most is None) == (self.at_least is None):
            raise ValueError(
                f"criterion on {self.metric!r}: give exactly one of at_most and at_least, "
                f"got at_most={self.at_most}, at_least={self.at_least}"
            )
        if self.evaluations < 1:
            raise ValueError(f"criterion on {self.metric!r}: evaluations must be 1 or more, got {self.evaluations}")

    def satisfied(self, values: Floats) -> Bools:
        """True where `values` (any shape) satisfies the threshold; False at NaN."""
        if self.at_most is not None:
            return np.asarray(values <= self.at_most)
        assert self.at_least is not None
        return np.asarray(values >= self.at_least)

    def first_streak(self, values_RT: Floats) -> NDArray[np.int64]:
        """(R,): the column at which each run's first full streak begins, -1 where there is none."""
        satisfied_RT = self.satisfied(values_RT)
        num_runs, num_columns = satisfied_RT.shape
        if num_columns < self.evaluations:
            return np.full(num_runs, -1)
        num_starts = num_columns - self.evaluations + 1
        streak_RT = satisfied_RT[:, :num_starts]
        for later in range(1, self.evaluations):
            streak_RT = streak_RT & satisfied_RT[:, later : later + num_starts]
        return np.where(streak_RT.any(axis=1), streak_RT.argmax(axis=1), -1)

    def __str__(self) -> str:
        bound = f"<= {self.at_most:g}" if self.at_most is not None else f">= {self.at_least:g}"
        times = "one evaluation" if self.evaluations == 1 else f"{self.evaluations} successive evaluations"
        return f"{self.metric} {bound} at {times}"
