"""Whether forecasts of the runs at risk can be scored, and what is assumed in doing so, in sentences."""

from __future__ import annotations

import numpy as np

from analysis.forecasting.censoring import RiskSet
from analysis.outcomes.outcomes import CENSORED, Outcomes, failed_without_outcome, has_started
from pipeline.store.history import History, Window


def scoring_problem(history: History, window: Window, outcomes: Outcomes, risk: RiskSet) -> str:
    """Why the runs at risk cannot be scored; empty where they can.

    Runs that still train can be weighted for. Runs that a rule stopped by their losses cannot, unless `risk` has
    weights for them: who was not stopped, or has an outcome already, depends on the outcome.
    """
    reason_R = np.array([end.reason for end in history.ends], dtype=np.str_)
    end_R = np.array([end.step for end in history.ends], dtype=np.float64)
    # A run that was stopped at the window's end, or soon after, was at risk there, though it was not seen beyond.
    stopped_R = (reason_R == "stopped") & (end_R >= window.last_step) & (risk.copies_R > 0)
    stopped_R &= has_started(history.runs, window.last_step)
    censored_R = (risk.risk_R | stopped_R) & (outcomes.kind_R == CENSORED)
    num_at_risk = int((risk.risk_R | censored_R).sum())
    if not num_at_risk:
        return ""
    for reason, what in (
        ("stopped", "were stopped before their outcome"),
        ("converged", "were ended by a criterion that is met more easily than this one"),
    ):
        number = int((censored_R & (reason_R == reason)).sum())
        if number:
            return (
                f"{number} of {num_at_risk} runs at risk {what}; the others are not a fair sample, so nothing is scored"
            )
    if not risk.known_R.any():
        return (
            f"{risk.num_censored} of {num_at_risk} runs at risk have no outcome yet, and none was watched to the "
            "budget, so what becomes of slow ones is not known and nothing is scored"
        )
    if all(np.all(np.isnan(array[risk.risk_R])) for array in window.values.values()):
        return "nothing was recorded of the runs at risk in this window, so nothing is scored"
    return ""


def scoring_note(history: History, outcomes: Outcomes, risk: RiskSet) -> str:
    """What the weights of the scored runs assume, in sentences; empty where each counts once."""
    sentences = []
    if np.any(risk.copies_R[risk.risk_R] != 1):
        sentences.append("Runs that the stopping rule spared by chance stand for those that it stopped.")
    if risk.num_censored:
        sentences.append(
            f"{risk.num_censored} runs at risk have no outcome yet. The others are weighted by the inverse probability "
            "of having been watched as long, which assumes that how long a run was watched says nothing about its fate."
        )
    num_failed = int((risk.risk_R & failed_without_outcome(history, outcomes)).sum())
    if num_failed:
        sentences.append(
            f"{num_failed} of these failed by an error; where errors depend on how a run trains, weights do not help."
        )
    num_left_out = int((risk.risk_R & ~risk.scorable_R).sum())
    if num_left_out:
        sentences.append(
            f"{num_left_out} of the runs at risk are left out, since of their settings none was watched to the budget."
        )
    return " ".join(sentences)
