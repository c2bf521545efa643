"""How often the interval of an expected number holds the true one, counted on subsets of a finished sweep."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.contracts.synthetic import synthetic_history
from analysis.outcomes.outcomes import CONVERGED, decide_outcomes
from analysis.outcomes.subsets import chosen_runs
from benchmarks.bench import read
from benchmarks.forecasts import expected_counts
from benchmarks.forecasts.expected_counts import (
    KEPT,
    MARKERS,
    PAGE,
    counted_rows,
    cut_at,
    dealt,
    intervals_hold,
    lines,
)
from pipeline.spec.criterion import Criterion

CRITERION = Criterion("label_excess", at_most=0.1, evaluations=2)


def test_runs_in_training_have_nothing_after_the_step_they_stand_at():
    history = synthetic_history(1, 6, diverge_share=0.0)
    cut = cut_at(history, 2, 1000)
    assert [end.reason for end in cut.ends] == [end.reason for end in history.ends[:2]] + ["running"] * 4
    for name, values_RT in cut.values.items():
        assert np.isnan(values_RT[2:, history.steps_T > 1000]).all()
        np.testing.assert_array_equal(values_RT[:2], history.values[name][:2])
        seen_T = history.steps_T <= 1000
        np.testing.assert_array_equal(values_RT[2:, seen_T], history.values[name][2:, seen_T])


def test_subsets_share_no_run():
    subsets = dealt(103, 20)
    assert [len(subset) for subset in subsets] == [20] * 5
    assert len(np.unique(np.concatenate(subsets))) == 100


@pytest.mark.slow
def test_an_interval_holds_the_number_of_runs_like_those_learned_from_and_not_of_others():
    history = synthetic_history(1, 300, signal=0.0, diverge_share=0.0)
    outcomes = decide_outcomes(history, CRITERION)
    converged, others = (np.flatnonzero(outcomes.is_kind_R(CONVERGED) == is_kind) for is_kind in (True, False))
    alike, unlike = [*converged[30:60], *others[30:60]], [*converged[30:90]]
    for asked, expected in ((alike, True), (unlike, False)):
        rows = np.array([*converged[:30], *others[:30], *asked])
        found = intervals_hold(chosen_runs(history, rows), outcomes.rows(rows), CRITERION, 60, 0.1)
        assert found == (expected, expected)


def test_every_subset_and_window_is_counted_once(monkeypatch):
    history = synthetic_history(1, 130, diverge_share=0.0)
    answers = iter([(True, False), (True, True), *[(False, False)] * 4])
    monkeypatch.setattr(expected_counts, "intervals_hold", lambda *given: next(answers))
    rows = list(counted_rows(history, CRITERION, designs=((60, 5), (60, 60)), windows=(0.1, 0.25)))
    assert [tuple(row.values()) for row in rows] == [
        (60, 5, 0.1, 2, 2, 1),
        (60, 5, 0.25, 2, 0, 0),
        (60, 60, 0.1, 1, 0, 0),
        (60, 60, 0.25, 1, 0, 0),
    ]
    assert lines(rows)[-1] == "Together 2 of 6. With the probabilities taken as exact, 1 would have."


def test_the_table_is_that_of_the_kept_counts():
    rows = read(KEPT)
    text = PAGE.read_text(encoding="utf-8")
    assert "\n".join(lines(rows)) in text
    assert text.count(MARKERS[0]) == text.count(MARKERS[1]) == 1
