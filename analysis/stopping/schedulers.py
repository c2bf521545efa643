"""Schedulers that compare runs by their losses, on recorded losses: when each would have stopped each run.

A loss is (R, T) at the steps at which runs report; NaN after a run's end and where it is not finite. All runs train
side by side and report in the order of the rows. A run without a finite loss is the worst. Each function gives (R,) the
step at which a run is stopped, infinite where it is not; runs that have ended by themselves still compete with the last
loss that they reported, but are not stopped.
"""

from __future__ import annotations

from bisect import insort

import numpy as np

from pipeline.arrays import Bools, Floats, Ints
from pipeline.store.history import History


def reported(history: History, metric: str) -> tuple[Ints, Floats]:
    """The evaluation steps of a sweep, and the (R, T) last value of `metric` at or before each.

    A run reports up to its end; NaN afterwards, and where the metric is not finite. Raises ValueError where the history
    lacks the metric.
    """
    if metric not in history.values:
        known = ", ".join(sorted(history.values)) or "none"
        raise ValueError(f"history {history.name!r} has no metric {metric!r} (recorded: {known})")
    is_label_T = np.zeros(len(history.steps_T), dtype=bool)
    for name, values_RT in history.values.items():
        if name.startswith("label_"):
            is_label_T |= ~np.all(np.isnan(values_RT), axis=0)
    is_label_T &= history.steps_T > 0
    values_RT = history.values[metric]
    last_RT = np.where(np.isnan(values_RT), 0, np.arange(values_RT.shape[1]))
    filled_RT = np.take_along_axis(values_RT, np.maximum.accumulate(last_RT, axis=1), axis=1)[:, is_label_T]
    steps_T = history.steps_T[is_label_T]
    end_R = np.array([end.step for end in history.ends])
    is_reported_RT = (steps_T <= end_R[:, None]) & np.isfinite(filled_RT)
    return steps_T, np.where(is_reported_RT, filled_RT, np.nan)


def discarded_at(loss_RT: Floats, steps_T: Ints, end_R: Floats, step: int, keep: float = 0.5) -> Floats:
    """At one step, the runs with the lowest losses go on, a share `keep` of all (rounded up); the others stop.

    >>> steps_T, end_R = np.array([100, 200]), np.full(4, 200.0)
    >>> loss_RT = np.array([[3.0, 0.0], [1.0, 1.0], [2.0, 1.0], [4.0, 1.0]])
    >>> discarded_at(loss_RT, steps_T, end_R, 100).tolist()
    [100.0, inf, inf, 100.0]
    """
    loss_R, everyone_R = _loss_at(loss_RT, steps_T, step), np.ones(len(loss_RT), dtype=bool)
    is_kept_R = _best(loss_R, everyone_R, int(np.ceil(keep * len(loss_R) - 1e-9)))
    return np.where(~is_kept_R & (end_R > step), float(step), np.inf)


def successive_halving(loss_RT: Floats, steps_T: Ints, end_R: Floats, first: int, budget: int, eta: int) -> Floats:
    """Synchronous successive halving: at each rung one in `eta` of the runs that are left goes on, at least one.

    Rungs are at `first` times powers of `eta`, below the budget (Jamieson and Talwalkar 2016, algorithm 1, with equal
    resources for all runs of a round).

    >>> loss_RT = np.array([[4.0, 4.0], [3.0, 1.0], [1.0, 3.0], [2.0, 2.0]])
    >>> successive_halving(loss_RT, np.array([100, 200]), np.full(4, 400.0), 100, 400, eta=2).tolist()
    [100.0, 100.0, 200.0, inf]
    """
    left_R, stop_R = np.ones(len(loss_RT), dtype=bool), np.full(len(loss_RT), np.inf)
    for rung in _rungs(first, budget, eta):
        kept_R = _best(_loss_at(loss_RT, steps_T, rung), left_R, max(int(left_R.sum()) // eta, 1))
        dropped_R = left_R & ~kept_R
        stop_R[dropped_R & (end_R > rung)] = rung
        left_R = kept_R
    return stop_R


def asha(loss_RT: Floats, steps_T: Ints, end_R: Floats, first: int, budget: int, eta: int) -> Floats:
    """Asynchronous successive halving that stops runs: each is compared with those that reached its rung before it.

    It stops where its loss is above the 1 / `eta` quantile of theirs (Li et al. 2020, A System for Massively Parallel
    Hyperparameter Tuning; the stopping variant, as in Ray Tune's AsyncHyperBandScheduler). Rungs as in
    `successive_halving`; a run that ended before a rung does not reach it.

    >>> loss_RT = np.array([[4.0], [3.0], [5.0], [3.1]])
    >>> asha(loss_RT, np.array([100]), np.full(4, 200.0), 100, 200, eta=2).tolist()
    [inf, inf, 100.0, inf]
    """
    stop_R = np.full(len(loss_RT), np.inf)
    for rung in _rungs(first, budget, eta):
        loss_R = _loss_at(loss_RT, steps_T, rung)
        seen: list[float] = []
        for r in np.flatnonzero((stop_R > rung) & (end_R >= rung)):
            if seen and end_R[r] > rung and loss_R[r] > _quantile(seen, 1 / eta):
                stop_R[r] = rung
            insort(seen, float(loss_R[r]))
    return stop_R


def median_stopping(loss_RT: Floats, steps_T: Ints, end_R: Floats, first: int, fewest: int = 3) -> Floats:
    """Median stopping: a run stops where its best loss so far is above the median of the others' running means.

    Golovin et al. (2017, Google Vizier), section 3.2.1, at every report from `first` on, compared as in Ray Tune's
    MedianStoppingRule with all others that reported as late as this, at least `fewest` of them; means are of reports
    from `first` on.

    >>> loss_RT = np.array([[1.0, 1.0], [1.0, 0.9], [1.0, 0.8], [1.0, 1.2], [2.0, 1.0]])
    >>> median_stopping(loss_RT, np.array([100, 200]), np.full(5, 300.0), 100).tolist()
    [inf, inf, inf, 200.0, 100.0]
    """
    worst_RT = np.where(np.isnan(loss_RT), np.inf, loss_RT)
    best_RT = np.minimum.accumulate(worst_RT, axis=1)
    first_T = steps_T >= first
    mean_RT = np.cumsum(worst_RT[:, first_T], axis=1) / np.arange(1, first_T.sum() + 1)
    stop_R, num_before = np.full(len(loss_RT), np.inf), int((~first_T).sum())
    for t, step in enumerate(steps_T[first_T].tolist()):
        means: list[float] = []
        for r in np.flatnonzero((stop_R >= step) & (end_R >= step)):
            # Runs that come later in the order have not reported at this step yet, and so are not compared with.
            is_judged = len(means) >= fewest and end_R[r] > step
            if is_judged and best_RT[r, num_before + t] > _quantile(means, 0.5):
                stop_R[r] = step
            if np.isfinite(mean_RT[r, t]):
                insort(means, float(mean_RT[r, t]))
    return stop_R


def _rungs(first: int, budget: int, eta: int) -> list[int]:
    rungs = [first]
    while rungs[-1] * eta < budget:
        rungs.append(rungs[-1] * eta)
    return rungs


def _loss_at(loss_RT: Floats, steps_T: Ints, step: int) -> Floats:
    """(R,) the last loss reported up to a step; infinite where none was."""
    upto_RT = loss_RT[:, steps_T <= step]
    if not upto_RT.shape[1]:
        return np.full(len(loss_RT), np.inf)
    is_known_RT = np.isfinite(upto_RT)
    last_R = upto_RT.shape[1] - 1 - is_known_RT[:, ::-1].argmax(axis=1)
    return np.where(is_known_RT.any(axis=1), upto_RT[np.arange(len(upto_RT)), last_R], np.inf)


def _best(loss_R: Floats, among_R: Bools, num: int) -> Bools:
    """The `num` runs of `among_R` with the lowest losses; of equal losses the first rows."""
    order = np.argsort(np.where(among_R, loss_R, np.inf), kind="stable")
    order = order[among_R[order]]
    best_R = np.zeros(len(loss_R), dtype=bool)
    best_R[order[:num]] = True
    return best_R


def _quantile(sorted_values: list[float], level: float) -> float:
    """As `np.quantile`, of values in ascending order."""
    place = (len(sorted_values) - 1) * level
    below = int(place)
    low, high = sorted_values[below], sorted_values[min(below + 1, len(sorted_values) - 1)]
    return low if place == below or low == high else low + (place - below) * (high - low)
