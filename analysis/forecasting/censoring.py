"""Inverse-probability-of-censoring weights: finished runs of a sweep that still trains, as a fair sample of all."""

from __future__ import annotations

import numpy as np

from analysis.outcomes.outcomes import CENSORED, Outcomes
from pipeline.arrays import Bools, Floats
from pipeline.store.history import History


def censoring_weights(is_finished_R: Bools, time_R: Floats) -> Floats:
    """(R,) 1 / G(t-) for runs that finished at t, and 0 for those last seen at t; they add up to R at most.

    G(t) is the probability to be watched past step t, by Kaplan and Meier (1958) with the roles of event and censoring
    exchanged; at equal steps events come before censorings. Whatever ends a run is an event: convergence, divergence
    (its competitor), and the budget. A finished run so stands for itself and for those like it that were not watched
    as long (Robins and Rotnitzky 1992; as weights of scores in Graf et al. 1999, section 3). The weighted share of
    converged runs is the Aalen-Johansen estimate at the last step.

    Rests on two assumptions: how long a run is watched tells nothing of what becomes of it (true of runs that start in
    waves, not of runs that a rule stops because of their losses), and some run is watched to the budget.

    >>> weight_R = censoring_weights(np.array([True, False, True, True]), np.array([100.0, 100.0, 200.0, 300.0]))
    >>> weight_R.round(9).tolist()
    [1.0, 0.0, 1.5, 1.5]
    """
    steps_T, of_run_R = np.unique(time_R, return_inverse=True)
    num_finished_T = np.bincount(of_run_R, weights=is_finished_R, minlength=len(steps_T))
    num_censored_T = np.bincount(of_run_R, weights=~is_finished_R, minlength=len(steps_T))
    num_after_T = np.cumsum((num_finished_T + num_censored_T)[::-1])[::-1] - num_finished_T
    kept_T = 1 - np.divide(num_censored_T, num_after_T, out=np.zeros(len(steps_T)), where=num_after_T > 0)
    watched_before_T = np.concatenate([[1.0], np.cumprod(kept_T)[:-1]])
    # Runs that finish after a step at which nobody was kept do not exist, so no finished run divides by 0.
    return np.where(is_finished_R, 1 / np.where(is_finished_R, watched_before_T[of_run_R], 1.0), 0.0)


def watched_until(history: History, outcomes: Outcomes) -> Floats:
    """(R,) the step of the outcome, or the last evaluation at which a censored run is known not to have converged.

    A criterion of several successive evaluations is confirmed after the fact: the last evaluations of a run that still
    trains may be the beginning of a streak, so it is watched to the evaluation before them. 0 without any.
    """
    values_RT = history.values[outcomes.criterion.metric]
    until_R = outcomes.upper_R.copy()
    for r in np.flatnonzero(outcomes.kind_R == CENSORED):
        seen = history.steps_T[np.isfinite(values_RT[r])]
        place = len(seen) - outcomes.criterion.evaluations
        until_R[r] = seen[place] if place >= 0 else 0.0
    return until_R
