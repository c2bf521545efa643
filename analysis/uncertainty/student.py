"""Intervals of means of few units by Student's t, apart from `intervals`, for they need scipy."""

from __future__ import annotations

import numpy as np
from scipy.special import stdtrit

from analysis.uncertainty.intervals import Estimate
from pipeline.arrays import Floats


def mean_over_units(value_N: Floats) -> Estimate:
    """The mean of N independent units with its 95% interval by Student's t; without an interval of fewer than two.

    >>> mean_over_units(np.array([0.4, 0.5, 0.6])).text()
    '.50 (.25-.75)'
    """
    value, count = float(np.mean(value_N)), len(value_N)
    if count < 2:
        return Estimate(value)
    half = float(stdtrit(count - 1, 0.975) * np.std(value_N, ddof=1) / np.sqrt(count))
    return Estimate(value, value - half, value + half)


def difference_of_means(value_N: Floats, other_M: Floats) -> Estimate:
    """The mean of the first units less that of the others, with a 95% interval that lets their variances differ.

    Degrees of freedom are those of Welch (1947, Biometrika 34). No interval where one sample has fewer than two units.

    >>> difference_of_means(np.array([0.4, 0.5, 0.6]), np.array([0.1, 0.2, 0.3])).text()
    '.30 (.07-.53)'
    """
    value = float(np.mean(value_N) - np.mean(other_M))
    sizes = np.array([len(value_N), len(other_M)])
    if sizes.min() < 2:
        return Estimate(value)
    of_mean = np.array([np.var(value_N, ddof=1), np.var(other_M, ddof=1)]) / sizes
    freedom = of_mean.sum() ** 2 / np.sum(of_mean**2 / (sizes - 1)) if of_mean.sum() > 0 else float(sizes.sum() - 2)
    half = float(stdtrit(freedom, 0.975) * np.sqrt(of_mean.sum()))
    return Estimate(value, value - half, value + half)
