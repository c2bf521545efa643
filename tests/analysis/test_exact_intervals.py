"""Order-statistic intervals of medians, local exponents, and smallest deviations: coverage and power by simulation."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.dynamics.scaling import scaling_drift
from analysis.uncertainty.detectable import POWER, smallest_deviation, smallest_deviation_of_share
from analysis.uncertainty.estimates import median_of_runs
from analysis.uncertainty.exact import median_interval
from analysis.uncertainty.intervals import from_bootstrap, wilson_proportion
from pipeline.store.history import RunInfo

SIZES = (6, 8, 10, 16, 24, 64)


def coverage(size, samples, draw):
    rng = np.random.default_rng(size)
    found = [median_interval(draw(rng, size)) for _ in range(samples)]
    return np.mean([interval.low <= 0 <= interval.high for interval in found])


def skewed(rng, size):
    """Log-normal values whose true median is 0."""
    return np.exp(rng.normal(size=size)) - 1


@pytest.mark.parametrize("size", SIZES)
def test_an_exact_interval_covers_the_median_of_skewed_values(size):
    # A share of .95 in 400 samples has a standard error of .011.
    assert coverage(size, 400, skewed) >= 0.95 - 3 * 0.011


@pytest.mark.slow
@pytest.mark.parametrize("size", SIZES)
def test_an_exact_interval_covers_in_many_samples(size):
    for draw in (skewed, lambda rng, n: rng.normal(size=n), lambda rng, n: rng.standard_cauchy(size=n)):
        assert coverage(size, 4000, draw) >= 0.95 - 3 * 0.0035


def test_a_median_of_runs_has_the_exact_interval_where_runs_share_no_seed():
    value_R = np.exp(np.random.default_rng(1).normal(size=12))
    alone = [RunInfo(f"r{seed}", "s", seed, seed, {}) for seed in range(12)]
    paired = [RunInfo(f"r{seed}", "s", seed // 2, seed // 2, {}) for seed in range(12)]
    assert median_of_runs(value_R, alone) == median_interval(value_R)
    assert median_of_runs(value_R, paired) != median_interval(value_R)
    few = median_of_runs(value_R[:5], alone[:5])
    assert np.isfinite(few.value)
    assert np.isnan(few.low)
    with pytest.raises(ValueError, match="some are NaN"):
        median_interval(np.array([1.0, np.nan]))


def power_of_mean(size, samples):
    """How often a mean that lies by its own smallest deviation off a border of 0 is seen to do so."""
    rng = np.random.default_rng(size)
    deviation = smallest_deviation(interval_of_mean(rng.normal(size=200_000), size))
    return np.mean([interval_of_mean(deviation + rng.normal(size=size), size).low > 0 for _ in range(samples)])


def interval_of_mean(value_R, size):
    """A mean with the normal interval of `size` values of that spread."""
    error = value_R.std() / np.sqrt(size)
    return from_bootstrap(np.append(value_R.mean(), value_R.mean() + error * np.linspace(-2.0632, 2.0632, 401)))


def power_of_share(border, size, *, is_upper, samples):
    deviation = smallest_deviation_of_share(border, size, is_upper=is_upper)
    share = border + deviation if is_upper else border - deviation
    found = [wilson_proportion(count / size, size) for count in np.random.default_rng(0).binomial(size, share, samples)]
    return np.mean([each.low > border if is_upper else each.high < border for each in found])


@pytest.mark.parametrize(("border", "size", "is_upper"), [(0.8, 64, False), (0.5, 24, True), (0.05, 300, True)])
def test_the_smallest_deviation_of_a_share_is_caught_four_times_in_five(border, size, is_upper):
    assert power_of_share(border, size, is_upper=is_upper, samples=2000) >= POWER - 3 * 0.009
    smaller = smallest_deviation_of_share(border, 4 * size, is_upper=is_upper)
    assert smaller < smallest_deviation_of_share(border, size, is_upper=is_upper)


def test_the_smallest_deviation_of_a_mean_is_caught_four_times_in_five():
    assert power_of_mean(64, 1000) == pytest.approx(POWER, abs=0.05)


def test_a_point_has_no_smallest_deviation():
    assert np.isnan(smallest_deviation(wilson_proportion(0.5, 0)))
    assert np.isnan(smallest_deviation_of_share(0.5, 0, is_upper=True))


def test_the_drift_of_an_exponent_is_in_its_interval_where_there_is_no_power_law():
    rng, size_R = np.random.default_rng(3), np.repeat([20.0, 40.0, 80.0], 20)
    runs = [RunInfo(f"r{r}", "s", r, r, {}) for r in range(60)]
    bent_R = size_R ** (2.5 - 0.1 * np.log2(size_R / 20)) * np.exp(0.01 * rng.normal(size=60))
    found = scaling_drift(size_R, bent_R, runs, bootstrap=200)
    assert found.overall.high - found.overall.low < 0.02
    (first, second), hull = found.local, found.with_drift
    assert first.exponent.value > found.overall.high > found.overall.low > second.exponent.value
    assert hull.low <= second.exponent.low < first.exponent.high <= hull.high


def test_the_interval_with_drift_holds_both_local_exponents_and_that_of_the_seeds_neither():
    """Of 60 samples from a law that bends from an exponent of 2 to one of 1.8."""
    rng, size_R = np.random.default_rng(4), np.repeat([20.0, 40.0, 80.0], 20)
    runs = [RunInfo(f"r{r}", "s", r, r, {}) for r in range(60)]
    law_R = np.where(size_R < 80, size_R**2, 40**2 * (size_R / 40) ** 1.8)
    with_drift = of_seeds = 0
    for trial in range(60):
        time_R = law_R * np.exp(0.05 * rng.normal(size=60))
        found = scaling_drift(size_R, time_R, runs, bootstrap=100, seed=trial)
        hull, seeds = found.with_drift, found.overall
        with_drift += hull.low <= 1.8 <= 2.0 <= hull.high
        of_seeds += seeds.low <= 1.8 or seeds.high >= 2.0
    assert with_drift >= 0.85 * 60
    assert of_seeds <= 0.1 * 60
