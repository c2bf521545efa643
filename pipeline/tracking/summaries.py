"""Summaries of tracked runs: how a run or the runs of a setting ended, and the best values. Needs no wandb."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pipeline.store.history import LABEL_PREFIX
from pipeline.store.records.ends import FAILED_RUN
from pipeline.tracking.names import BEST, wandb_name
from pipeline.tracking.progress import RUNNING, CommittedProgress, ConvergenceCheck, outcome_of
from pipeline.tracking.rows import Recorded

# Label metrics of which more is better.
_RISING = ("label_accuracy",)


def run_summary(progress: CommittedProgress, recorded: Recorded, check: ConvergenceCheck) -> dict[str, Any]:
    """Outcome of a run and when, reason of its end, last step, best label values.

    `converged_step` is left out where it has not converged, `outcome_step` while it trains. What it last recorded of
    every metric wandb adds itself.
    """
    streak = check.streak(recorded)
    is_converged = streak is not None if progress.reason == RUNNING else progress.is_converged
    summary: dict[str, Any] = {
        "reason": progress.reason,
        "last_step": progress.step,
        "converged": is_converged,
        **_best(recorded),
    }
    if streak is not None:
        summary["converged_step"] = streak[0]
    if (outcome := outcome_of(progress)) is not None:
        step = streak[0] if outcome == "converged" and streak is not None else progress.step
        summary |= {"outcome": outcome, "outcome_step": step}
    return summary


def aggregate_summary(progress_R: Sequence[CommittedProgress], num_runs: int, reason: str) -> dict[str, Any]:
    """How the runs of a setting that have begun ended, and how many of its `num_runs` have yet to begin."""
    reasons = [of_run.reason for of_run in progress_R]
    return {
        "reason": reason,
        "last_step": max((of_run.step for of_run in progress_R), default=0),
        "num_waiting": num_runs - len(reasons),
        "num_running": reasons.count(RUNNING),
        "num_converged": sum(of_run.is_converged for of_run in progress_R),
        "num_diverged": reasons.count("diverged"),
        "num_stopped": reasons.count("stopped"),
        "num_failed": reasons.count(FAILED_RUN),
    }


def sweep_values(
    progress_by_run: Mapping[str, CommittedProgress], budgets: Mapping[str, int], probabilities: Mapping[str, float]
) -> dict[str, float]:
    """Progress of a whole sweep, with how many runs are expected to converge where there are forecasts."""
    ended = [one for one in progress_by_run.values() if one.reason != RUNNING]
    num_converged = sum(one.is_converged for one in ended)
    left = sum(
        budget - (progress_by_run[run].step if run in progress_by_run else 0)
        for run, budget in budgets.items()
        if run not in progress_by_run or progress_by_run[run].reason == RUNNING
    )
    values: dict[str, float] = {
        "sweep/num_running": len(progress_by_run) - len(ended),
        "sweep/num_done": len(ended),
        "sweep/num_converged": num_converged,
        "sweep/num_diverged": sum(one.reason == "diverged" for one in ended),
        "sweep/run_steps_left": left,
    }
    open_ = [p for run, p in probabilities.items() if run in progress_by_run and progress_by_run[run].reason == RUNNING]
    if open_:
        values |= {
            "sweep/expected_converged": num_converged + sum(open_),
            "sweep/expected_of": len(ended) + len(open_),
        }
    return values


def _best(recorded: Recorded) -> dict[str, float]:
    best = {}
    for metric in recorded.metrics:
        values_T = recorded.column(metric)
        if metric.startswith(LABEL_PREFIX) and not np.isnan(values_T).all():
            found = np.nanmax(values_T) if metric in _RISING else np.nanmin(values_T)
            best[f"{wandb_name(metric)}_{BEST}"] = float(found)
    return best
