"""Phase changes: planted jumps are found, and none are found in smooth, flat, drifting and wandering curves."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import erf

from analysis.dynamics.curve_shapes import LOGISTIC_WIDTH, SMOOTH, Abrupt
from analysis.dynamics.phases import FEWEST_POINTS, find_phase_changes, smooth_surrogates

STEPS = np.arange(1, 61) * 50
SPAN = 3000.0


def noise(rng, num_runs, spread, correlation):
    fresh = rng.normal(size=(num_runs, len(STEPS)))
    values = fresh.copy()
    for t in range(1, len(STEPS)):
        values[:, t] = correlation * values[:, t - 1] + np.sqrt(1 - correlation**2) * fresh[:, t]
    return spread * values


def logistic(centre, width):
    return 1 / (1 + np.exp(-(STEPS - centre) * LOGISTIC_WIDTH / width))


def column(rng, low, high, num_runs):
    """Log-uniform, one per run."""
    return np.exp(rng.uniform(np.log(low), np.log(high), (num_runs, 1)))


def jumps(rng, num_runs):
    """A quick rise to part of the way, then a jump over the rest, of 2% to 8% of the run."""
    centre, width = rng.uniform(0.3, 0.75, (num_runs, 1)) * SPAN, rng.uniform(0.02, 0.08, (num_runs, 1)) * SPAN
    share = rng.uniform(0.6, 1, (num_runs, 1))
    rise = 1 - np.exp(-STEPS / column(rng, 30, 1500, num_runs))
    return (1 - share) * rise + share * logistic(centre, width), centre[:, 0], width[:, 0]


NOT_ABRUPT = {
    "flat": lambda rng, n: np.zeros((n, len(STEPS))),
    "drift": lambda rng, n: rng.random((n, 1)) * STEPS / SPAN,
    "random walk": lambda rng, n: 0.3 * np.cumsum(rng.normal(size=(n, len(STEPS))), axis=1) / np.sqrt(len(STEPS)),
    "exponential": lambda rng, n: 1 - np.exp(-STEPS / column(rng, 30, 3000, n)),
    "power law": lambda rng, n: 1 - (1 + STEPS / column(rng, 10, 900, n)) ** -rng.uniform(0.2, 2, (n, 1)),
    "slow sigmoid": lambda rng, n: logistic(rng.uniform(600, 2400, (n, 1)), column(rng, 0.21 * SPAN, SPAN, n)),
    "slow error function": lambda rng, n: (
        (1 + erf(1.8124 * (STEPS - rng.uniform(600, 2400, (n, 1))) / column(rng, 0.21 * SPAN, SPAN, n))) / 2
    ),
    "slow ramp": lambda rng, n: np.clip(
        0.5 + (STEPS - rng.uniform(600, 2400, (n, 1))) / column(rng, 0.27 * SPAN, SPAN, n), 0, 1
    ),
    "early Hill": lambda rng, n: 1 / (1 + (column(rng, 90, 900, n) / STEPS) ** rng.uniform(1, 6, (n, 1))),
}


@pytest.mark.parametrize(("spread", "correlation", "least_found"), [(0.01, 0.0, 40), (0.03, 0.5, 36)])
def test_planted_jumps_are_found_at_their_step_and_with_their_width(spread, correlation, least_found):
    rng = np.random.default_rng(0)
    curves, centre, width = jumps(rng, 40)
    found = find_phase_changes(curves + noise(rng, 40, spread, correlation), STEPS, chance=0, floor=1)
    assert found.is_abrupt_R.sum() >= least_found
    error = np.abs(found.location_R - centre) / width
    assert np.quantile(error[found.is_abrupt_R], 0.9) < 0.3
    assert 0.9 < np.median(found.width_R[found.is_abrupt_R] / width[found.is_abrupt_R]) < 1.1


@pytest.mark.parametrize("kind", NOT_ABRUPT)
def test_at_most_one_in_twenty_curves_without_a_jump_is_called_abrupt(kind):
    rng = np.random.default_rng(1)
    called = 0
    for spread, correlation in ((0.01, 0.0), (0.03, 0.5), (0.1, 0.8), (0.3, 0.0)):
        curves = NOT_ABRUPT[kind](rng, 50) + noise(rng, 50, spread, correlation)
        called += find_phase_changes(curves, STEPS, chance=0, floor=1).is_abrupt_R.sum()
    assert called <= 0.05 * 200


@pytest.mark.parametrize("kind", ["flat", "drift", "random walk", "slow sigmoid"])
def test_strong_noise_that_wanders_is_seldom_taken_for_a_jump(kind):
    rng = np.random.default_rng(7)
    curves = NOT_ABRUPT[kind](rng, 200) + noise(rng, 200, 0.3, 0.9)
    assert find_phase_changes(curves, STEPS, chance=0, floor=1).is_abrupt_R.sum() <= 0.02 * 200


def test_smooth_surrogates_of_jumps_are_as_noisy_and_never_abrupt():
    rng = np.random.default_rng(2)
    curves = jumps(rng, 20)[0] + noise(rng, 20, 0.03, 0.5)
    curves[3, 7] = np.nan
    for families in (tuple(SMOOTH), ("power law",), ("exponential",), ("slow sigmoid",)):
        surrogates = smooth_surrogates(curves, STEPS, chance=0, floor=1, families=families)
        assert find_phase_changes(surrogates, STEPS, chance=0, floor=1).is_abrupt_R.sum() <= 1
        np.testing.assert_array_equal(np.isnan(surrogates), np.isnan(curves))
        roughness = np.nanmedian(np.abs(np.diff(surrogates[:, :15]))) / np.nanmedian(np.abs(np.diff(curves[:, :15])))
        assert 0.7 < roughness < 1.4


def test_rising_and_falling_curves_are_judged_alike():
    rng = np.random.default_rng(3)
    curves = jumps(rng, 5)[0] + noise(rng, 5, 0.02, 0)
    rising = find_phase_changes(0.25 + 0.75 * curves, STEPS, chance=0.25, floor=1)
    falling = find_phase_changes(1.8 - 1.7 * curves, STEPS, chance=1.8, floor=0.1)
    assert rising.is_abrupt_R.all()
    for name in ("is_abrupt_R", "location_R", "width_R", "change_R", "evidence_R"):
        np.testing.assert_allclose(getattr(rising, name), getattr(falling, name), rtol=1e-6)


def test_a_jump_away_from_the_floor_is_no_phase_change():
    found = find_phase_changes(-logistic(1500, 150)[None], STEPS, chance=0, floor=1)
    assert not found.is_abrupt_R[0]
    assert found.change_R[0] == pytest.approx(-1, abs=0.02)
    assert np.isnan(found.location_R[0])


def test_a_small_jump_is_not_one_and_a_laxer_definition_takes_it():
    curve = 0.3 * logistic(1500, 150)[None] + noise(np.random.default_rng(4), 1, 0.01, 0)
    assert not find_phase_changes(curve, STEPS, chance=0, floor=1).is_abrupt_R[0]
    assert find_phase_changes(curve, STEPS, chance=0, floor=1, abrupt=Abrupt(least_change=0.2)).is_abrupt_R[0]


def test_a_change_that_takes_longer_than_allowed_is_not_abrupt():
    curve = logistic(1800, 450)[None] + noise(np.random.default_rng(5), 1, 0.01, 0)
    wide = find_phase_changes(curve, STEPS, chance=0, floor=1)
    assert wide.is_abrupt_R[0]
    assert wide.width_R[0] == pytest.approx(450, rel=0.1)
    for strict in (Abrupt(most_of_steps=0.1), Abrupt(most_of_time=1.2)):
        narrow = find_phase_changes(curve, STEPS, chance=0, floor=1, abrupt=strict)
        assert not narrow.is_abrupt_R[0]
        assert narrow.width_R[0] == pytest.approx(450, rel=0.1)


def test_the_width_of_a_slow_change_is_told_too():
    curve = logistic(1500, 2000)[None] + noise(np.random.default_rng(8), 1, 0.002, 0)
    found = find_phase_changes(curve, STEPS, chance=0, floor=1)
    assert not found.is_abrupt_R[0]
    assert found.width_R[0] == pytest.approx(2000, rel=0.15)


def test_no_width_below_the_distance_of_evaluations_is_claimed():
    step = (STEPS > 1520).astype(np.float64)[None]
    found = find_phase_changes(step, STEPS, chance=0, floor=1)
    assert found.is_abrupt_R[0]
    assert found.width_R[0] == 50
    assert 1500 <= found.location_R[0] <= 1550


def test_an_outlier_at_the_end_or_an_unfinished_change_is_no_phase_change():
    outlier, unfinished = np.zeros(60), logistic(2990, 100)
    outlier[-1] = 1
    assert not find_phase_changes(np.stack([outlier, unfinished]), STEPS, chance=0, floor=1).is_abrupt_R.any()


def test_a_run_is_judged_by_itself_and_by_what_it_recorded():
    rng = np.random.default_rng(6)
    curves = jumps(rng, 8)[0] + noise(rng, 8, 0.02, 0)
    curves[2, 40:] = np.nan
    curves[5, ::3] = np.nan
    together = find_phase_changes(curves, STEPS, chance=0, floor=1)
    for r in range(8):
        alone = find_phase_changes(curves[[r]], STEPS, chance=0, floor=1)
        np.testing.assert_allclose(together.evidence_R[r], alone.evidence_R[0])
        np.testing.assert_allclose(together.width_R[r], alone.width_R[0])


def test_too_few_values_no_run_and_constant_curves_are_answered_without_a_fit():
    few = np.full((2, 60), np.nan)
    few[0, : FEWEST_POINTS - 1] = 0.5
    found = find_phase_changes(few, STEPS, chance=0, floor=1)
    assert not found.is_abrupt_R.any()
    assert np.isnan(found.evidence_R).all()
    assert len(find_phase_changes(np.empty((0, 60)), STEPS, chance=0, floor=1).width_R) == 0
    flat = find_phase_changes(np.full((1, 60), 0.4), STEPS, chance=0, floor=1)
    assert not flat.is_abrupt_R[0]
    assert flat.change_R[0] == pytest.approx(0, abs=1e-6)
    assert np.isnan(smooth_surrogates(few, STEPS, chance=0, floor=1)).all()


def test_mistakes_in_the_definition_are_refused():
    with pytest.raises(ValueError, match="must differ"):
        find_phase_changes(np.zeros((1, 60)), STEPS, chance=1, floor=1)
    with pytest.raises(ValueError, match="shares"):
        Abrupt(most_of_steps=0)
