"""Scaling exponent of a time with a size, by least squares on log medians."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from analysis.uncertainty.estimates import weighted_median
from analysis.uncertainty.intervals import Estimate, from_bootstrap
from analysis.uncertainty.resampling import resample
from pipeline.arrays import Bools, Floats
from pipeline.store.history import RunInfo

LEAST_SIZE = 20


def scaling_exponent(
    size_R: Floats,
    time_R: Floats,
    runs: Sequence[RunInfo],
    *,
    least_size: float = LEAST_SIZE,
    bootstrap: int = 1000,
    seed: int = 0,
) -> Estimate:
    """Slope of log time on log size, by least squares on the median of each size, with a 95% interval over seeds.

    `time_R` is one time per run, above 0, in any unit (`median_feature_time` reduces the features of a run). NaN is
    a time beyond what was recorded: it counts as later than all, and where that makes the median of a size infinite
    there is no exponent, since leaving slow runs out would flatten it. Sizes below `least_size` are left out, for the
    exponent is asymptotic. NaN with fewer than two sizes; no interval where the seeds leave nothing to resample.
    Raises ValueError for times that are not above 0.

    >>> size_R = np.repeat([20.0, 40.0, 80.0], 10)
    >>> runs = [RunInfo(f"run-{seed}", "setting", seed, seed, {}) for seed in range(30)]
    >>> round(scaling_exponent(size_R, 3 * size_R**2, runs).value, 6)
    2.0
    """
    if np.any(time_R <= 0):
        raise ValueError("times must be above 0")
    use = size_R >= least_size
    resamples = resample([run for run, is_used in zip(runs, use, strict=True) if is_used], bootstrap, seed)
    weight_BR = resamples.with_estimate()
    sizes = np.unique(size_R[use])
    if len(sizes) < 2:
        return Estimate(np.nan)
    log_time_R = np.log(np.where(np.isnan(time_R), np.inf, time_R))[use]
    median_BZ = np.stack(
        [weighted_median(log_time_R[size_R[use] == z], weight_BR[:, size_R[use] == z]) for z in sizes], axis=1
    )
    x_Z = np.log(sizes) - np.log(sizes).mean()
    return from_bootstrap(median_BZ @ x_Z / np.sum(x_Z**2))


@dataclass(frozen=True)
class LocalSlope:
    """The exponent between two neighbouring sizes, with its 95% interval over seeds."""

    smaller: float
    larger: float
    exponent: Estimate


@dataclass(frozen=True)
class ScalingDrift:
    """An exponent over a range of sizes, and those between neighbouring sizes, which a power law would make equal.

    `with_drift` is the exponent with an interval that holds those of all local slopes: what seeds leave open, and what
    the choice of the range does. It is not narrowed by more seeds.
    """

    overall: Estimate
    local: tuple[LocalSlope, ...]

    @property
    def with_drift(self) -> Estimate:
        """The exponent over the range, between the lowest and the highest end of any interval."""
        found = [self.overall, *(slope.exponent for slope in self.local)]
        return Estimate(self.overall.value, min(each.low for each in found), max(each.high for each in found))

    def text(self) -> str:
        """`1.98 (1.98-1.99) from 20 to 40, 1.90 (1.89-1.90) from 40 to 80`."""
        return ", ".join(f"{at.exponent.concise()} from {at.smaller:g} to {at.larger:g}" for at in self.local)


def scaling_drift(
    size_R: Floats,
    time_R: Floats,
    runs: Sequence[RunInfo],
    *,
    least_size: float = LEAST_SIZE,
    bootstrap: int = 1000,
    seed: int = 0,
) -> ScalingDrift:
    """`scaling_exponent` over all sizes from `least_size` on, and over every two neighbouring ones. Raises the same.

    >>> size_R = np.repeat([20.0, 40.0, 80.0], 10)
    >>> runs = [RunInfo(f"run-{seed}", "setting", seed, seed, {}) for seed in range(30)]
    >>> time_R = np.where(size_R < 80, size_R**2, 2 * size_R**2)
    >>> [round(slope.exponent.value, 2) for slope in scaling_drift(size_R, time_R, runs).local]
    [2.0, 3.0]
    """

    def over(is_used_R: Bools) -> Estimate:
        used = [run for run, is_used in zip(runs, is_used_R, strict=True) if is_used]
        return scaling_exponent(
            size_R[is_used_R], time_R[is_used_R], used, least_size=least_size, bootstrap=bootstrap, seed=seed
        )

    sizes = np.unique(size_R[size_R >= least_size])
    local = [
        LocalSlope(float(smaller), float(larger), over(np.isin(size_R, (smaller, larger))))
        for smaller, larger in pairwise(sizes)
    ]
    return ScalingDrift(over(np.ones(len(size_R), dtype=bool)), tuple(local))


def median_feature_time(time_RK: Floats) -> Floats:
    """(R,) the median over each run's K features, NaN (never reached) counting as later than all; NaN where it is."""
    median_R = np.median(np.where(np.isnan(time_RK), np.inf, time_RK), axis=1)
    return np.where(np.isfinite(median_R), median_R, np.nan)
