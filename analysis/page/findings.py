"""What a sweep found, in sentences made of its computed numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from analysis.forecasting.evaluation import PRIMARY, Evaluation, WindowEvaluation
from analysis.forecasting.scoring.score_table import FEWEST_PAIRS, LOSS_BASELINE
from analysis.outcomes.outcomes import OUTCOME_KINDS, Outcomes
from analysis.outcomes.settings import runs_by_setting, setting_labels
from analysis.summary.in_training import expected_of
from analysis.summary.text import describe_cost
from analysis.uncertainty.intervals import Estimate, short
from pipeline.counted import counted
from pipeline.store.history import History

if TYPE_CHECKING:
    from analysis.summary.analyse import Analysis

_SHARES = {0.0: "Before training", 0.05: "At a twentieth", 0.1: "At a tenth", 0.25: "At a quarter", 0.5: "At half"}
# The window that the sentence is about is the one nearest to this share of the budget.
_TOLD = 0.25


def findings(analysis: Analysis) -> list[str]:
    """Outcomes, then how early they can be told, then what is expected of runs in training; a sentence each."""
    found = outcome_findings(analysis.history, analysis.outcomes)
    if analysis.evaluation is not None:
        found += _forecast_finding(analysis.evaluation)
    if analysis.forecasts is not None:
        expected = expected_of(analysis.forecasts)
        found.append(f"{expected[0].upper()}{expected[1:]}.")
    return found


def outcome_findings(history: History, outcomes: Outcomes) -> list[str]:
    """How many runs converged and what became of the others, and between which settings the share ranges."""
    num_runs, num_converged = len(history.runs), outcomes.count("converged")
    is_running_R = np.array([end.reason == "running" for end in history.ends], bool)
    num_running = int((is_running_R & outcomes.is_kind_R("censored")).sum())
    counts = {kind: outcomes.count(kind) for kind in OUTCOME_KINDS[1:]}
    counts["censored"] -= num_running
    others = [f"{count:,} {kind}" for kind, count in counts.items() if count]
    others += [f"{num_running:,} not ended"] if num_running else []
    rest = f" ({', '.join(others)})" if others else ""
    found = [f"{num_converged:,} of {counted(num_runs, 'run')} converged{rest}."]
    return found if outcomes.count("censored") else found + _range_of_settings(history, outcomes)


def _range_of_settings(history: History, outcomes: Outcomes) -> list[str]:
    labels, is_converged_R = setting_labels(history), outcomes.is_kind_R("converged")
    share = {
        labels[setting]: float(is_converged_R[own_R].mean()) for setting, own_R in runs_by_setting(history).items()
    }
    if len(share) < 2 or max(share.values()) - min(share.values()) < 0.005:
        return []
    worst, best = min(share, key=lambda label: share[label]), max(share, key=lambda label: share[label])
    return [f"By setting the share ranges from {share[worst]:.0%} ({worst}) to {share[best]:.0%} ({best})."]


def _forecast_finding(evaluation: Evaluation) -> list[str]:
    told = [w for w in evaluation.windows if PRIMARY in w.scores and w.pairs_within >= FEWEST_PAIRS]
    told = [w for w in told if np.isfinite(w.scores[PRIMARY].auroc_within.value)]
    if not told:
        return []
    window = min(told, key=lambda w: abs(w.fraction - _TOLD))
    scores = window.scores
    first = (
        f"{_when(window)} a forecast orders {ordered(scores[PRIMARY].auroc_within.value)} of seeds of one setting right"
    )
    figures = f"AUROC {_with_interval(scores[PRIMARY].auroc_within)}, n = {window.num_scored:,}"
    if LOSS_BASELINE in scores and np.isfinite(scores[LOSS_BASELINE].auroc_within.value):
        figures += f"; the last loss alone: {_with_interval(scores[LOSS_BASELINE].auroc_within)}"
    return [f"{first} ({figures}{describe_cost(window.extra_compute)})."]


def _with_interval(estimate: Estimate) -> str:
    if not np.isfinite(estimate.low):
        return short(estimate.value)
    return f"{short(estimate.value)}, 95% {short(estimate.low)} to {short(estimate.high)}"


def _when(window: WindowEvaluation) -> str:
    told = _SHARES.get(round(window.fraction, 9), f"At {window.fraction:.3g}")
    return told if window.fraction == 0 else f"{told} of training"


def ordered(auroc: float) -> str:
    """An AUROC as a number of pairs in a hundred; all of them only where it is exactly 1.

    >>> ordered(0.5), ordered(0.864), ordered(0.996), ordered(1.0)
    ('about 50 of 100 pairs', 'about 86 of 100 pairs', 'more than 99 of 100 pairs', 'all pairs')
    """
    if auroc == 1:
        return "all pairs"
    rounded = f"{100 * auroc:.0f}"
    return "more than 99 of 100 pairs" if rounded == "100" else f"about {rounded} of 100 pairs"
