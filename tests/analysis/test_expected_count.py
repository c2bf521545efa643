"""How many runs converge, from a probability each: against enumeration, and against draws."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from analysis.uncertainty.expected_count import ExpectedCount, poisson_binomial


@pytest.mark.parametrize("num_runs", [0, 1, 2, 7])
def test_the_distribution_is_that_of_all_outcomes_counted(num_runs):
    probability_N = np.random.default_rng(num_runs).random(num_runs)
    expected_K = np.zeros(num_runs + 1)
    for outcome in product((0, 1), repeat=num_runs):
        happened_N = np.array(outcome, dtype=bool)
        expected_K[happened_N.sum()] += np.prod(np.where(happened_N, probability_N, 1 - probability_N))
    np.testing.assert_allclose(poisson_binomial(probability_N), expected_K, atol=1e-14)


def test_the_interval_holds_at_least_nine_of_ten_draws_and_little_more():
    rng = np.random.default_rng(0)
    probability_N = rng.beta(0.5, 0.5, 400)
    count = ExpectedCount.of(probability_N)
    drawn = (rng.random((4000, 400)) < probability_N).sum(axis=1)
    assert 0.9 <= np.mean((drawn >= count.low) & (drawn <= count.high)) <= 0.94
    assert abs(drawn.mean() - count.expected) < 1


def test_the_interval_holds_nine_of_ten_where_probabilities_are_estimated_and_exact_ones_would_hold_too_few():
    """60 finished runs tell the rate of 240 others; what is estimated is a common error of all of them."""
    rng = np.random.default_rng(1)
    held = {"estimated": 0, "as if exact": 0}
    for _ in range(300):
        rate = rng.uniform(0.2, 0.8)
        found = np.clip(rng.binomial(60, rate) / 60, 0.05, 0.95)
        actual = rng.binomial(240, rate)
        for name, learned in (("estimated", [60] * 240), ("as if exact", None)):
            count = ExpectedCount.of([found] * 240, learned)
            held[name] += count.low <= actual <= count.high
    assert 0.86 <= held["estimated"] / 300 <= 0.95
    assert held["as if exact"] / 300 < 0.65


def test_estimates_of_several_windows_have_one_error_in_common():
    one = ExpectedCount.of([0.5] * 100, [50] * 100)
    assert ExpectedCount.of([0.5] * 100, [50] * 60 + [50 + 1e-9] * 40) == one
    wide = ExpectedCount.of([0.5] * 100, [50] * 60 + [25] * 40)
    assert wide.low < one.low
    assert ExpectedCount.of([0.01] * 20, [1] * 20).low == 0
    assert ExpectedCount.of([1.0] * 20, [20] * 20).text() == "20 (90%: 20-20)"


def test_reasons_are_told_with_the_most_frequent_one():
    told = ExpectedCount.of([0.5]).of_runs_in_training([0.25], {"too early": 2, "few runs": 5})
    assert told == (
        "about 0 (90%: 0-1) of 1 runs in training converge, from window 0.25; 7 more have no forecast (5: few runs)"
    )
