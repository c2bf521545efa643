"""Learning curves in the number of training runs: disjoint sets, the same test runs, a planted effect."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.benchmark.halves import RANKING, benchmark_rows, evaluate_halves
from analysis.benchmark.learning_curve import MAX_SETS, learning_curve, training_sets
from analysis.outcomes.outcomes import DEFAULT_CRITERION
from analysis.predictors.base import PREDICTORS
from tests.analysis.test_benchmark_halves import TEST, TRAIN

RIDGE = {"ridge_time": PREDICTORS["ridge_time"]()}


def test_training_sets_of_a_size_are_disjoint_and_as_many_as_fit():
    for size, expected in ((5, MAX_SETS), (30, 3), (100, 1)):
        sets = training_sets(100, size, seed=0)
        assert len(sets) == expected
        assert [int(chosen_R.sum()) for chosen_R in sets] == [size] * expected
        assert np.sum(sets, axis=0).max() == 1
    assert not np.array_equal(training_sets(100, 30, seed=0), training_sets(100, 30, seed=1))
    with pytest.raises(ValueError, match="training sets of 101 runs out of 100"):
        training_sets(100, 101, seed=0)


def curve(sizes, predictors=RIDGE):
    return list(learning_curve(TRAIN, TEST, DEFAULT_CRITERION, predictors, sizes, windows=(0.25,), bootstrap=50))


def test_after_all_training_runs_the_score_is_that_of_the_benchmark():
    (point,) = curve((len(TRAIN.runs),))
    evaluation = evaluate_halves(TRAIN, TEST, DEFAULT_CRITERION, RIDGE, bootstrap=50)
    rows = {(row.row, row.window): row for row in benchmark_rows("planted", evaluation, {})}
    assert point.estimate.value == pytest.approx(rows[RANKING, 0.25].estimate.value, abs=1e-12)
    assert point.num_runs == rows[RANKING, 0.25].num_runs
    assert np.isnan(point.between_sets)


def test_more_runs_forecast_better_and_variation_between_sets_widens_the_interval():
    few, many = curve((8, 24))
    assert (few.num_train, few.num_sets, many.num_sets) == (8, 6, 2)
    assert few.estimate.value < many.estimate.value
    variance = ((few.estimate.high - few.estimate.low) / 2 / 1.959964) ** 2
    assert variance > few.between_sets**2 / few.num_sets
    assert few.to_json()["num_train"] == 8


def test_every_predictor_has_a_point_at_every_size():
    both = {name: PREDICTORS[name]() for name in ("ridge_time", "setting_rate")}
    points = curve((12, 48), both)
    assert [(point.predictor, point.num_train) for point in points] == [(n, s) for s in (12, 48) for n in both]
    assert {point.estimate.value for point in points if point.predictor == "setting_rate"} == {0.5}
