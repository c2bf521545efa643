"""Rows of the benchmark: one score of one predictor on one task at one window, beside what is attainable."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from analysis.uncertainty.intervals import Estimate, json_safe


@dataclass(frozen=True)
class BenchmarkRow:
    """`row` names the score, `estimate` holds it with its 95% interval over `num_runs` test runs.

    `window` is the share of the budget that was seen. `ceiling` is the attainable value of the same score on the same
    task and window, NaN where it was not measured. `extra_compute` is what the columns cost beyond training the runs,
    as a share of training a whole run.
    """

    row: str
    predictor: str
    task: str
    window: float
    estimate: Estimate
    num_runs: int
    ceiling: float = np.nan
    extra_compute: float = 0.0

    @property
    def share_of_ceiling(self) -> float:
        """(A - .5) / (C - .5), for an area A under a ceiling C; NaN without a ceiling."""
        return (self.estimate.value - 0.5) / (self.ceiling - 0.5)

    def to_json(self) -> dict[str, Any]:
        """Plain values; null where a number is undefined."""
        plain = json_safe(
            {
                "row": self.row,
                "predictor": self.predictor,
                "task": self.task,
                "window": self.window,
                "value": self.estimate.value,
                "low": self.estimate.low,
                "high": self.estimate.high,
                "n": self.num_runs,
                "extra_compute": self.extra_compute,
                "ceiling": self.ceiling,
                "share_of_ceiling": self.share_of_ceiling,
            }
        )
        assert isinstance(plain, dict)
        return plain
