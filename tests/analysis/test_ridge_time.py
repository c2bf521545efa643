"""Ridge regression on log time and the distribution made of it: closed forms, planted truth, coverage, no effect."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize

from analysis.forecasting.scoring.calibration_line import calibration_line
from analysis.forecasting.scoring.scores import auroc, expected_calibration_error
from analysis.predictors.base import Cases, Targets
from analysis.predictors.convergence_times import ConvergenceTimes
from analysis.predictors.features import Features
from analysis.predictors.ridge import PENALTIES, Ridge
from analysis.predictors.ridge_time import RidgeTime
from analysis.predictors.shares import MAX_THRESHOLDS
from analysis.predictors.time_distribution import TimeDistribution, platt

BUDGET = 1000
GRID = 25


def sample(num_runs, signal, seed, num_columns=30):
    """Cases and targets: log time is a sum of ten of the columns and noise, seen every 25 steps; about half converge.

    Noise is wider for early runs, so one slope does not fit all steps.
    """
    rng = np.random.default_rng(seed)
    values_RF = rng.normal(size=(num_runs, num_columns))
    mean_R = signal * values_RF[:, :10].sum(axis=1) / np.sqrt(10)
    time_R = BUDGET * np.exp(mean_R + np.exp(-0.5 * np.tanh(mean_R)) * 0.4 * rng.logistic(size=num_runs))
    upper_R = np.ceil(time_R / GRID) * GRID
    converged_R = upper_R <= BUDGET
    kind_R = np.where(converged_R, "converged", "unconverged")
    lower_R = np.where(converged_R, upper_R - GRID, BUDGET)
    targets = Targets(kind_R, lower_R, np.minimum(upper_R, BUDGET), BUDGET)
    names = tuple(f"c{f}" for f in range(num_columns))
    nothing = Features((), np.empty((num_runs, 0)))
    setting_R = np.full(num_runs, "s")
    return Cases(setting_R, np.arange(num_runs), nothing, Features(names, values_RF)), targets


def one_weight(number):
    return np.ones((1, number))


@pytest.fixture(scope="module")
def learned():
    """A model of 3,000 runs, and its forecasts of 4,000 others with their targets."""
    model = RidgeTime().fit(*sample(3000, 1.0, seed=0))
    cases, targets = sample(4000, 1.0, seed=1)
    return model, model.forecast(cases), targets


def test_the_probability_to_converge_is_calibrated_on_runs_that_were_not_learned_from(learned):
    _, forecast, targets = learned
    group_R = np.zeros(len(targets), dtype=np.int64)
    slope, intercept = calibration_line(forecast.converged_R, targets.converged_R, group_R, one_weight(len(targets)))
    error = expected_calibration_error(forecast.converged_R, targets.converged_R, one_weight(len(targets)))
    assert abs(slope[0] - 1) < 0.12
    assert abs(intercept[0]) < 0.12
    assert error[0] < 0.04


def test_the_probability_of_every_step_is_calibrated_not_that_of_the_budget_alone(learned):
    _, forecast, targets = learned
    time_R = np.where(targets.converged_R, targets.upper_R, np.inf)
    for k in range(1, len(forecast.times.steps_K)):
        share = np.mean(time_R <= forecast.times.steps_K[k])
        assert abs(forecast.times.by_RK[:, k].mean() - share) < 0.035


def test_times_are_ranked_as_well_as_outcomes(learned):
    _, forecast, targets = learned
    late_R = targets.converged_R & (targets.upper_R > np.median(targets.upper_R[targets.converged_R]))
    early_R = targets.converged_R & ~late_R
    use_R = targets.converged_R
    score = auroc(
        forecast.times.by_RK[use_R].mean(axis=1), early_R[use_R], np.zeros(use_R.sum(), int), one_weight(use_R.sum())
    )
    assert score[0] > 0.65


def test_probability_median_and_interval_are_read_from_one_distribution(learned):
    model, forecast, _ = learned
    low_R, median_R, high_R = forecast.interval_R3.T
    levels = model.distribution.levels
    assert np.array_equal(np.isfinite(median_R), forecast.converged_R >= 0.5)
    assert np.all((low_R <= median_R) & (median_R <= high_R))
    inside_R = np.isfinite(low_R) & (low_R > forecast.times.start)
    level_R = np.where(np.isfinite(high_R), levels.low, levels.low_alone)
    np.testing.assert_allclose(forecast.times.by(low_R)[inside_R], level_R[inside_R], atol=1e-9)
    assert np.all(low_R[~np.isfinite(low_R)] > BUDGET)


def test_ninety_percent_intervals_cover_nine_runs_in_ten_and_low_ends_not_by_the_safe_ones_alone(learned):
    _, forecast, targets = learned
    low_R, _, high_R = forecast.interval_R3.T
    time_R = np.where(targets.converged_R, targets.upper_R, np.inf)
    covers_R = (np.minimum(time_R, BUDGET) >= np.minimum(low_R, BUDGET)) & (np.minimum(time_R, BUDGET) <= high_R)
    assert 0.88 <= covers_R.mean() <= 0.94
    says_R = np.isfinite(low_R)
    assert 0.87 <= covers_R[says_R].mean() <= 0.93
    assert np.median(low_R[says_R]) > 1.2 * np.quantile(time_R, 0.1)


def test_conditioned_on_not_having_converged_the_distribution_is_that_of_the_runs_left(learned):
    model, _, targets = learned
    cases, _ = sample(4000, 1.0, seed=1)
    step = model.distribution.steps_K[6]
    left_R = ~targets.converged_R | (targets.upper_R > step)
    standing_R = np.full(left_R.sum(), step)
    forecast = model.forecast(cases.rows(left_R), standing_R)
    assert abs(forecast.converged_R.mean() - targets.converged_R[left_R].mean()) < 0.03
    assert forecast.times.by(standing_R).max() < 1e-9


def test_without_an_effect_forecasts_are_all_but_constant_and_rank_nothing():
    cases, targets = sample(2000, 0.0, seed=3)
    rest, truth = sample(2000, 0.0, seed=4)
    forecast = RidgeTime().fit(cases, targets).forecast(rest)
    assert np.ptp(forecast.converged_R) < 0.15
    score = auroc(forecast.converged_R, truth.converged_R, np.zeros(2000, int), one_weight(2000))
    assert abs(score[0] - 0.5) < 0.05


def test_ridge_is_the_closed_form_at_the_penalty_of_least_held_out_error():
    rng = np.random.default_rng(0)
    values_RF = rng.normal(size=(60, 5))
    value_R = values_RF @ [1.0, 0.5, 0.0, 0.0, -1.0] + 3 + rng.normal(size=60)
    weight_R = rng.integers(1, 4, size=60).astype(float)
    features = Features(tuple("abcde"), values_RF)
    ridge, held_out_R = Ridge.fit(features, value_R, weight_R, np.arange(60) // 3)
    scaled_RF = ridge.scaled_RF(features)

    def by_hand(use_R, penalty):
        design_RF = np.column_stack([np.ones(use_R.sum()), scaled_RF[use_R]])
        curvature_FF = (design_RF.T * weight_R[use_R]) @ design_RF + penalty * np.diag([0.0, 1, 1, 1, 1, 1])
        return np.linalg.solve(curvature_FF, (design_RF.T * weight_R[use_R]) @ value_R[use_R])

    fold_R = (np.arange(60) // 3) % 10
    expected_PR = np.empty((len(PENALTIES), 60))
    for p, penalty in enumerate(PENALTIES):
        for fold in range(10):
            line = by_hand(fold_R != fold, penalty)
            expected_PR[p, fold_R == fold] = line[0] + scaled_RF[fold_R == fold] @ line[1:]
    best = int(np.argmin((expected_PR - value_R) ** 2 @ weight_R))
    np.testing.assert_allclose(held_out_R, expected_PR[best], atol=1e-8)
    line = by_hand(np.ones(60, bool), PENALTIES[best])
    np.testing.assert_allclose([ridge.intercept, *ridge.weight_F], line, atol=1e-8)


def test_platt_scaling_is_the_likelihood_of_its_targets_and_finite_where_scores_separate():
    rng = np.random.default_rng(1)
    score_R = rng.normal(size=80) + 5
    positive_R = rng.random(80) < 1 / (1 + np.exp(-2 * (score_R - 5)))
    weight_R = rng.integers(1, 4, size=80).astype(float)
    positives, negatives = weight_R[positive_R].sum(), weight_R[~positive_R].sum()
    target_R = np.where(positive_R, (positives + 1) / (positives + 2), 1 / (negatives + 2))

    def loss(line):
        logit_R = line[0] + line[1] * (score_R - 5)
        return weight_R @ (np.logaddexp(0, logit_R) - target_R * logit_R)

    expected = minimize(loss, [0.0, 0.0], tol=1e-12).x
    intercept, slope = platt(score_R, positive_R, weight_R)
    np.testing.assert_allclose([intercept + 5 * slope, slope], expected, atol=1e-4)
    assert np.all(np.isfinite(platt(score_R, score_R > 5, weight_R)))
    assert platt(score_R, score_R < 5, weight_R)[1] == 0


def test_quantiles_undo_probabilities_and_are_infinite_beyond_them():
    times = ConvergenceTimes(100.0, np.array([200.0, 400.0]), np.array([[0.2, 0.6], [0.0, 0.1]]))
    assert times.quantile_R(0.2).tolist() == pytest.approx([200.0, np.inf])
    assert times.quantile_R(0.4)[0] == pytest.approx(np.sqrt(200 * 400))
    assert times.by(np.array([np.sqrt(200 * 400), 1e9])).tolist() == pytest.approx([0.4, 0.1])
    assert times.by(np.array([50.0, 100.0])).tolist() == [0, 0]
    steps_G = np.array([50.0, 100.0, 150.0, 200.0, 300.0, 400.0, 1e9])
    by_one = np.stack([times.by(np.full(2, step)) for step in steps_G], axis=1)
    np.testing.assert_array_equal(times.by_each(steps_G), by_one)
    later = times.given_not_by(np.array([200.0, 0.0]))
    assert later.by_RK.tolist() == [pytest.approx([0.0, 0.5]), pytest.approx([0.0, 0.1])]


def test_many_steps_are_merged_and_the_last_is_kept():
    _, targets = sample(3000, 1.0, seed=5)
    found = TimeDistribution.fit(np.zeros(3000), targets, np.ones(3000))
    assert len(found.steps_K) <= MAX_THRESHOLDS < BUDGET / GRID
    assert found.steps_K[-1] == targets.upper_R[targets.converged_R].max()
    np.testing.assert_allclose(found.times(np.zeros(1)).by_RK[0, -1], targets.converged_R.mean(), atol=1e-3)
