"""Spread of log times: late runs do not bias it, and the exponent of a planted power law is recovered."""

import numpy as np
import pytest

from analysis.dynamics.spread import censored_spread, spread_by_size
from pipeline.store.history import RunInfo


def drawn(rng, sd, count=64, bound=0.5):
    value_R = sd * rng.standard_normal(count)
    return np.minimum(value_R, bound), value_R > bound


def test_late_values_do_not_make_the_spread_smaller():
    rng = np.random.default_rng(0)
    value_R, is_late_R = drawn(rng, 0.8, count=4000)
    assert 0.2 < is_late_R.mean() < 0.3
    ones = np.ones((1, 4000))
    assert censored_spread(value_R, is_late_R, ones)[0] == pytest.approx(0.8, rel=0.04)
    assert value_R.std() < 0.65
    known_R = ~is_late_R
    found = censored_spread(value_R[known_R], is_late_R[known_R], ones[:, known_R])
    assert found[0] == pytest.approx(value_R[known_R].std())


def test_weights_count_as_repeated_runs():
    value_R, is_late_R = drawn(np.random.default_rng(1), 0.8, count=20)
    weight_R = np.arange(20) % 3
    found = censored_spread(value_R, is_late_R, weight_R[None].astype(float))
    times = np.repeat(np.arange(20), weight_R)
    assert found[0] == pytest.approx(censored_spread(value_R[times], is_late_R[times], np.ones((1, len(times))))[0])


def test_there_is_no_spread_where_most_are_late_or_all_are_equal():
    is_late_R = np.arange(10) < 6
    value_R = np.where(is_late_R, 1.0, np.linspace(0, 0.5, 10))
    assert np.isnan(censored_spread(value_R, is_late_R, np.ones((1, 10)))[0])
    assert np.isnan(censored_spread(np.ones(10), np.zeros(10, bool), np.ones((1, 10)))[0])


def test_the_exponent_of_a_planted_power_law_is_recovered_and_its_interval_covers():
    rng, covered, num_repeats = np.random.default_rng(2), 0, 10
    sizes = np.repeat([8.0, 16.0, 32.0, 64.0], 64)
    runs = tuple(RunInfo(f"r{i}", f"s{i // 64}", i % 64, i % 64, {}) for i in range(256))
    for _ in range(num_repeats):
        parts = [drawn(rng, (size / 8) ** -0.5) for size in (8, 16, 32, 64)]
        value_R, is_late_R = (np.concatenate(column) for column in zip(*parts, strict=True))
        found = spread_by_size(sizes, value_R, is_late_R, runs, bootstrap=40)
        assert found.exponent.value == pytest.approx(-0.5, abs=0.25)
        covered += found.exponent.low <= -0.5 <= found.exponent.high
    assert found.sizes == (8, 16, 32, 64)
    assert found.num_late[0] > found.num_late[-1]
    assert covered / num_repeats >= 0.75


def test_a_size_at_which_most_are_late_is_left_out_of_the_exponent():
    rng = np.random.default_rng(3)
    runs = tuple(RunInfo(f"r{i}", f"s{i // 64}", i % 64, i % 64, {}) for i in range(192))
    (late, is_late), *rest = ((np.full(64, 0.5), np.ones(64, bool)), drawn(rng, 0.4), drawn(rng, 0.2))
    value_R = np.concatenate([late, *(value for value, _ in rest)])
    is_late_R = np.concatenate([is_late, *(is_late for _, is_late in rest)])
    found = spread_by_size(np.repeat([8.0, 16.0, 32.0], 64), value_R, is_late_R, runs, bootstrap=40)
    assert np.isnan(found.spreads[0].value)
    assert found.exponent.value == pytest.approx(-1, abs=0.4)
