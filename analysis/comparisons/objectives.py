"""What a search seeks: one number for some runs of a setting, larger being better."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from analysis.comparisons.arms import Arm
from analysis.comparisons.final_values import final_values
from analysis.comparisons.pseudo_values import pseudo_values
from analysis.outcomes.subsets import chosen_runs


def objective_of(arm: Arm, objective: str, run_ids: Collection[str]) -> float:
    """The objective over these runs of an arm: as it is, or its negative where less is better; see `as_reported`.

    `converged` is the share that converges by the budget, `time` the mean steps until then (at most the budget),
    another name the median last value of that metric, infinitely bad for runs that diverged. NaN of no runs, or where
    they have no finite value. Raises ValueError for a metric that was not recorded.
    """
    rows = np.array([row for row, run in enumerate(arm.history.runs) if run.run_id in run_ids], dtype=np.int64)
    part = Arm(arm.name, chosen_runs(arm.history, rows), arm.outcomes.rows(rows))
    if objective not in ("converged", "time"):
        value_R, is_known_R = final_values(part, objective)
        known_R = value_R[is_known_R]
        middle = float(np.median(known_R)) if len(known_R) else np.nan
        return as_reported(middle, objective) if np.isfinite(middle) else np.nan
    if not len(rows):
        return np.nan
    values = pseudo_values(part.outcomes, float(arm.history.budget))
    value = float(np.mean(values.converged_R if objective == "converged" else values.steps_R))
    return as_reported(value, objective)


def as_reported(value: float, objective: str) -> float:
    """The objective itself, from the number whose larger values are better; the same function turns it back."""
    return value if objective == "converged" or "accuracy" in objective else -value
