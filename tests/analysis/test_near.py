"""What a summary says where no run converged, and where forecasts have no scores."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from analysis.outcomes.outcomes import decide_outcomes
from analysis.summary.analyse import analyse
from analysis.summary.near import describe_unmet, describe_unscored
from pipeline.spec.criterion import Criterion
from tests.analysis.synthetic import synthetic_history

HISTORY = synthetic_history(2, 8)
STRICT = Criterion("label_excess", at_most=-1.0, evaluations=1)


def test_where_no_run_converged_the_last_values_of_the_median_run_and_the_best_are_told():
    excess_RT = np.full(HISTORY.values["label_excess"].shape, np.nan)
    excess_RT[:, -3], excess_RT[:, -2] = 9.0, np.arange(len(excess_RT))
    excess_RT[0, -2] = np.nan  # The run whose last value is an earlier one.
    history = replace(HISTORY, values={**HISTORY.values, "label_excess": excess_RT})
    told = describe_unmet(history, decide_outcomes(history, STRICT))
    assert told.endswith("Last it was 8.5 in the median run and 1 in the best.")
    assert str(STRICT) in told
    least = Criterion("label_excess", at_least=99.0, evaluations=1)
    assert describe_unmet(history, decide_outcomes(history, least)).endswith("15 in the best.")


def test_a_threshold_that_was_met_at_too_few_evaluations_is_told():
    excess_RT = np.full(HISTORY.values["label_excess"].shape, 9.0)
    excess_RT[:, -1] = -2.0
    history = replace(HISTORY, values={**HISTORY.values, "label_excess": excess_RT})
    outcomes = decide_outcomes(history, replace(STRICT, evaluations=2))
    assert describe_unmet(history, outcomes).endswith(
        "-2 in the best, which has to be so at 2 evaluations in succession."
    )


def test_where_a_run_converged_or_none_was_evaluated_nothing_is_told():
    assert describe_unmet(HISTORY, decide_outcomes(HISTORY)) == ""
    nothing = {**HISTORY.values, "label_excess": np.full(HISTORY.values["label_excess"].shape, np.nan)}
    history = replace(HISTORY, values=nothing)
    assert describe_unmet(history, decide_outcomes(history, STRICT)) == ""


def test_runs_that_all_come_out_alike_leave_nothing_to_rank_and_the_summary_says_so():
    analysis = analyse(HISTORY, STRICT, bootstrap=5)
    text = " ".join(analysis.summary(with_scores=True).split())
    assert "No scores of the predictors" in text
    assert "setting_rate" not in text
    # A table of the windows alone that have something to tell apart.
    first, *others = analysis.evaluation.windows
    evaluation = replace(analysis.evaluation, windows=(first, *(replace(window, num_converged=1) for window in others)))
    lines = replace(analysis, evaluation=evaluation).summary(with_scores=True).splitlines()
    assert sum(line.startswith("  setting_rate") for line in lines) == len(others) > 0
    assert "n/a: AUROC compares runs of one setting of which one converges" in text
    assert "No run has converged, to label_excess <= -1" in text


@pytest.mark.parametrize(
    ("pairs_W", "told"),
    [([0, 40], "none are left there"), ([40, 5], "fewer than 20 such pairs"), ([20, 40], ""), ([], "")],
)
def test_windows_without_pairs_are_told_before_those_with_too_few_for_an_interval(pairs_W, told):
    windows = [SimpleNamespace(problem="", pairs_within=pairs) for pairs in pairs_W]
    windows.append(SimpleNamespace(problem="nothing is scored", pairs_within=0))
    found = describe_unscored(SimpleNamespace(windows=windows))
    assert told in found
    assert bool(told) == bool(found)
