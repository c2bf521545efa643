"""Rows of the benchmark: one score of one predictor on one task at one window, beside what is attainable."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from analysis.uncertainty.intervals import Estimate, json_safe, mean_of


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

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> BenchmarkRow:
        """The row that `to_json` wrote; what is lacking of a number is NaN, of the extra compute 0."""
        value, low, high, ceiling = (
            np.nan if plain.get(name) is None else float(plain[name]) for name in ("value", "low", "high", "ceiling")
        )
        return cls(
            str(plain["row"]),
            str(plain["predictor"]),
            str(plain["task"]),
            float(plain["window"]),
            Estimate(value, low, high),
            int(plain["n"]),
            ceiling,
            float(plain.get("extra_compute", 0.0)),
        )


def task_means(rows: Iterable[BenchmarkRow], score: str) -> dict[tuple[str, float], Estimate]:
    """(predictor, window) -> the mean of a score over tasks, best predictor first, by the mean over windows.

    Intervals are over test runs; the tasks are taken as they are. A predictor without the score on a task that another
    one has it on is left out.
    """
    found: dict[str, dict[float, dict[str, Estimate]]] = {}
    for row in rows:
        if row.row == score:
            found.setdefault(row.predictor, {}).setdefault(row.window, {})[row.task] = row.estimate
    scored = {
        name: {(w, task) for w, by_task in windows.items() for task in by_task} for name, windows in found.items()
    }
    everywhere = set().union(*scored.values())
    means = {
        name: {window: mean_of(list(by_task.values())) for window, by_task in sorted(windows.items())}
        for name, windows in found.items()
        if scored[name] == everywhere
    }
    order = sorted(means, key=lambda name: -float(np.mean([mean.value for mean in means[name].values()])))
    return {(name, window): mean for name in order for window, mean in means[name].items()}
