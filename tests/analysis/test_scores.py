"""Scores against closed forms and scikit-learn."""

from __future__ import annotations

import numpy as np
from sklearn.metrics import roc_auc_score

from analysis.forecasting.scoring.calibration_line import calibration_line
from analysis.forecasting.scoring.scores import (
    auroc,
    brier,
    brier_skill,
    equal_mass_bins,
    expected_calibration_error,
    num_pairs,
)

RNG = np.random.default_rng(0)
P, Y = RNG.random(300).round(2), RNG.random(300) < 0.4
ONE_GROUP, ONES = np.zeros(300, dtype=int), np.ones((1, 300))


def test_auroc_of_one_group_is_that_of_scikit_learn_ties_included():
    np.testing.assert_allclose(auroc(P, Y, ONE_GROUP, ONES)[0], roc_auc_score(Y, P), atol=1e-12)


def test_weights_count_runs_as_often_as_drawn():
    drawn = RNG.integers(0, 300, 300)
    weights = np.bincount(drawn, minlength=300)[None].astype(float)
    np.testing.assert_allclose(auroc(P, Y, ONE_GROUP, weights)[0], roc_auc_score(Y[drawn], P[drawn]), atol=1e-12)
    np.testing.assert_allclose(brier(P, Y, weights)[0], np.mean((P - Y)[drawn] ** 2), atol=1e-12)


def test_groups_are_weighted_by_their_number_of_pairs_and_never_compared():
    p, y, group = np.array([0.9, 0.1, 0.2, 0.3, 0.1]), np.array([1, 0, 1, 0, 0], bool), np.array([0, 0, 1, 1, 1])
    assert num_pairs(y, group) == 3
    np.testing.assert_allclose(auroc(p, y, group, np.ones((1, 5))), [2 / 3])


def test_forecasts_that_differ_by_rounding_alone_are_ties():
    p = 0.3 + np.arange(300) * 1e-16
    assert auroc(p, Y, ONE_GROUP, ONES)[0] == 0.5


def test_figures_of_nothing_or_of_one_class_are_undefined():
    none = np.zeros(0)
    for score in (
        auroc(none, none.astype(bool), none.astype(int), np.ones((1, 0))),
        brier(none, none.astype(bool), np.ones((1, 0))),
        expected_calibration_error(none, none.astype(bool), np.ones((1, 0))),
        auroc(P, np.ones(300, bool), ONE_GROUP, ONES),
        calibration_line(P, np.ones(300, bool), ONE_GROUP, ONES)[0],
        calibration_line(np.full(300, 0.4), Y, ONE_GROUP, ONES)[0],
        brier_skill(np.array([0.1]), np.array([0.0])),
    ):
        assert np.all(np.isnan(score))


def test_a_perfect_forecaster_has_slope_one_intercept_zero_and_little_error():
    p = RNG.random(20_000)
    y = RNG.random(20_000) < p
    slope, intercept = calibration_line(p, y, np.zeros(20_000, int), np.ones((1, 20_000)))
    assert abs(slope[0] - 1) < 0.06
    assert abs(intercept[0]) < 0.06
    assert expected_calibration_error(p, y, np.ones((1, 20_000)))[0] < 0.015


def test_overconfidence_is_a_slope_below_one():
    logit = RNG.normal(size=20_000)
    y = RNG.random(20_000) < 1 / (1 + np.exp(-logit))
    slope, _ = calibration_line(1 / (1 + np.exp(-2 * logit)), y, np.zeros(20_000, int), np.ones((1, 20_000)))
    assert abs(slope[0] - 0.5) < 0.03


def test_separable_forecasts_have_no_slope():
    y = np.arange(40) >= 20
    assert np.isnan(calibration_line(np.linspace(0.1, 0.9, 40), y, np.zeros(40, int), np.ones((1, 40)))[0][0])


def test_bins_have_equal_mass_and_equal_forecasts_share_one():
    assert np.bincount(equal_mass_bins(RNG.random(100), 10)).tolist() == [10] * 10
    assert np.unique(equal_mass_bins(np.full(50, 0.3), 10)).size == 1


def test_calibration_error_follows_the_hand_calculation():
    p, y = np.array([0.1, 0.1, 0.8, 0.8]), np.array([0, 1, 1, 1], bool)
    np.testing.assert_allclose(expected_calibration_error(p, y, np.ones((1, 4)), bins=2), [(0.8 + 0.4) / 4])
