"""What each run would add to an arm's converged share and mean time, were no run censored: pseudo-observations."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from analysis.outcomes.incidence import EventCounts
from analysis.outcomes.outcomes import CENSORED, CONVERGED, Outcomes
from pipeline.arrays import Floats


@dataclass(frozen=True)
class PseudoValues:
    """One value per run: `converged_R` averages to the share that converged by the horizon, `steps_R` to the mean time.

    The time is restricted: a run that has not converged by the horizon counts with the horizon, and so does one that
    diverged, which never will converge. Without censoring these are the runs' own values.
    """

    converged_R: Floats
    steps_R: Floats


def horizon_of(outcomes: Outcomes, budget: int) -> float:
    """The step up to which an arm can be judged: the budget, or the last step seen if the last run seen is censored."""
    last = float(outcomes.upper_R.max(initial=0.0))
    is_last_R = outcomes.upper_R == last
    return last if np.any(outcomes.is_kind_R(CENSORED)[is_last_R]) else float(budget)


def pseudo_values(outcomes: Outcomes, horizon: float) -> PseudoValues:
    """From Aalen-Johansen estimates with each run left out: n times that of all, less n - 1 times that of the others.

    Andersen, Klein and Rosthoej (2003, Generalised linear models for correlated pseudo-observations); of competing
    risks Klein and Andersen (2005). Differences of paired runs are then as those of complete data, provided that
    censoring has nothing to do with the outcome.

    >>> from pipeline.spec.criterion import Criterion
    >>> kind_R, step_R = np.array(["converged", "unconverged", "diverged"]), np.array([4.0, 10.0, 6.0])
    >>> found = pseudo_values(Outcomes(Criterion(at_most=0.1), kind_R, step_R, step_R), 10)
    >>> found.converged_R.tolist(), found.steps_R.tolist()
    ([1.0, 0.0, 0.0], [4.0, 10.0, 10.0])
    """
    is_converged_R = outcomes.is_kind_R(CONVERGED) & (outcomes.upper_R <= horizon)
    is_known_R = ~outcomes.is_kind_R(CENSORED) | (outcomes.upper_R >= horizon)
    if is_known_R.all():
        return PseudoValues(is_converged_R.astype(np.float64), np.where(is_converged_R, outcomes.upper_R, horizon))
    num_runs = len(outcomes.kind_R)
    steps_T = np.unique(np.concatenate([[0.0], outcomes.upper_R[outcomes.upper_R <= horizon]]))
    counts = EventCounts.of(outcomes.upper_R, outcomes.kind_R, steps_T)
    weight_BR = np.concatenate([np.ones((1, num_runs)), 1 - np.eye(num_runs)])
    converged_BT, _ = counts.aalen_johansen(weight_BR)
    width_T = np.diff(np.append(steps_T, horizon))
    share_B, time_B = converged_BT[:, -1], horizon - converged_BT @ width_T
    return PseudoValues(_pseudo(share_B, num_runs), _pseudo(time_B, num_runs))


def _pseudo(estimate_B: Floats, num_runs: int) -> Floats:
    """Row 0 is the estimate of all, row 1 + r that without run r."""
    return np.asarray(num_runs * estimate_B[0] - (num_runs - 1) * estimate_B[1:])
