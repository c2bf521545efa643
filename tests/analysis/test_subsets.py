"""Parts of a history: fewer runs, a smaller budget, sparser evaluations; each equal to a history recorded that way."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.outcomes.outcomes import CENSORED, CONVERGED, UNCONVERGED, decide_outcomes
from analysis.outcomes.subsets import evaluated_every, some_runs, within
from pipeline.spec.criterion import Criterion
from tests.analysis.synthetic import drop_runs, synthetic_history, tiny_history

NAN = np.nan


def test_some_runs_keep_all_of_theirs():
    history = synthetic_history(2, 6)
    keep = np.arange(12) % 3 == 0
    found, expected = some_runs(history, keep), drop_runs(history, keep)
    assert (found.runs, found.ends) == (expected.runs, expected.ends)
    for metric, values in expected.values.items():
        np.testing.assert_array_equal(found.values[metric], values)
    assert some_runs(history, np.zeros(12, dtype=bool)).runs == ()


def test_a_smaller_budget_judges_as_if_nothing_had_come_after():
    rows = [
        [1, 1, 0, 0, 0, 0],  # converged by the smaller budget
        [1, 1, 1, 0, 0, 0],  # streak complete only after it
        [1, 1, 1, 1, 0, 0],
        [1, 0, 0, NAN, NAN, NAN],  # stopped after convergence
        [1, 1, NAN, NAN, NAN, NAN],  # diverged before it
        [1, 1, 1, 1, NAN, NAN],  # diverged after it
        [1, 1, NAN, NAN, NAN, NAN],  # still runs, and is not there yet
    ]
    ends = [("budget", 250)] * 3 + [("converged", 100), ("diverged", 60), ("diverged", 170), ("running", 50)]
    history = tiny_history(rows, ends)
    kinds = decide_outcomes(within(history, 150)).kind_R.tolist()
    assert kinds == [CONVERGED, UNCONVERGED, UNCONVERGED, CONVERGED, "diverged", UNCONVERGED, CENSORED]
    assert within(history, 150).budget == 150
    assert within(history, 150).steps_T.tolist() == [0, 50, 100, 150]
    assert decide_outcomes(within(history, 250)).kind_R.tolist() == decide_outcomes(history).kind_R.tolist()
    with pytest.raises(ValueError, match="budget of 250 steps, asked for 300"):
        within(history, 300)


def test_a_fork_that_begins_after_the_smaller_budget_is_unknown():
    history = tiny_history([[NAN, NAN, NAN, 1, 0, 0]], [("budget", 250)])
    assert decide_outcomes(within(history, 100), Criterion(at_most=0.02)).kind_R.tolist() == [CENSORED]


def test_sparser_evaluations_leave_everything_else():
    history = tiny_history([[1, 0, 0, 1, 0, 0, 0]], [("budget", 300)], probe_loss=[[3, 2, 1, 1, 1, 1, 1]])
    sparse = evaluated_every(history, 100)
    np.testing.assert_array_equal(sparse.values["label_excess"], [[1, NAN, 0, NAN, 0, NAN, 0]])
    np.testing.assert_array_equal(sparse.values["probe_loss"], history.values["probe_loss"])
    assert decide_outcomes(history).upper_R.tolist() == [50]
    assert decide_outcomes(sparse).upper_R.tolist() == [100]
