"""Baselines: planted effects are found, and Cox regression and concordance agree with scikit-survival's."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.forecasting.evaluation import evaluate
from analysis.forecasting.scoring.scores import auroc
from analysis.forecasting.scoring.seen_times import SeenTimes
from analysis.forecasting.scoring.time_scores import concordance, integrated_brier
from analysis.outcomes.outcomes import decide_outcomes
from analysis.predictors.base import PREDICTORS
from analysis.predictors.cox import Events
from analysis.predictors.features import Features
from tests.analysis.synthetic import synthetic_history
from tests.analysis.test_censored_scores import STEPS, censored, seen, simulated
from tests.analysis.test_ridge_time import one_weight, sample

SLOW = ("boosted_hyperparameters", "boosted_trees", "cox", "discrete_hazard")


def forecast_of(name, train, test):
    return PREDICTORS[name]().fit(*train).forecast(test[0])


def area(forecast, targets):
    groups = np.zeros(len(targets), dtype=np.int64)
    return auroc(forecast.converged_R, targets.converged_R, groups, one_weight(len(targets)))[0]


@pytest.mark.parametrize("name", ["boosted_trees", "cox", "discrete_hazard", "logistic"])
def test_a_baseline_finds_a_planted_effect_of_many_columns(name):
    test = sample(1000, 1.0, seed=1)
    assert area(forecast_of(name, sample(500, 1.0, seed=0), test), test[1]) > 0.7


@pytest.mark.parametrize("name", ["cox", "discrete_hazard"])
def test_a_baseline_forecasts_the_share_that_has_converged_by_each_step(name):
    test = sample(2000, 1.0, seed=1)
    times = forecast_of(name, sample(1000, 1.0, seed=0), test).times
    for step in (250.0, 500.0, 1000.0):
        seen = np.mean(test[1].converged_R & (test[1].upper_R <= step))
        assert times.by(np.full(len(test[1]), step)).mean() == pytest.approx(seen, abs=0.05)


def test_the_best_statistic_is_the_one_that_goes_with_the_time():
    (cases, targets), test = sample(600, 1.0, seed=2), sample(1000, 1.0, seed=3)
    for some in (cases, test[0]):
        some.statistics.values_RF[:, 20] += 3 * some.statistics.values_RF[:, :10].mean(axis=1)
    fitted = PREDICTORS["best_statistic"]().fit(cases, targets)
    assert fitted.means.names_F == ("c20",)
    assert area(fitted.forecast(test[0]), test[1]) > 0.6


def test_what_separates_settings_alone_is_not_the_best_statistic():
    cases, targets = sample(600, 0.5, seed=4)
    cases.setting_R[:] = np.where(targets.converged_R, "good", "bad")
    cases.statistics.values_RF[:, 25] = np.where(targets.converged_R, 1.0, -1.0)
    cases.setting_R[::3] = "bad"
    cases.statistics.values_RF[::3, 25] = -1.0
    assert PREDICTORS["best_statistic"]().fit(cases, targets).means.names_F != ("c25",)


def test_readings_are_not_among_the_columns_of_the_logistic_baseline():
    cases, targets = sample(200, 1.0, seed=0)
    some = frozenset(f"c{f}" for f in range(10))
    cases = type(cases)(cases.setting_R, cases.init_seed_R, cases.hyperparameters, cases.statistics, some)
    assert PREDICTORS["logistic"]().fit(cases, targets).logit.names_F == tuple(f"c{f}" for f in range(10, 30))
    assert cases.rows(cases.init_seed_R < 50).readings == some


def test_trees_on_hyperparameters_know_the_setting_and_nothing_of_the_seed():
    cases, targets = sample(600, 1.0, seed=0)
    rate_R = (np.arange(600) % 5).astype(float)
    targets.kind_R[rate_R == 4] = "unconverged"
    known = type(cases)(cases.setting_R, cases.init_seed_R, Features(("rate",), rate_R[:, None]), cases.statistics)
    probability_R = PREDICTORS["boosted_hyperparameters"]().fit(known, targets).forecast(known).converged_R
    assert len(np.unique(probability_R)) <= 5
    assert probability_R[4] < 0.05 < probability_R[0]


def test_slow_baselines_are_left_out_of_an_analysis_that_does_not_name_them():
    history = synthetic_history(2, 8, seed=0)
    outcomes = decide_outcomes(history)
    fitted = evaluate(history, outcomes, (0.1,), bootstrap=0).predictors
    assert set(fitted) == set(PREDICTORS) - set(SLOW)
    assert evaluate(history, outcomes, (0.1,), {"cox": PREDICTORS["cox"]()}, bootstrap=0).predictors == ("cox",)


def cox_sample():
    cases, targets = sample(60, 1.0, seed=5, num_columns=12)
    return cases.statistics.values_RF[:, :3], targets


@pytest.mark.parametrize(
    ("penalty", "expected"),
    [(5.0, [-0.309162, -0.265306, -0.466322]), (0.0, [-0.386400, -0.314016, -0.652317])],
)
def test_weights_of_a_cox_regression_are_those_of_scikit_survival(penalty, expected):
    """CoxPHSurvivalAnalysis(alpha=penalty, ties="breslow") of scikit-survival 0.28 on the same 60 runs."""
    values_RF, targets = cox_sample()
    weight_F = Events.of(values_RF, targets, np.ones(60)).fitted(penalty)
    np.testing.assert_allclose(weight_F, expected, atol=1e-6)


def test_a_run_that_diverged_stays_at_risk_of_converging_to_the_budget():
    values_RF, targets = cox_sample()
    expected = Events.of(values_RF, targets, np.ones(60)).fitted(1.0)
    early_R = ~targets.converged_R
    targets.kind_R[early_R] = "diverged"
    targets.upper_R[early_R] = 25.0
    np.testing.assert_array_equal(Events.of(values_RF, targets, np.ones(60)).fitted(1.0), expected)


def test_the_hazard_without_columns_is_nelson_and_aalen_s():
    _, targets = cox_sample()
    events = Events.of(np.empty((60, 0)), targets, np.ones(60))
    converged_R = targets.converged_R
    steps = targets.upper_R[converged_R]
    shares = np.array([1 / np.sum(~converged_R | (targets.upper_R >= step)) for step in steps])
    ends_K = np.array([200.0, 600.0, 1000.0])
    expected_K = [shares[steps <= end].sum() for end in ends_K]
    np.testing.assert_allclose(events.hazard_K(np.zeros(0), ends_K), expected_K)


def test_scores_of_censored_times_are_those_of_scikit_survival():
    """concordance_index_ipcw and integrated_brier_score of scikit-survival 0.28 on the same 357 runs, 212 censored."""
    rng = np.random.default_rng(0)
    by_RG, kind_R, time_R = simulated(rng, 400)
    alive_R = kind_R != "diverged"
    by_RG, (kind_R, time_R) = by_RG[alive_R], censored(rng, kind_R[alive_R], time_R[alive_R])
    # The two break ties of events and censorings in other ways, so there are none.
    outcomes, risk = seen(kind_R, np.where(kind_R == "censored", time_R + 1, time_R))
    times = SeenTimes.of(outcomes, risk, np.arange(len(kind_R)))
    one, group_R = one_weight(len(kind_R)), np.zeros(len(kind_R), dtype=np.int64)
    assert concordance(by_RG[:, -1], times, group_R, one, False)[0] == pytest.approx(0.794851, abs=1e-6)
    inside = slice(2, -1)
    assert integrated_brier(by_RG[:, inside], times, STEPS[inside], one)[0] == pytest.approx(0.117198, abs=1e-6)
