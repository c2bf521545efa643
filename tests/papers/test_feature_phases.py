"""The four phases, and their exponent, against gradient flow in the mean field, where both are known."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from analysis.dynamics.scaling import median_feature_time, scaling_exponent
from pipeline.store.history import RunInfo
from sweeps.huang_2024.feature_phases import find_feature_phases

NAN = np.nan


@cache
def rare_feature(num_features, dominant=0.5):
    """Steps, A, B, error, |dA| and |dB| of a rare feature under gradient flow: infinite context, Q(0) = 0.

    Attention to feature n is in proportion to p_n exp(q_n), and the error is half the square of what it lacks.
    """
    rare = (1 - dominant) / (num_features - 1)
    p = np.array([rare, dominant, rare])
    count = np.array([1, 1, num_features - 2])

    def attention(q):
        weight = p[:, None] * np.exp(q)
        return weight / (count @ weight)

    def rate(q):
        a = attention(q)
        return rare * a * (np.array([[1.0], [0], [0]]) - a - a[0] + count @ a**2)

    steps = np.unique(np.concatenate([np.arange(0, 400), np.geomspace(400, 3e4, 3000)]).round().astype(int))
    flow = solve_ivp(lambda t, q: rate(q[:, None])[:, 0], (0, 3e4), np.zeros(3), "LSODA", steps, rtol=1e-8, atol=1e-11)
    a = attention(flow.y)
    error = 0.5 * ((1 - a[0]) ** 2 + a[1] ** 2 + (num_features - 2) * a[2] ** 2)
    return steps, flow.y[0], flow.y[1], error, *np.abs(rate(flow.y)[:2])


def phases_of(num_features, noise=0.0, every=1, **changes):
    steps, a, b, error, _, _ = rare_feature(num_features)
    rng = np.random.default_rng(0)
    a, b, error = (x[::every] + noise * rng.normal(size=x[::every].shape) for x in (a, b, error))
    return find_feature_phases(a[None, None], b[None, None], error[None, None], steps[::every], num_features, **changes)


# A gradient flow in the mean field with error .01, dominant probability .5, unit rate: swap, then convergence.
KNOWN = {10: (90, 949), 20: (428, 2671), 40: (1698, 7560), 80: (6250, 22865)}


@pytest.mark.parametrize("num_features", KNOWN)
def test_the_steps_agree_with_those_of_gradient_flow(num_features):
    found = phases_of(num_features)
    assert found.has_all_RK.all()
    assert found.swap_RK[0, 0] == pytest.approx(KNOWN[num_features][0], rel=0.05)
    assert found.converged_RK[0, 0] == pytest.approx(KNOWN[num_features][1], rel=0.02)
    assert found.swap_RK[0, 0] < found.taken_over_RK[0, 0] < found.grown_RK[0, 0] < found.converged_RK[0, 0]


@pytest.mark.parametrize("num_features", [20, 80])
def test_the_minimum_of_the_sum_is_where_the_one_rate_overtakes_the_other(num_features):
    steps, a, b, _, rate_a, rate_b = rare_feature(num_features)
    overtakes = steps[np.argmax(rate_a >= rate_b)]
    found = phases_of(num_features)
    assert found.swap_RK[0, 0] == pytest.approx(float(overtakes), rel=0.02)
    assert np.all((a + b)[(steps > 5) & (steps < found.taken_over_RK[0, 0])] < 0)
    assert np.all((a + b)[steps >= found.taken_over_RK[0, 0]] >= 0)


def test_noise_and_a_coarse_grid_move_the_steps_little():
    exact, noisy = phases_of(40), phases_of(40, noise=0.01, every=20, small_error=0.05)
    assert noisy.has_all_RK.all()
    assert noisy.swap_RK[0, 0] == pytest.approx(exact.swap_RK[0, 0], rel=0.3)
    assert noisy.taken_over_RK[0, 0] == pytest.approx(exact.taken_over_RK[0, 0], rel=0.1)
    assert noisy.grown_RK[0, 0] == pytest.approx(exact.grown_RK[0, 0], rel=0.05)


def test_features_without_a_fall_have_no_swap_but_grow_and_converge():
    steps, a, b, error, _, _ = rare_feature(20)
    balanced = find_feature_phases(a[None, None], 0 * b[None, None], error[None, None], steps, 20)
    assert np.isnan([balanced.swap_RK[0, 0], balanced.taken_over_RK[0, 0]]).all()
    assert np.isfinite([balanced.grown_RK[0, 0], balanced.converged_RK[0, 0]]).all()
    assert not balanced.has_all_RK.any()


def test_phases_that_are_not_finished_are_nan():
    steps, a, b, error, _, _ = rare_feature(20)
    for last, num_found in ((300, 0), (800, 1), (1100, 2), (2000, 3)):
        seen = steps <= last
        found = find_feature_phases(a[None, None, seen], b[None, None, seen], error[None, None, seen], steps[seen], 20)
        ends = [found.swap_RK, found.taken_over_RK, found.grown_RK, found.converged_RK]
        assert [bool(np.isfinite(end[0, 0])) for end in ends] == [True] * num_found + [False] * (4 - num_found)


def test_unrecorded_steps_are_passed_over_run_by_run_and_feature_by_feature():
    steps, a, b, error, _, _ = rare_feature(20)
    arrays = [np.broadcast_to(x, (2, 3, len(steps))).copy() for x in (a, b, error)]
    for x in arrays:
        x[0, 1, 1::2] = NAN
        x[1, 2] = NAN
    found = find_feature_phases(*arrays, steps, 20)
    assert found.swap_RK[0, 1] == pytest.approx(found.swap_RK[0, 0], rel=0.02)
    assert np.isnan(found.swap_RK[1, 2])
    assert found.has_all_RK.tolist() == [[True, True, True], [True, True, False]]


def test_flat_and_noisy_weights_have_no_phase():
    rng = np.random.default_rng(1)
    steps = np.arange(200)
    a, b = 0.002 * rng.normal(size=(2, 5, 4, 200))
    found = find_feature_phases(a, b, np.full((5, 4, 200), 0.4), steps, 20)
    for end in (found.swap_RK, found.taken_over_RK, found.grown_RK, found.converged_RK):
        assert np.isnan(end).all()


def test_log_of_one_feature_is_refused():
    with pytest.raises(ValueError, match="num_features"):
        find_feature_phases(*np.zeros((3, 1, 1, 4)), np.arange(4), 1)


def runs_of(sizes):
    return [RunInfo(f"r{r}", f"s{size}", r, r, {}) for r, size in enumerate(sizes)]


def test_the_swap_time_grows_with_about_the_square_of_the_number_of_features():
    sizes = np.array([10, 20, 40, 80])
    time = np.array([median_feature_time(phases_of(size).swap_RK)[0] for size in sizes])
    assert scaling_exponent(sizes, time, runs_of(sizes)).value == pytest.approx(1.93, abs=0.03)
    assert scaling_exponent(sizes, time, runs_of(sizes), least_size=10).value > 2.0


def test_a_planted_exponent_is_covered_about_as_often_as_stated():
    sizes, covered = np.repeat([20, 40, 80], 12), 0
    for trial in range(100):
        time = 3.0 * sizes**1.7 * np.exp(0.3 * np.random.default_rng(trial).normal(size=36))
        estimate = scaling_exponent(sizes, time, runs_of(sizes), bootstrap=200, seed=trial)
        covered += estimate.low <= 1.7 <= estimate.high
    assert 86 <= covered <= 99


def test_runs_that_never_got_there_count_as_slow_and_are_not_left_out():
    sizes = np.repeat([20, 40, 80], 9)
    time = sizes**2.0 * np.tile(np.linspace(0.8, 1.2, 9), 3)
    some = np.where(np.tile(np.arange(9) >= 6, 3) & (sizes == 80), NAN, time)
    assert scaling_exponent(sizes, some, runs_of(sizes), bootstrap=0).value == pytest.approx(2)
    pairs = scaling_exponent(np.array([20, 20, 40, 40]), np.array([1.0, 4, 8, 8]), runs_of([20, 20, 40, 40]))
    assert pairs.value == pytest.approx(2)
    most = np.where(np.tile(np.arange(9) >= 3, 3) & (sizes == 80), NAN, time)
    assert np.isnan(scaling_exponent(sizes, most, runs_of(sizes)).value)
    np.testing.assert_array_equal(median_feature_time(np.array([[1.0, 3, NAN], [1, NAN, NAN]])), [3, NAN])


def test_one_size_or_one_seed_gives_no_exponent_or_no_interval():
    assert np.isnan(scaling_exponent(np.full(5, 20), np.ones(5), runs_of(np.full(5, 20))).value)
    same = [RunInfo(f"r{r}", f"s{r}", 0, 0, {}) for r in range(2)]
    alone = scaling_exponent(np.array([20, 40]), np.array([100.0, 400.0]), same)
    assert alone.value == pytest.approx(2)
    assert np.isnan(alone.low)
    with pytest.raises(ValueError, match="above 0"):
        scaling_exponent(np.array([20]), np.array([0.0]), runs_of([20]))
