"""Early signs: planted correlations and siblings are found, and no effect in null data."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.dynamics.early_signs import (
    proportion_by_statistic,
    sibling_auroc,
    sibling_concordance,
    time_correlation,
)
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


def counted_concordance(time_IJ):
    """Pairs of one half of the data seeds that the mean log times of the other half put in order, one by one."""
    log_IJ, half_J = np.log(time_IJ), np.arange(time_IJ.shape[1]) % 2
    won, total = 0.0, 0
    for half in (0, 1):
        forecast_I = log_IJ[:, half_J != half].mean(axis=1)
        cells = [(i, j) for i in range(len(log_IJ)) for j in np.flatnonzero(half_J == half)]
        for one in cells:
            for other in cells:
                if log_IJ[one] < log_IJ[other]:
                    won += 0.5 * (1 + np.sign(forecast_I[other[0]] - forecast_I[one[0]]))
                    total += 1
    return won / total


def test_the_concordance_of_siblings_is_that_of_every_pair_of_runs_with_different_times():
    rng = np.random.default_rng(1)
    time_IJ = np.exp(6 + 0.4 * rng.normal(size=(7, 1)) + 0.3 * rng.normal(size=(7, 6))).round(-1)
    outcomes, runs = outcomes_of(time_IJ.ravel(), 1e6), crossed_runs(7, 6)
    found = sibling_concordance(outcomes, runs, 10**6, bootstrap=200)
    assert found.value == pytest.approx(counted_concordance(time_IJ), abs=1e-12)
    assert found.low < found.value < found.high


def test_the_concordance_depends_on_no_cut_where_the_auroc_does():
    rng = np.random.default_rng(2)
    # Init seeds decide among slow runs alone.
    time_IJ = np.where(
        np.arange(20)[:, None] < 10, rng.uniform(200, 400, (20, 8)), 1000.0 + 50 * np.arange(20)[:, None]
    )
    runs = crossed_runs(20, 8)
    early, late = (sibling_auroc(outcomes_of(time_IJ.ravel(), at), runs, at, bootstrap=0).value for at in (300, 700))
    assert early < 0.9
    assert late == 1
    whole = sibling_concordance(outcomes_of(time_IJ.ravel(), 1e5), runs, 10**5, bootstrap=0).value
    later = sibling_concordance(outcomes_of(time_IJ.ravel(), 1e6), runs, 10**6, bootstrap=0).value
    assert whole == later
    assert early < whole < 1


def test_siblings_under_data_that_decides_alone_have_a_concordance_of_one_half():
    time_IJ = np.tile(np.linspace(300, 900, 8), (20, 1))
    found = sibling_concordance(outcomes_of(time_IJ.ravel()), crossed_runs(20, 8), 1000)
    assert found.value == pytest.approx(0.5)
    lone = [RunInfo(f"r{r}", "s", r, 0, {}) for r in range(4)]
    assert np.isnan(sibling_concordance(outcomes_of(np.array([500.0, 600, 700, 800])), lone, 1000).value)


def test_shares_by_statistic_are_those_of_each_bin():
    time = np.array([500.0] * 5 + [1500.0] * 5 + [50.0])
    values = np.arange(11.0)
    low, high = proportion_by_statistic(values, outcomes_of(time), 100, bins=2)
    assert (low.value, low.proportion, low.num_runs) == (2, wilson(5, 5), 5)
    assert (high.value, high.proportion, high.num_runs) == (7, wilson(0, 5), 5)
    assert proportion_by_statistic(values * NAN, outcomes_of(time), 100) == []
    (one,) = proportion_by_statistic(np.ones(11), outcomes_of(time), 100)
    assert one.num_runs == 10
