"""Crossings of one half by logistic regression: planted ones are recovered, sharp ones too, and none is made up."""

import numpy as np
import pytest

from analysis.dynamics.boundaries import crossings

X_R = np.repeat([-3.0, -2.7, -2.3, -2.0], 40)


def events(rng, at, slope=6.0):
    return rng.random(len(X_R)) < 1 / (1 + np.exp(-slope * (X_R - at)))


@pytest.mark.parametrize("slope", [6.0, -6.0])
def test_a_planted_crossing_is_recovered_and_its_interval_covers(slope):
    rng, covered, found = np.random.default_rng(0), 0, []
    for _ in range(60):
        weight_BR = np.vstack([np.ones(160), rng.multinomial(160, np.full(160, 1 / 160), 150)])
        at_B = crossings(X_R, events(rng, -2.5, slope), weight_BR)
        low, high = np.quantile(at_B[1:], [0.025, 0.975])
        covered += low <= -2.5 <= high
        found.append(at_B[0])
    assert np.mean(found) == pytest.approx(-2.5, abs=0.02)
    assert covered / 60 >= 0.85


def test_a_jump_lies_between_the_values_around_it():
    (at,) = crossings(X_R, X_R > -2.5, np.ones((1, 160)))
    assert at == pytest.approx(-2.5, abs=0.05)


def test_there_is_no_crossing_where_all_or_none_have_the_event():
    for is_event_R in (np.zeros(160, bool), np.ones(160, bool)):
        assert np.isnan(crossings(X_R, is_event_R, np.ones((1, 160)))[0])


def test_weights_count_as_repeated_runs():
    rng = np.random.default_rng(1)
    is_event_R, weight_R = events(rng, -2.4), rng.integers(0, 3, 160)
    times = np.repeat(np.arange(160), weight_R)
    (weighted,) = crossings(X_R, is_event_R, weight_R[None].astype(float))
    assert weighted == pytest.approx(crossings(X_R[times], is_event_R[times], np.ones((1, len(times))))[0], abs=0.01)
