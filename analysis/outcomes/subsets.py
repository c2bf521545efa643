"""Subsets of histories, and several as one: selected runs, a truncated budget, sparser evaluations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from analysis.outcomes.outcomes import Outcomes
from pipeline.arrays import Bools, Floats, Ints
from pipeline.store.history import LABEL_PREFIX, History, RunEnd


def some_runs(history: History, keep_R: Bools) -> History:
    """The runs where `keep_R` is True, in the same order, with all their steps."""
    return chosen_runs(history, np.flatnonzero(keep_R))


def chosen_runs(history: History, rows: Sequence[int] | Ints) -> History:
    """The runs at these places, in this order, with all their steps."""
    chosen = np.asarray(rows, dtype=np.int64)
    return replace(
        history,
        runs=tuple(history.runs[r] for r in chosen),
        ends=tuple(history.ends[r] for r in chosen),
        values={metric: values_RT[chosen] for metric, values_RT in history.values.items()},
    )


def within(history: History, budget: int) -> History:
    """The same runs as if they had had this smaller budget: nothing after it, and who went on beyond it ends there.

    To be judged there, runs must be evaluated at `budget` or have ended before. Windows are shares of the smaller
    budget, so none of the declared ones is left. Raises ValueError for a larger budget.
    """
    if budget > history.budget:
        raise ValueError(f"history {history.name!r} has a budget of {history.budget} steps, asked for {budget}")
    keep_T = history.steps_T <= budget
    ends = tuple(RunEnd("budget", budget) if end.step > budget else end for end in history.ends)
    values = {metric: values_RT[:, keep_T] for metric, values_RT in history.values.items()}
    steps_T = history.steps_T[keep_T]
    extra = {step: share * history.budget / budget for step, share in history.extra_compute.items()}
    return replace(history, budget=budget, ends=ends, steps_T=steps_T, values=values, windows=(), extra_compute=extra)


def with_metrics(history: History, prefixes: Sequence[str]) -> History:
    """The history with the metrics whose names begin with one of `prefixes`, and those of the label set.

    Raises ValueError where none begins so.
    """
    chosen = {name: array for name, array in history.values.items() if name.startswith(tuple(prefixes))}
    if not chosen:
        raise ValueError(f"history {history.name!r} has no metric that begins with {' or '.join(prefixes)}")
    labels = {name: array for name, array in history.values.items() if name.startswith(LABEL_PREFIX)}
    return replace(history, values=labels | chosen, readings=history.readings & chosen.keys())


def evaluated_every(history: History, interval: int) -> History:
    """The same runs as if their labels had been looked at every `interval` steps alone.

    A criterion of several successive evaluations then means the same in sweeps that are looked at more often.
    """
    is_seen_T = history.steps_T % interval == 0
    values = {
        metric: np.where(is_seen_T, values_RT, np.nan) if metric.startswith(LABEL_PREFIX) else values_RT
        for metric, values_RT in history.values.items()
    }
    return replace(history, values=values)


def joined(histories: Sequence[History]) -> History:
    """The runs of all histories as one, on the union of their steps, NaN where a history lacks a metric or a step.

    What varies is what differs between any two of the runs; windows are those that all declared, and `extra_compute` is
    that of the history in which it is largest. Raises ValueError
    where budgets differ or a run occurs twice.
    """
    if len(histories) == 1:
        return histories[0]
    budgets = {history.budget for history in histories}
    if len(budgets) > 1:
        raise ValueError(f"these sweeps have different budgets: {', '.join(map(str, sorted(budgets)))}")
    runs = tuple(run for history in histories for run in history.runs)
    if len({run.run_id for run in runs}) < len(runs):
        raise ValueError("a run occurs in two of these sweeps")
    steps_T = np.unique(np.concatenate([history.steps_T for history in histories]))
    metrics = dict.fromkeys(metric for history in histories for metric in history.values)
    values = {metric: np.concatenate([_on(history, metric, steps_T) for history in histories]) for metric in metrics}
    paths = sorted({path for run in runs for path in run.hyperparameters})
    varied = tuple(path for path in paths if len({repr(run.hyperparameters.get(path)) for run in runs}) > 1)
    ends = tuple(end for history in histories for end in history.ends)
    name = " + ".join(history.name for history in histories)
    first, *others = (history.windows for history in histories)
    windows = tuple(window for window in first if all(window in other for other in others))
    readings = frozenset().union(*(history.readings for history in histories))
    extra: dict[int, float] = {}
    for step, share in (item for history in histories for item in history.extra_compute.items()):
        extra[step] = max(extra.get(step, 0.0), share)
    return History(name, budgets.pop(), runs, ends, steps_T, values, varied, windows, readings, extra)


def joined_outcomes(parts: Sequence[Outcomes]) -> Outcomes:
    """The outcomes of the runs of joined histories, each decided by the evaluations of its own sweep.

    On the joined steps, sweeps that are evaluated at different steps would have gaps in every streak. Raises ValueError
    where criteria differ.
    """
    criteria = list(dict.fromkeys(part.criterion for part in parts))
    if len(criteria) > 1:
        raise ValueError(f"outcomes by different criteria: {'; '.join(map(str, criteria))}")
    names = ("kind_R", "lower_R", "upper_R")
    return Outcomes(criteria[0], *(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def _on(history: History, metric: str, steps_T: Ints) -> Floats:
    values_RT = np.full((len(history.runs), len(steps_T)), np.nan)
    if metric in history.values:
        values_RT[:, np.searchsorted(steps_T, history.steps_T)] = history.values[metric]
    return values_RT
