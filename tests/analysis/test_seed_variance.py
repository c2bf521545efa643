"""Variance by seeds: planted components, nulls, censoring."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.dynamics.seed_variance import seed_variance, variance_shares
from analysis.outcomes.outcomes import DEFAULT_CRITERION, Outcomes
from pipeline.store.history import RunInfo

BUDGET = 10**6


def crossed(log_time, kinds=None, budget=BUDGET):
    """Runs of every init with every data seed, and their outcomes."""
    num_init, num_data = log_time.shape
    runs = [RunInfo(f"r{i}-{j}", "s", i, 100 + j, {}) for i in range(num_init) for j in range(num_data)]
    time = np.minimum(np.exp(log_time).ravel(), budget)
    kinds = np.where(np.exp(log_time).ravel() <= budget, "converged", "unconverged") if kinds is None else kinds
    return Outcomes(DEFAULT_CRITERION, np.array(kinds, dtype="<U11"), time, time), runs


def planted(rng, shares, num_init=16, num_data=8):
    init, data, rest = np.sqrt(shares)
    return 7 + 0.5 * (
        init * rng.normal(size=(num_init, 1))
        + data * rng.normal(size=(1, num_data))
        + rest * rng.normal(size=(num_init, num_data))
    )


def test_shares_are_those_of_the_closed_form_for_a_table_without_noise():
    row, column = np.array([0.0, 1, 5]), np.array([0.0, 2])
    shares = variance_shares((row[:, None] + column)[None])[:, 0]
    np.testing.assert_allclose(shares, np.array([7, 2, 0]) / 9, atol=1e-12)


@pytest.mark.parametrize("shares", [(0.9, 0.0, 0.1), (0.2, 0.5, 0.3), (0.0, 0.0, 1.0)])
def test_planted_shares_are_found(shares):
    rng = np.random.default_rng(0)
    tables = np.stack([planted(rng, shares, 40, 20) for _ in range(30)])
    np.testing.assert_allclose(variance_shares(tables).mean(axis=1), shares, atol=0.06)


def test_intervals_cover_the_planted_shares_about_as_often_as_stated():
    rng, covered = np.random.default_rng(1), np.zeros(3)
    for trial in range(100):
        found = seed_variance(*crossed(planted(rng, (0.6, 0.2, 0.2))), BUDGET, bootstrap=200, seed=trial)
        estimates = (found.init, found.data, found.interaction)
        covered += [e.low <= share <= e.high for e, share in zip(estimates, (0.6, 0.2, 0.2), strict=True)]
    assert covered.min() >= 85


def test_with_these_data_seeds_held_the_interval_is_narrower():
    outcomes, runs = crossed(planted(np.random.default_rng(2), (0.5, 0.3, 0.2)))
    both = seed_variance(outcomes, runs, BUDGET)
    held = seed_variance(outcomes, runs, BUDGET, draws_data_seeds=False)
    assert held.data.value == both.data.value
    assert held.data.high - held.data.low < both.data.high - both.data.low


def test_times_that_have_changed_places_show_no_share_of_a_seed():
    rng = np.random.default_rng(3)
    table = planted(rng, (0.9, 0.0, 0.1))
    assert seed_variance(*crossed(table), BUDGET).init.low > 0.5
    for _ in range(5):
        exchanged = rng.permutation(table.ravel()).reshape(table.shape)
        found = seed_variance(*crossed(exchanged), BUDGET)
        assert found.init.low < 0.05
        assert found.interaction.high > 0.9


def test_runs_that_did_not_converge_count_with_the_budget():
    table = planted(np.random.default_rng(4), (0.9, 0.0, 0.1))
    budget = int(np.exp(np.quantile(table, 0.8)))
    outcomes, runs = crossed(table, budget=budget)
    found = seed_variance(outcomes, runs, budget, bootstrap=0)
    restricted = np.minimum(table, np.log(budget))
    assert found.init.value == pytest.approx(variance_shares(restricted[None])[0, 0])
    assert found.num_restricted == np.sum(table > np.log(budget))
    is_late_R = outcomes.kind_R == "unconverged"
    early_R = np.where(is_late_R, 5.0, outcomes.upper_R)
    kind_R = np.where(is_late_R, "diverged", outcomes.kind_R)
    diverged = Outcomes(outcomes.criterion, kind_R, early_R, early_R)
    assert seed_variance(diverged, runs, budget, bootstrap=0) == found


def test_an_init_seed_with_a_stopped_or_missing_run_is_left_out():
    table = planted(np.random.default_rng(5), (0.6, 0.2, 0.2))
    outcomes, runs = crossed(table)
    outcomes.kind_R[3] = "censored"
    kept = np.array([run.run_id != "r5-2" for run in runs])
    some = Outcomes(outcomes.criterion, outcomes.kind_R[kept], outcomes.lower_R[kept], outcomes.upper_R[kept])
    found = seed_variance(some, [run for run, keep in zip(runs, kept, strict=True) if keep], BUDGET, bootstrap=0)
    assert (found.num_init, found.num_left_out, found.num_restricted) == (14, 2, 0)
    assert found.init.value == pytest.approx(variance_shares(np.delete(table, [0, 5], axis=0)[None])[0, 0])


def test_one_seed_of_a_kind_and_equal_times_give_no_shares():
    for table in (np.ones((1, 5)), np.ones((5, 1)), np.full((4, 4), 6.3)):
        assert np.isnan(seed_variance(*crossed(table), BUDGET, bootstrap=10).init.value)


def test_the_share_without_the_slowest_init_seed_is_that_of_the_others_alone():
    table = planted(np.random.default_rng(6), (0.3, 0.1, 0.6))
    table[11] += 6
    found = seed_variance(*crossed(table), BUDGET * 100, bootstrap=50)
    others = seed_variance(*crossed(np.delete(table, 11, axis=0)), BUDGET * 100, bootstrap=50)
    assert found.init.value > 0.8
    assert found.init_without_slowest == others.init
    assert others.init.value < 0.6
    fast = table.copy()
    fast[11] -= 12
    slowest = int(np.delete(fast.mean(axis=1), 11).argmax())
    kept = seed_variance(*crossed(fast), BUDGET * 100, bootstrap=0).init_without_slowest.value
    assert kept == pytest.approx(variance_shares(np.delete(fast, slowest, axis=0)[None])[0, 0])
    assert np.isnan(seed_variance(*crossed(table[:2]), BUDGET, bootstrap=0).init_without_slowest.value)


def test_two_runs_of_the_same_seeds_are_refused():
    outcomes, runs = crossed(np.ones((2, 2)))
    with pytest.raises(ValueError, match="one setting"):
        seed_variance(outcomes, [runs[0], runs[0], *runs[2:]], BUDGET)
