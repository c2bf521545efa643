"""Last crossing of a threshold by each run's curve, and the order of two such stages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from analysis.uncertainty.estimates import proportion_of_runs
from analysis.uncertainty.intervals import Estimate
from analysis.uncertainty.resampling import resample
from pipeline.arrays import Bools, Floats, Ints
from pipeline.spec.criterion import Criterion
from pipeline.store.history import RunInfo


@dataclass(frozen=True)
class Crossings:
    """When each run crossed, in steps: after `lower_R`, by `upper_R`, which are two successive recorded steps.

    A run that was past the threshold at its first recorded step has a `lower_R` of 0. Both are NaN for a run that never
    crossed for good.
    """

    lower_R: Floats
    upper_R: Floats


def crossed_for_good(values_RT: Floats, steps_T: Ints, criterion: Criterion) -> Crossings:
    """The first recorded step from which the criterion's threshold is kept to the end, at `evaluations` steps or more.

    NaN in `values_RT` is not recorded and is passed over. A run that crossed and fell back at its last recorded step
    has not crossed. Of the criterion, `metric` is not looked at.
    """
    lower_R, upper_R = np.full(len(values_RT), np.nan), np.full(len(values_RT), np.nan)
    for r, values_T in enumerate(values_RT):
        seen = np.flatnonzero(np.isfinite(values_T))
        outside = np.flatnonzero(~criterion.satisfied(values_T[seen]))
        first = int(outside[-1]) + 1 if len(outside) else 0
        if len(seen) - first >= criterion.evaluations:
            upper_R[r] = steps_T[seen[first]]
            lower_R[r] = steps_T[seen[first - 1]] if first else 0
    return Crossings(lower_R, upper_R)


def crossing_steps(values_RT: Floats, steps_T: Ints | Floats, criterion: Criterion) -> Floats:
    """(R,) where each run crosses for good, between the two recorded steps; NaN where it does not.

    It is where the line through the values at both meets the threshold, so that runs are told apart that cross between
    the same two steps. A run that was past the threshold at its first recorded step crosses there.

    >>> from pipeline.spec.criterion import Criterion
    >>> values_RT = np.array([[0.0, 0.2, 0.8, 1.0], [0.0, 0.9, 0.1, 0.2]])
    >>> crossing_steps(values_RT, np.array([0, 100, 200, 300]), Criterion(at_least=0.5)).tolist()
    [150.0, nan]
    """
    level = criterion.at_least if criterion.at_most is None else criterion.at_most
    assert level is not None
    found = crossed_for_good(values_RT, np.arange(len(steps_T)), criterion)
    step_R = np.full(len(values_RT), np.nan)
    for r in np.flatnonzero(np.isfinite(found.upper_R)):
        start, end = int(found.lower_R[r]), int(found.upper_R[r])
        before, after = values_RT[r, [start, end]]
        is_between = np.isfinite(before) and not criterion.satisfied(before)
        share = (before - level) / (before - after) if is_between else 1.0
        step_R[r] = steps_T[start] + share * (steps_T[end] - steps_T[start])
    return step_R


@dataclass(frozen=True)
class StageOrder:
    """Shares of the runs that reached at least one of two stages; the three add up to 1.

    `tied`: both at the same recorded step, so the grid does not tell. `num_runs` reached a stage, `num_neither` did
    not. Shares are NaN where no run reached a stage. `unit` says in the plural what the intervals resampled.
    """

    first: Estimate
    tied: Estimate
    second: Estimate
    num_runs: int
    num_neither: int
    unit: str


def stage_order(
    step_first_R: Floats, step_second_R: Floats, runs: Sequence[RunInfo], *, bootstrap: int = 1000, seed: int = 0
) -> StageOrder:
    """How often the first stage comes before the second, ties counted as ties; NaN is a stage never reached.

    A run that reached one stage alone had that one first. 95% intervals by resampling what the seeds leave
    independent; Wilson's where runs share no seed. Raises ValueError where the lengths differ.

    >>> runs = [RunInfo(f"run-{seed}", "setting", seed, seed, {}) for seed in range(4)]
    >>> order = stage_order(np.array([100, 100, 200, np.nan]), np.array([200, 100, np.nan, np.nan]), runs)
    >>> round(order.first.value, 3), round(order.tied.value, 3), order.num_neither
    (0.667, 0.333, 1)
    """
    if not len(step_first_R) == len(step_second_R) == len(runs):
        raise ValueError(f"need a step per run: {len(step_first_R)}, {len(step_second_R)} steps of {len(runs)} runs")
    reached_R = np.isfinite(step_first_R) | np.isfinite(step_second_R)
    first_R, second_R = (np.where(np.isnan(s_R), np.inf, s_R)[reached_R] for s_R in (step_first_R, step_second_R))
    reached = [run for run, is_reached in zip(runs, reached_R, strict=True) if is_reached]

    def share(is_so_R: Bools) -> Estimate:
        return proportion_of_runs(is_so_R, reached, bootstrap=bootstrap, seed=seed)

    return StageOrder(
        share(first_R < second_R),
        share(first_R == second_R),
        share(first_R > second_R),
        int(reached_R.sum()),
        int((~reached_R).sum()),
        resample(reached, 0, seed).unit,
    )
