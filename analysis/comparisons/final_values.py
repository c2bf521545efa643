"""The last value of a metric in each run, for comparisons."""

from __future__ import annotations

import numpy as np

from analysis.comparisons.arms import Arm
from pipeline.arrays import Bools, Floats
from pipeline.store.history import History

# Runs that went to their end, whose last value is final.
_WHOLE = ("budget", "converged")


def final_values(arm: Arm, metric: str) -> tuple[Floats, Bools]:
    """(R,) each run's last finite value, and whether it counts: a run that was stopped, failed or trains has none.

    A run that diverged counts as worse than any other: infinite, or minus infinite for an accuracy. Raises ValueError
    where the metric was not recorded.
    """
    history = arm.history
    if metric not in history.values:
        known = ", ".join(sorted(name for name in history.values if "." not in name)) or "none"
        raise ValueError(f"{arm.name}: has no metric {metric!r} (recorded: {known})")
    diverged_R = np.array([end.reason == "diverged" for end in history.ends], dtype=bool)
    last_R, _ = _last(history, metric)
    worst = -np.inf if "accuracy" in metric else np.inf
    whole_R = np.array([end.reason in _WHOLE for end in history.ends], dtype=bool) & np.isfinite(last_R)
    return np.where(diverged_R, worst, last_R), whole_R | diverged_R


def last_steps(arm: Arm, metric: str) -> Floats:
    """(R,) the step of each run's last finite value; NaN where it has none."""
    return _last(arm.history, metric)[1]


def _last(history: History, metric: str) -> tuple[Floats, Floats]:
    values_RT = history.values[metric]
    none_R = np.full(len(values_RT), np.nan)
    if not values_RT.size:
        return none_R, none_R
    finite_RT = np.isfinite(values_RT)
    last_R = values_RT.shape[1] - 1 - finite_RT[:, ::-1].argmax(axis=1)
    is_seen_R = finite_RT.any(axis=1)
    value_R = np.where(is_seen_R, values_RT[np.arange(len(values_RT)), last_R], np.nan)
    return value_R, np.where(is_seen_R, history.steps_T[last_R].astype(np.float64), np.nan)
