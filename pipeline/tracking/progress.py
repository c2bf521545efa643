"""How far runs and settings are by the newest commits, and when runs converged. Needs no wandb."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.arrays import Ints
from pipeline.spec.criterion import Criterion
from pipeline.store.budgets import parts_of
from pipeline.store.records.ends import FAILED_RUN, EndColumns
from pipeline.store.records.record import Record
from pipeline.tracking.rows import Recorded, StackedCurves, stacked_curves

RUNNING, OVER = "running", "over"


@dataclass(frozen=True)
class CommittedProgress:
    """Progress of a run or a setting: rows up to `step` are final, none if it is negative.

    `reason` is as in `RunEnd`; "over" for a setting, or a sweep, whose runs have all ended.
    """

    step: int
    reason: str
    is_converged: bool = False


@dataclass(frozen=True)
class ConvergenceCheck:
    """Determines from a run's rows when it converged, by the sweep's criterion, at the evaluations on its grid."""

    criterion: Criterion
    eval_steps_T: Ints

    @staticmethod
    def of(sweep: Mapping[str, Any], plan: Mapping[str, Any]) -> ConvergenceCheck:
        """With the criterion and grid declared in a store's two documents."""
        # Of the largest budget: the evaluations of a smaller one are those of them that it reaches.
        eval_steps_T = np.array(parts_of(plan)[-1].eval_steps, np.int64)
        return ConvergenceCheck(Criterion(**sweep["spec"]["converged"]), eval_steps_T)

    def streaks(self, runs: StackedCurves) -> Ints:
        """(C, 2), of the runs that have converged: at which evaluation they had, and the later one that confirms it."""
        is_eval_T = np.isin(runs.steps_T, self.eval_steps_T)
        starts_R = self.criterion.first_streak(runs.column(self.criterion.metric)[:, is_eval_T])
        starts_C = starts_R[starts_R >= 0]
        return runs.steps_T[is_eval_T][np.stack([starts_C, starts_C + self.criterion.evaluations - 1], axis=1)]

    def streak(self, recorded: Recorded) -> tuple[int, int] | None:
        """The same of one run; None if it has not converged."""
        (runs,) = stacked_curves([recorded])
        for start, confirmed in self.streaks(runs).tolist():
            return start, confirmed
        return None


def progress_of_runs(records: Iterable[Record], budgets: Mapping[str, int]) -> dict[str, CommittedProgress]:
    """run_id -> progress, for runs that have started. One that a larger budget will continue is running."""
    found: dict[str, CommittedProgress] = {}
    for record in records:
        found |= {run_id: CommittedProgress(active.step, RUNNING) for run_id, active in record.active.items()}
        for run_id, end in EndColumns.of(record.ends).kind_by_run().items():
            reason = RUNNING if end.is_continued_to(budgets[run_id]) else end.reason
            found[run_id] = CommittedProgress(end.step, reason, end.is_converged)
    return found


def progress_of_setting(
    run_ids: Iterable[str], progress_by_run: Mapping[str, CommittedProgress]
) -> CommittedProgress | None:
    """Progress of runs together; None before any has begun.

    A row at a step is final only when no run can still add to it, so none is before the last run has begun.
    """
    ids = list(run_ids)
    of_runs = [progress_by_run[run_id] for run_id in ids if run_id in progress_by_run]
    if not of_runs:
        return None
    if len(of_runs) < len(ids):
        return CommittedProgress(-1, RUNNING)
    running = [progress.step for progress in of_runs if progress.reason == RUNNING]
    if running:
        return CommittedProgress(min(running), RUNNING)
    return CommittedProgress(max(progress.step for progress in of_runs), OVER)


def outcome_of(progress: CommittedProgress) -> str | None:
    """converged, diverged, failed, unconverged (at the budget) or censored (stopped before it); None in training."""
    if progress.reason == RUNNING:
        return None
    if progress.is_converged:
        return "converged"
    known = {"diverged": "diverged", "stopped": "censored", FAILED_RUN: "failed"}
    return known.get(progress.reason, "unconverged")
