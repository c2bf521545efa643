"""Detection of abrupt changes in learning curves: whether, at which step, and over how many steps.

A sharp sigmoid is compared with smooth curves of as many parameters. Both are fitted by variable projection (Golub and
Pereyra 1973): amplitudes by least squares, shapes from a fixed grid, so that no fit fails or depends on where it began.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from analysis.dynamics.curve_shapes import SHARP, SMOOTH, Abrupt, Shapes, gaps, sigmoid
from pipeline.arrays import Bools, Floats, Ints

FEWEST_POINTS = 12
RUNS_AT_ONCE = 32
# No fit is taken to be closer than this share of the way from chance to floor.
CLOSEST_FIT = 0.005
ABRUPT = Abrupt()


@dataclass(frozen=True)
class PhaseChanges:
    """The largest single change of each run's curve, and whether it is abrupt.

    `location_R`: the step at its middle; `width_R`: steps from 10% to 90% of it, at least the distance between the
    evaluations around, since less is not seen. Both are of the best sigmoid, sharp or slow, that begins and ends inside
    the grid, and NaN where it covers less than `least_change`. `change_R`: the share that it covers of the way from
    chance to floor, negative away from the floor. `evidence_R`: how much better the best sharp curve fits than the best
    smooth one. All are NaN and `is_abrupt_R` False for a run with fewer than FEWEST_POINTS values, and the evidence
    also where the evaluations are too sparse, or the run too short, for an abrupt change to show.
    """

    is_abrupt_R: Bools
    location_R: Floats
    width_R: Floats
    change_R: Floats
    evidence_R: Floats


def find_phase_changes(
    values_RT: Floats, steps_T: Ints, *, chance: float, floor: float, abrupt: Abrupt = ABRUPT
) -> PhaseChanges:
    """The phase change of every run's curve, rising or falling; NaN in `values_RT` is not recorded.

    `chance` and `floor` are the curve's values before anything is learned and at its best. The model is a constant, a
    drift (an exponential approach, or a line) and a change; a smooth model has the same drift and a change of another
    family. Evidence is n' log(RSS_smooth / RSS_sharp): for equally many parameters, the difference in BIC. n' is the
    number of points less what their correlation takes from it, n (1 - r) / (1 + r) (Bartlett 1935), r that of
    neighbouring residuals of the sharp fit. Raises ValueError where chance equals floor.

    >>> steps_T = np.arange(0, 2001, 50)
    >>> loss_RT = np.stack([1 / (1 + np.exp((steps_T - 1200) / 20)), 1 - steps_T / 2000])
    >>> found = find_phase_changes(loss_RT, steps_T, chance=1.0, floor=0.0)
    >>> found.is_abrupt_R.tolist(), bool(abs(found.location_R[0] - 1200) < 25)
    ([True, False], True)
    """
    found_R4 = np.full((len(values_RT), 4), np.nan)
    for members, shapes, share_RN in _by_grid(values_RT, steps_T, chance, floor, abrupt):
        sharp, smooth = _fit(shapes, share_RN, _of(shapes, SHARP)), _fit(shapes, share_RN, _of(shapes, *SMOOTH))
        best = _fit(shapes, share_RN, shapes.is_inside_G)
        found_R4[members, 0] = _evidence(sharp, smooth)
        for r, row in enumerate(members):
            found_R4[row, 1:] = _refined(shapes, share_RN[r], best, r)
    evidence_R, change_R, location_R, width_R = found_R4.T
    is_large_R = change_R >= abrupt.least_change
    span = float(np.ptp(steps_T)) if len(steps_T) else 0.0
    is_narrow_R = width_R <= abrupt.widest(location_R, span)
    return PhaseChanges(
        is_large_R & is_narrow_R & (evidence_R >= abrupt.least_evidence),
        np.where(is_large_R, location_R, np.nan),
        np.where(is_large_R, width_R, np.nan),
        change_R,
        evidence_R,
    )


def smooth_surrogates(
    values_RT: Floats,
    steps_T: Ints,
    *,
    chance: float,
    floor: float,
    families: tuple[str, ...] = tuple(SMOOTH),
    abrupt: Abrupt = ABRUPT,
    seed: int = 0,
) -> Floats:
    """(R, T) curves without a phase change, one like each run's: its best smooth fit, with noise as strong as its own.

    The share of them in which `find_phase_changes` finds one is its rate of false positives on these very data. The
    noise has the spread and the lag-1 correlation of the residuals of the closest fit, sharp or smooth; `families` are
    names of smooth shapes. NaN where the run has NaN, and everywhere for a run with fewer than FEWEST_POINTS values.
    """
    rng = np.random.default_rng(seed)
    surrogate_RT = np.full(np.shape(values_RT), np.nan)
    for members, shapes, share_RN in _by_grid(values_RT, steps_T, chance, floor, abrupt):
        smooth = _fit(shapes, share_RN, _of(shapes, *families))
        closest = _fit(shapes, share_RN, np.ones(len(shapes.shape_GN), dtype=bool))
        noise_RN = _noise_like(closest.residual_RN, rng)
        surrogate_RN = chance + (floor - chance) * (share_RN - smooth.residual_RN + noise_RN)
        surrogate_RT[np.ix_(members, np.isin(steps_T, shapes.steps_N))] = surrogate_RN
    return surrogate_RT


def _by_grid(
    values_RT: Floats, steps_T: Ints, chance: float, floor: float, abrupt: Abrupt
) -> Iterator[tuple[Ints, Shapes, Floats]]:
    """Rows that were recorded at the same steps, a few at a time: their indices, shapes, and values from 0 to 1."""
    if not abs(floor - chance) > 0:
        raise ValueError(f"chance and floor must differ, both are {chance}")
    share_RT = (np.asarray(values_RT, dtype=np.float64) - chance) / (floor - chance)
    is_seen_RT = np.isfinite(share_RT)
    for is_seen_T in np.unique(is_seen_RT, axis=0):
        if is_seen_T.sum() < FEWEST_POINTS:
            continue
        shapes = Shapes.of(steps_T[is_seen_T].astype(np.float64), float(np.ptp(steps_T)), abrupt)
        members = np.flatnonzero(np.all(is_seen_RT == is_seen_T, axis=1))
        for some in np.array_split(members, -(-len(members) // RUNS_AT_ONCE)):
            yield some, shapes, share_RT[np.ix_(some, is_seen_T)]


def _of(shapes: Shapes, *families: str) -> Bools:
    return np.isin(shapes.family_G, families)


@dataclass(frozen=True)
class _Fit:
    """The best drift and shape of each run, by number, and what they leave; inf and NaN where no shape is allowed."""

    rss_R: Floats
    shape_R: Ints
    drift_R: Ints
    residual_RN: Floats


def _fit(shapes: Shapes, share_RN: Floats, allowed_G: Bools) -> _Fit:
    numbers, range_R = np.flatnonzero(allowed_G), np.ptp(share_RN, axis=1)
    shape_GN, rows = shapes.shape_GN[numbers], np.arange(len(share_RN))
    rss_R, residual_RN = np.full(len(share_RN), np.inf), np.full(share_RN.shape, np.nan)
    shape_R, drift_R = np.zeros(len(share_RN), dtype=np.int64), np.zeros(len(share_RN), dtype=np.int64)
    for j in range(len(shapes.drift_JN) if len(numbers) else 0):
        basis_N2 = _basis(shapes, j)
        rest_RN = share_RN - share_RN @ basis_N2 @ basis_N2.T
        square_G = np.sum(shape_GN**2, axis=1) - np.sum((shape_GN @ basis_N2) ** 2, axis=1)
        square_G = np.where(square_G > 1e-6 * share_RN.shape[1], square_G, np.inf)
        product_RG = rest_RN @ shape_GN.T
        amplitude_RG = product_RG / square_G
        rss_RG = np.sum(rest_RN**2, axis=1)[:, None] - product_RG * amplitude_RG
        # A change beyond all values seen is one that the drift takes back: it is not there.
        rss_RG = np.where(np.abs(amplitude_RG) <= range_R[:, None] + 1e-9, np.maximum(rss_RG, 0), np.inf)
        best_R = rss_RG.argmin(axis=1)
        for r in np.flatnonzero(rss_RG[rows, best_R] < rss_R):
            g = best_R[r]
            rss_R[r], shape_R[r], drift_R[r] = rss_RG[r, g], numbers[g], j
            across_N = shape_GN[g] - basis_N2 @ (basis_N2.T @ shape_GN[g])
            residual_RN[r] = rest_RN[r] - amplitude_RG[r, g] * across_N
    return _Fit(rss_R, shape_R, drift_R, residual_RN)


def _basis(shapes: Shapes, drift: int) -> Floats:
    """(N, 2) an orthonormal basis of the constant and one drift."""
    columns_N2 = np.stack([np.ones_like(shapes.steps_N), shapes.drift_JN[drift]], axis=1)
    return np.asarray(np.linalg.qr(columns_N2)[0])


def _evidence(sharp: _Fit, smooth: _Fit) -> Floats:
    num_points = sharp.residual_RN.shape[1]
    least = num_points * CLOSEST_FIT**2
    correlation_R = np.clip(_correlation(sharp.residual_RN), 0, 0.95)
    effective_R = num_points * (1 - correlation_R) / (1 + correlation_R)
    is_fitted_R = np.isfinite(sharp.rss_R) & np.isfinite(smooth.rss_R)
    sharp_R, smooth_R = (np.where(is_fitted_R, fit.rss_R, 0) + least for fit in (sharp, smooth))
    return np.asarray(np.where(is_fitted_R, effective_R * np.log(smooth_R / sharp_R), np.nan))


def _correlation(residual_RN: Floats) -> Floats:
    """(R,) lag-1 autocorrelation; 0 of residuals that are all 0."""
    square_R = np.sum(residual_RN**2, axis=1)
    product_R = np.sum(residual_RN[:, 1:] * residual_RN[:, :-1], axis=1)
    return np.asarray(product_R / np.where(square_R > 0, square_R, 1))


def _refined(shapes: Shapes, share_N: Floats, best: _Fit, row: int) -> tuple[float, float, float]:
    """Change, centre and width of a run's best sigmoid, between the points of the grid; the drift is kept."""
    if not np.isfinite(best.rss_R[row]):
        return np.nan, np.nan, np.nan
    steps_N, basis_N2 = shapes.steps_N, _basis(shapes, int(best.drift_R[row]))
    rest_N = share_N - basis_N2 @ (basis_N2.T @ share_N)
    change, centre, width = np.nan, shapes.centre_G[best.shape_R[row]], shapes.width_G[best.shape_R[row]]
    gap = gaps(steps_N, np.array([centre]))[0]
    for scale in 0.5 ** np.arange(5):
        offset_G, factor_G = (a.ravel() for a in np.meshgrid(np.linspace(-1, 1, 5), np.linspace(-1, 1, 5)))
        centre_G, width_G = centre + offset_G * scale * gap / 2, width * 1.6 ** (factor_G * scale)
        shape_GN = sigmoid(steps_N, centre_G, width_G)
        across_GN = shape_GN - shape_GN @ basis_N2 @ basis_N2.T
        product_G, square_G = across_GN @ rest_N, np.maximum(np.sum(across_GN**2, axis=1), 1e-12)
        g = int(np.argmax(product_G**2 / square_G))
        change, centre, width = product_G[g] / square_G[g], centre_G[g], width_G[g]
    return float(change), float(centre), float(max(width, gap))


def _noise_like(residual_RN: Floats, rng: np.random.Generator) -> Floats:
    """First-order autoregressive noise with each row's spread and correlation."""
    correlation_R = np.clip(_correlation(residual_RN), 0, 0.95)
    fresh_RN = rng.normal(size=residual_RN.shape) * np.std(residual_RN, axis=1)[:, None]
    noise_RN: Floats = fresh_RN.copy()
    for n in range(1, noise_RN.shape[1]):
        noise_RN[:, n] = correlation_R * noise_RN[:, n - 1] + np.sqrt(1 - correlation_R**2) * fresh_RN[:, n]
    return noise_RN
