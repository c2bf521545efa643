"""Runs that a rule stopped by their forecasts: weights by which a control share stands for them."""

from __future__ import annotations

import numpy as np

from analysis.outcomes.outcomes import CENSORED, Outcomes, at_risk, decide_outcomes
from analysis.statistics.last_value import last_finite
from pipeline.arrays import Bools, Floats
from pipeline.stopping.forecast import StopByForecast
from pipeline.stopping.policy_file import PolicyWindow
from pipeline.store.history import History


def stopping_weights(history: History, outcomes: Outcomes, rule: StopByForecast) -> Floats:
    """(R,) weights under which the runs of a sweep that `rule` stopped are a sample of all, as if it had stopped none.

    The control runs that the rule would have stopped stand for all that it would stop or did: each weighs the number of
    these over their own, about 1 / control_share. Runs that were stopped weigh 0, and every other run 1, since its
    outcome is seen whether it is in control or not. Who is in control is drawn by a hash of the run id, independently
    of its fate, so weighted shares are unbiased: post-stratification (Holt and Smith 1979), which varies less than
    1 / control_share itself, since how many the rule stops is known and not only expected.

    A run that still trains weighs 1 so far. `outcomes` may be by another criterion than the rule's. Raises ValueError
    where the rule stops runs and none of those that it would stop is in control, or where a run was stopped that this
    rule does not stop, so that it does not say what stands for it.
    """
    would_stop_R, control_R = np.isfinite(rule_stops_R(history, rule)), control_runs(history, rule)
    stopped_R = np.array([end.reason == "stopped" for end in history.ends], dtype=bool)
    if np.any(stopped_R & ~(would_stop_R & ~control_R)):
        raise ValueError("runs were stopped that this rule does not stop, so it does not say what stands for them")
    if not stopped_R.any():
        return np.ones(len(history.runs))
    num_control = int((would_stop_R & control_R).sum())
    if not num_control:
        raise ValueError(
            f"{stopped_R.sum()} runs were stopped by their forecasts, and the rule would have stopped none of the "
            f"{control_R.sum()} control runs: nothing stands for them"
        )
    return np.where(would_stop_R, np.where(control_R, would_stop_R.sum() / num_control, 0.0), 1.0)


def control_runs(history: History, rule: StopByForecast) -> Bools:
    """(R,) the runs of the control share."""
    return np.array([rule.is_control(run.run_id) for run in history.runs], dtype=bool)


def rule_stops_R(history: History, rule: StopByForecast) -> Floats:
    """(R,) the step at which the rule stops each run, or would were it not in control; infinite where it does not.

    By what was recorded up to each window alone, as the rule itself decides.
    """
    outcomes, stop_R = decide_outcomes(history, rule.predictor.meets), np.full(len(history.runs), np.inf)
    is_censored_R = outcomes.kind_R == CENSORED
    for window in reversed(rule.predictor.windows):
        # A run that was stopped at the window was last seen there, and had no outcome.
        is_open_R = np.where(is_censored_R, outcomes.upper_R >= window.step, at_risk(outcomes, window.step))
        is_open_R &= ~meets_criterion(history, outcomes, window.step)
        stop_R = np.where(is_open_R & (_probability_R(history, window) < window.threshold), window.step, stop_R)
    return stop_R


def _probability_R(history: History, window: PolicyWindow) -> Floats:
    upto_T = history.steps_T <= window.step
    needed = {column.name for column in window.columns if column.source == "metric"} & history.values.keys()
    metrics = {name: last_finite(history.values[name][:, upto_T]) for name in needed}
    return window.probability_R(metrics, [run.hyperparameters for run in history.runs])


def meets_criterion(history: History, outcomes: Outcomes, step: int) -> Bools:
    """(R,) whether the last evaluation up to `step` met the criterion, and so may begin a streak that meets it."""
    values_RT = history.values[outcomes.criterion.metric]
    evaluated_T = ~np.all(np.isnan(values_RT), axis=0) & (history.steps_T <= step)
    if not evaluated_T.any():
        return np.zeros(len(history.runs), dtype=bool)
    return np.asarray(outcomes.criterion.satisfied(values_RT[:, evaluated_T][:, -1]))
