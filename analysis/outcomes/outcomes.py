"""Outcome of each run (converged, diverged, unconverged, censored) with its interval-censored time.

A pure function of the history, so a sweep can be judged by several criteria without training again.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.arrays import Bools, Floats, Ints, Texts
from pipeline.spec.criterion import Criterion
from pipeline.store.history import History, RunInfo

CONVERGED, DIVERGED, UNCONVERGED, CENSORED = OUTCOME_KINDS = ("converged", "diverged", "unconverged", "censored")


DEFAULT_CRITERION = Criterion(at_most=0.02)


@dataclass(frozen=True)
class Outcomes:
    """The outcome of each run under one criterion.

    `kind_R` is one of OUTCOME_KINDS. The time of the outcome, in steps, lies in (lower_R, upper_R]:
    converged: `upper` is the first evaluation of the first full streak, `lower` the evaluation before it (0 if none),
    and of a fork at least the step at which it began;
    diverged: both are the step of divergence; unconverged: both are the last step, which is the budget;
    censored: both are the last step seen. Later than that, nothing is known about a censored run.
    """

    criterion: Criterion
    kind_R: Texts
    lower_R: Floats
    upper_R: Floats

    def is_kind_R(self, kind: str) -> Bools:
        """True for the runs of that kind. Raises ValueError for a kind that does not exist."""
        if kind not in OUTCOME_KINDS:
            raise ValueError(f"unknown kind of outcome {kind!r} (known: {', '.join(OUTCOME_KINDS)})")
        return np.asarray(self.kind_R == kind)

    def rows(self, use_R: Bools | Ints) -> Outcomes:
        """The outcomes of the runs where `use_R` is True, in the same order, or of those at these places."""
        return Outcomes(self.criterion, self.kind_R[use_R], self.lower_R[use_R], self.upper_R[use_R])

    def count(self, kind: str) -> int:
        """Number of runs of that kind."""
        return int(self.is_kind_R(kind).sum())


def decide_outcomes(history: History, criterion: Criterion = DEFAULT_CRITERION) -> Outcomes:
    """The outcome of every run. The first event decides: a run that converged and diverged later is converged.

    The evaluations are the steps at which any run recorded the metric; a run that recorded none of them is censored
    unless it diverged. A run that was stopped, failed by an error, still runs, ended at a smaller budget than the sweep
    has now, or was ended before the budget by a laxer criterion that this one does not confirm, is censored: what it
    would have done is unknown.
    Raises ValueError when the history lacks the metric.

    >>> from pipeline.store.history import RunEnd
    >>> runs = tuple(RunInfo(f"run-{seed}", "setting", seed, seed, {}) for seed in range(3))
    >>> ends = (RunEnd("budget", 300), RunEnd("budget", 300), RunEnd("diverged", 150))
    >>> steps_T = np.array([0, 100, 200, 300])
    >>> excess_RT = np.array([[1, 0.5, 0.01, 0.01], [1, 0.9, 0.8, 0.7], [1, 2, np.nan, np.nan]])
    >>> outcomes = decide_outcomes(History("sweep", 300, runs, ends, steps_T, {"label_excess": excess_RT}))
    >>> outcomes.kind_R.tolist()
    ['converged', 'unconverged', 'diverged']
    >>> outcomes.lower_R.tolist(), outcomes.upper_R.tolist()
    ([100.0, 300.0, 150.0], [200.0, 300.0, 150.0])
    """
    if criterion.metric not in history.values:
        raise ValueError(f"history {history.name!r} has no metric {criterion.metric!r} ({recorded_text(history)})")
    values_RT = history.values[criterion.metric]
    evaluated_T = ~np.all(np.isnan(values_RT), axis=0)
    eval_steps_T, values_RT = history.steps_T[evaluated_T], values_RT[:, evaluated_T]
    first_R = criterion.first_streak(values_RT)

    kind_R = np.full(len(history.runs), CENSORED, dtype="<U11")
    upper_R = np.array([end.step for end in history.ends], dtype=np.float64)
    lower_R = upper_R.copy()
    is_seen_R = ~np.all(np.isnan(values_RT), axis=1)
    for r, (run, end) in enumerate(zip(history.runs, history.ends, strict=True)):
        if first_R[r] >= 0:
            kind_R[r] = CONVERGED
            lower_R[r], upper_R[r] = _interval(eval_steps_T, int(first_R[r]), run.fork_step)
        elif end.reason == "diverged":
            kind_R[r] = DIVERGED
        elif is_seen_R[r] and end.reason in ("budget", "converged") and end.step >= history.budget:
            kind_R[r] = UNCONVERGED
    return Outcomes(criterion, kind_R, lower_R, upper_R)


def recorded_text(history: History) -> str:
    """The metrics that runs recorded, readings by their number alone: `recorded: label_loss, train_loss`."""
    curves = ", ".join(sorted(history.values.keys() - history.readings)) or "none"
    return f"recorded: {curves}" + (f", and {len(history.readings)} readings" if history.readings else "")


def failed_without_outcome(history: History, outcomes: Outcomes) -> Bools:
    """(R,) True for the runs that an error ended before they had an outcome."""
    return np.array([end.reason == "failed" for end in history.ends], dtype=bool) & outcomes.is_kind_R(CENSORED)


def at_risk(outcomes: Outcomes, step: float) -> Bools:
    """(R,) True for the runs that had neither converged nor diverged by `step` and were observed past it."""
    return np.asarray(outcomes.upper_R > step)


def has_started(runs: tuple[RunInfo, ...], step: float) -> Bools:
    """(R,) True for the runs that had steps of their own before `step`: all but the forks made at it or later."""
    return np.array([run.fork_step is None or run.fork_step < step for run in runs], dtype=bool)


def _interval(eval_steps_T: Ints, index: int, fork_step: int | None) -> tuple[float, float]:
    upper = float(eval_steps_T[index])
    lower = float(eval_steps_T[index - 1]) if index > 0 else 0.0
    return min(upper, max(lower, float(fork_step or 0))), upper
