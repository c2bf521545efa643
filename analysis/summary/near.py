"""How near the runs of a sweep came to its criterion where none met it, and why forecasts have no scores."""

from __future__ import annotations

import numpy as np

from analysis.forecasting.evaluation import Evaluation
from analysis.forecasting.scoring.score_table import FEWEST_PAIRS
from analysis.outcomes.outcomes import CONVERGED, Outcomes
from pipeline.arrays import Floats
from pipeline.store.history import History


def describe_unmet(history: History, outcomes: Outcomes) -> str:
    """Where no run converged, the criterion's metric when each was last evaluated, of the median run and the best.

    Says so where the best met the threshold, but at too few evaluations. Empty where some run converged, and where none
    was evaluated.
    """
    criterion = outcomes.criterion
    last_R = _last(history.values[criterion.metric])
    last_R = last_R[np.isfinite(last_R)]
    if outcomes.count(CONVERGED) or not len(last_R):
        return ""
    best = last_R.min() if criterion.at_most is not None else last_R.max()
    too_few = f", which has to be so at {criterion.evaluations} evaluations in succession"
    return (
        f"No run has converged, to {criterion}. Last it was {np.median(last_R):.3g} in the median run and {best:.3g} "
        f"in the best{too_few if criterion.satisfied(best) else ''}."
    )


def _last(values_RT: Floats) -> Floats:
    """(R,) the last finite value of each row; NaN without one."""
    if not values_RT.shape[1]:
        return np.full(len(values_RT), np.nan)
    is_known_RT = np.isfinite(values_RT)
    last_R = values_RT.shape[1] - 1 - is_known_RT[:, ::-1].argmax(axis=1)
    return np.where(is_known_RT.any(axis=1), values_RT[np.arange(len(values_RT)), last_R], np.nan)


def describe_unscored(evaluation: Evaluation) -> str:
    """Why AUROCs inside settings are undefined or have no interval, where some are; empty where all have one."""
    scored = [window for window in evaluation.windows if not window.problem]
    if any(not window.pairs_within for window in scored):
        return (
            "n/a: AUROC compares runs of one setting of which one converges after the window and one does not; none "
            "are left there. A budget near the step by which half of the runs converge leaves most."
        )
    if any(window.pairs_within < FEWEST_PAIRS for window in scored):
        return f"(n/a): there are fewer than {FEWEST_PAIRS} such pairs of runs, too few for an interval."
    return ""
