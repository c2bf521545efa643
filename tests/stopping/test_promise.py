"""Thresholds keep what they promise, and runs too few to promise anything are refused with the number that it takes."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.stopping.promise import Promise, calibrated, fewest_convergers, most_lost
from analysis.uncertainty.exact import clopper_pearson_upper


@pytest.mark.parametrize(("share", "fewest"), [(0.01, 299), (0.02, 149), (0.05, 59), (0.1, 29), (0.5, 5)])
def test_the_fewest_convergers_are_the_least_with_none_lost_at_five_percent(share, fewest):
    assert fewest_convergers(share) == fewest
    assert (1 - share) ** fewest <= 0.05 < (1 - share) ** (fewest - 1)
    assert (most_lost(fewest - 1, share), most_lost(fewest, share)) == (-1, 0)


def test_the_upper_bound_is_where_so_few_are_seen_one_time_in_twenty():
    rng = np.random.default_rng(0)
    for count, total in ((0, 50), (3, 80), (10, 100)):
        share = clopper_pearson_upper(count, total)
        assert (rng.binomial(total, share, 200_000) <= count).mean() == pytest.approx(0.05, abs=0.002)
    assert clopper_pearson_upper(7, 7) == clopper_pearson_upper(0, 0) == 1.0


@pytest.mark.parametrize("num", [299, 700])
def test_one_calibration_in_twenty_at_most_loses_more_than_it_promises(num):
    """Uniform probabilities: a threshold t loses a share t of the convergers."""
    rng = np.random.default_rng(num)
    lost = np.array([calibrated(rng.random(num), Promise(0.01)).value for _ in range(2000)])
    assert 0.02 < (lost > 0.01).mean() < 0.065
    unpromised = np.array([calibrated(rng.random(num), Promise(0.01, is_promised=False)).value for _ in range(200)])
    assert (unpromised > 0.01).mean() > 0.3


def test_on_average_no_more_is_lost_than_expected_and_with_the_confidence_no_more_than_the_bound():
    rng, promise = np.random.default_rng(3), Promise(0.02, expect_at_most=0.01)
    lost = np.array([calibrated(rng.random(700), promise).value for _ in range(3000)])
    assert promise.most_lost(700) == 6
    assert lost.mean() == pytest.approx(7 / 701, rel=0.03)
    assert (lost > 0.02).mean() < 0.05
    # Few runs are held by the bound, and many by the average.
    assert [promise.most_lost(num) for num in (148, 149, 299, 700)] == [-1, 0, 1, 6]
    assert [Promise(0.02).most_lost(num) for num in (148, 149, 299, 700)] == [-1, 0, 1, 7]
    assert Promise(0.5, expect_at_most=0.01).fewest == 99
    assert (Promise(0.5, expect_at_most=0.01).most_lost(98), Promise(0.5, expect_at_most=0.01).most_lost(99)) == (-1, 0)
    with pytest.raises(ValueError, match=r"98 converged .* 95% confidence, and 0.01 on average: that takes 99"):
        calibrated(np.linspace(0, 1, 98), Promise(0.5, expect_at_most=0.01))


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"lose_at_most": 1.0}, "between 0 and 1, given 1"),
        ({"lose_at_most": 0.01, "expect_at_most": 0.01}, r"between 0 and lose_at_most \(0.01\), given 0.01"),
        ({"expect_at_most": 0.005, "is_promised": False}, "is a promise, and none was wanted"),
    ],
)
def test_a_promise_that_makes_no_sense_is_refused(given, problem):
    with pytest.raises(ValueError, match=problem):
        Promise(**given)


def test_too_few_are_refused_with_the_number_that_it_takes():
    with pytest.raises(ValueError, match=r"298 converged runs .* that takes 299"):
        calibrated(np.linspace(0, 1, 298), Promise(0.01))
    assert calibrated(np.linspace(0.2, 1, 298), Promise(0.01, is_promised=False)).num_lost == 2


def test_runs_that_cannot_be_stopped_count_as_kept():
    lowest_C = np.concatenate([[0.1, 0.2, 0.3], np.full(470, np.inf)])
    threshold = calibrated(lowest_C, Promise(0.01))
    assert (threshold.value, threshold.num_lost, threshold.num_convergers) == (0.2, 1, 473)
    assert calibrated(np.full(400, np.inf), Promise(0.01)).value == 1.0


def test_of_equal_probabilities_none_is_lost_beyond_what_is_allowed():
    assert calibrated(np.full(1000, 0.4), Promise(0.01)).num_lost == 0
