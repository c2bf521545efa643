"""Standard deviation of log times of which some are only known to be late, and how it scales with a size."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import log_ndtr

from analysis.uncertainty.intervals import Estimate, from_bootstrap
from analysis.uncertainty.resampling import resample
from pipeline.arrays import Bools, Floats
from pipeline.store.history import RunInfo

# Steps of expectation and maximisation: with half of the runs late, 100 leave an error below 1e-4 of the spread.
_NUM_ITERATIONS = 100
_MOST_LATE = 0.5


def censored_spread(value_R: Floats, is_late_R: Bools, weight_BR: Floats) -> Floats:
    """(B,) the standard deviation by maximum likelihood of a normal, of which late values are only known to be larger.

    `value_R` holds the bound of a late value. By expectation and maximisation (Dempster, Laird and Rubin 1977), for
    each row of weights. NaN where more than half of the weight is late, or nothing but one value is there.
    """
    total_B = np.maximum(weight_BR.sum(1), 1e-300)
    mean_B = weight_BR @ value_R / total_B
    sd_B = np.sqrt(np.maximum(weight_BR @ value_R**2 / total_B - mean_B**2, 0))
    least = 1e-6 * max(float(np.ptp(value_R)), 1e-300)
    is_known_B = (weight_BR @ is_late_R <= _MOST_LATE * total_B) & (sd_B > least)
    sd_B = np.where(sd_B > least, sd_B, 1.0)
    # Sums over the values that are known stay as they are.
    known_BR, known_R, late_BR = weight_BR[:, ~is_late_R], value_R[~is_late_R], weight_BR[:, is_late_R]
    sum_B, squares_B = known_BR @ known_R, known_BR @ known_R**2
    for _ in range(_NUM_ITERATIONS if is_late_R.any() else 0):
        # Beyond 30 standard deviations the hazard is linear in them.
        scaled_BL = np.clip((value_R[is_late_R] - mean_B[:, None]) / sd_B[:, None], -30, 30)
        # The hazard of a normal beyond the bound: density over what is left of the distribution.
        hazard_BL = np.exp(-(scaled_BL**2) / 2 - log_ndtr(-scaled_BL)) / np.sqrt(2 * np.pi)
        first_BL = mean_B[:, None] + sd_B[:, None] * hazard_BL
        variance_BL = sd_B[:, None] ** 2 * (1 + hazard_BL * scaled_BL - hazard_BL**2)
        mean_B = (sum_B + (late_BR * first_BL).sum(1)) / total_B
        second_B = (squares_B + (late_BR * (first_BL**2 + variance_BL)).sum(1)) / total_B
        sd_B = np.maximum(np.sqrt(np.maximum(second_B - mean_B**2, 0)), least)
    return np.where(is_known_B, sd_B, np.nan)


@dataclass(frozen=True)
class SpreadBySize:
    """Standard deviation of log time at each size with 95% intervals, and the exponent of its power law over sizes."""

    sizes: tuple[float, ...]
    spreads: tuple[Estimate, ...]
    num_runs: tuple[int, ...]
    num_late: tuple[int, ...]
    exponent: Estimate


def spread_by_size(
    size_R: Floats,
    log_time_R: Floats,
    is_late_R: Bools,
    runs: tuple[RunInfo, ...],
    *,
    bootstrap: int = 1000,
    seed: int = 0,
) -> SpreadBySize:
    """`censored_spread` at each size, and the slope of its logarithm on that of the size, by least squares.

    Sizes at which more than half of the runs are late have no spread and are left out of the slope, which is NaN with
    fewer than two sizes. Intervals are over seeds.
    """
    weight_BR = resample(runs, bootstrap, seed).with_estimate()
    sizes = np.unique(size_R)
    at_ZR = [size_R == size for size in sizes]
    spread_BZ = np.stack([censored_spread(log_time_R[at], is_late_R[at], weight_BR[:, at]) for at in at_ZR], axis=1)
    used = np.isfinite(spread_BZ[0])
    exponent = Estimate(np.nan)
    if used.sum() >= 2:
        x_Z = np.log(sizes[used]) - np.log(sizes[used]).mean()
        exponent = from_bootstrap(np.log(spread_BZ[:, used]) @ x_Z / np.sum(x_Z**2))
    return SpreadBySize(
        tuple(float(size) for size in sizes),
        tuple(from_bootstrap(spread_B) for spread_B in spread_BZ.T),
        tuple(int(at.sum()) for at in at_ZR),
        tuple(int(is_late_R[at].sum()) for at in at_ZR),
        exponent,
    )
