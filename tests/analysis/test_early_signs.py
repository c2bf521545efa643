"""Early signs: planted correlations and siblings are found, and no effect in null data."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.dynamics.early_signs import proportion_by_statistic, sibling_auroc, time_correlation
from analysis.outcomes.outcomes import DEFAULT_CRITERION, Outcomes
from analysis.uncertainty.intervals import wilson
from pipeline.store.history import RunInfo

NAN = np.nan


def outcomes_of(time_R, budget=1000.0, kinds=None):
    kinds = np.where(time_R <= budget, "converged", "unconverged") if kinds is None else kinds
    time_R = np.minimum(time_R, budget)
    return Outcomes(DEFAULT_CRITERION, np.array(kinds, dtype="<U11"), time_R, time_R)


def runs_of(count):
    return [RunInfo(f"r{r}", "s", r, r, {}) for r in range(count)]


def test_the_correlation_is_spearmans_and_late_runs_tie_as_the_latest():
    time = np.array([100.0, 200, 300, 400, 5000, 6000])
    found = time_correlation(np.array([1.0, 2, 3, 4, 5, 5]), outcomes_of(time), runs_of(6), 0)
    assert (found.rho.value, found.num_runs) == (pytest.approx(1), 6)
    swapped = time_correlation(-np.array([1.0, 2, 3, 4, 5, 5]), outcomes_of(time), runs_of(6), 0)
    assert swapped.rho.value == pytest.approx(-1)


def test_only_runs_at_risk_with_a_value_count_and_unknown_times_give_nothing():
    time = np.array([100.0, 200, 300, 400, 500, 600])
    values = np.array([9.0, 9, 3, NAN, 2, 1])
    found = time_correlation(values, outcomes_of(time), runs_of(6), 200)
    assert (found.rho.value, found.num_runs) == (pytest.approx(-1), 3)
    censored = outcomes_of(time, kinds=["converged"] * 5 + ["censored"])
    assert np.isnan(time_correlation(values, censored, runs_of(6), 0).rho.value)
    assert np.isnan(time_correlation(np.ones(6), outcomes_of(time), runs_of(6), 0).rho.value)
    assert np.isnan(time_correlation(values[:1], outcomes_of(time[:1]), runs_of(1), 0).rho.value)


def test_the_interval_covers_no_correlation_about_as_often_as_stated():
    rng, covered = np.random.default_rng(0), 0
    for trial in range(200):
        time, values = rng.uniform(0, 2000, 60), rng.normal(size=60)
        rho = time_correlation(values, outcomes_of(time), runs_of(60), -1, bootstrap=200, seed=trial).rho
        covered += rho.low <= 0 <= rho.high
    assert 0.9 <= covered / 200 <= 0.99


def crossed_runs(num_init, num_data):
    return [RunInfo(f"r{i}-{j}", "s", i, 100 + j, {}) for i in range(num_init) for j in range(num_data)]


def test_siblings_tell_all_where_init_decides_and_nothing_where_it_does_not():
    rng = np.random.default_rng(0)
    by_init = np.repeat(np.where(np.arange(20) < 10, 500.0, 1500), 8)
    found = sibling_auroc(outcomes_of(by_init), crossed_runs(20, 8), 1000)
    assert found.value == 1
    by_chance = [
        sibling_auroc(outcomes_of(rng.choice([500.0, 1500], 160)), crossed_runs(20, 8), 1000, bootstrap=50).value
        for _ in range(30)
    ]
    assert np.mean(by_chance) == pytest.approx(0.5, abs=0.03)
    by_data = np.tile(np.where(np.arange(8) < 4, 500.0, 1500), 20)
    assert sibling_auroc(outcomes_of(by_data), crossed_runs(20, 8), 1000).value == 0.5


def test_a_run_is_no_sibling_of_itself_and_lone_runs_say_nothing():
    time = np.array([500.0, 1500, 1500, 500])
    assert sibling_auroc(outcomes_of(time), crossed_runs(2, 2), 1000).value == 0
    lone = [RunInfo(f"r{r}", "s", r, 0, {}) for r in range(4)]
    assert np.isnan(sibling_auroc(outcomes_of(time), lone, 1000).value)


def test_shares_by_statistic_are_those_of_each_bin():
    time = np.array([500.0] * 5 + [1500.0] * 5 + [50.0])
    values = np.arange(11.0)
    low, high = proportion_by_statistic(values, outcomes_of(time), 100, bins=2)
    assert (low.value, low.proportion, low.num_runs) == (2, wilson(5, 5), 5)
    assert (high.value, high.proportion, high.num_runs) == (7, wilson(0, 5), 5)
    assert proportion_by_statistic(values * NAN, outcomes_of(time), 100) == []
    (one,) = proportion_by_statistic(np.ones(11), outcomes_of(time), 100)
    assert one.num_runs == 10
