"""Exact bounds of shares and medians, apart from `intervals`, for they need scipy: light commands do without it."""

from __future__ import annotations

import numpy as np
from scipy.special import betaincinv
from scipy.stats import binom

from analysis.uncertainty.intervals import Estimate
from pipeline.arrays import Floats


def clopper_pearson_upper(count: int, total: int, confidence: float = 0.95) -> float:
    """The one-sided exact upper bound of a share of which `count` of `total` were seen; 1 of nothing.

    Clopper and Pearson (1934): the share at which so few are seen with probability 1 - confidence.

    >>> round(clopper_pearson_upper(0, 299), 4), round(clopper_pearson_upper(5, 387), 4)
    (0.01, 0.027)
    """
    return float(betaincinv(count + 1, total - count, confidence)) if count < total else 1.0


def median_interval(value_R: Floats) -> Estimate:
    """The median of independent values, between the order statistics that cover the true one in 95% of samples.

    With n values the r-th smallest and the r-th largest, r the largest rank for which a binomial of n halves is below r
    with a probability of at most .025 (Thompson 1936, Ann. Math. Stat. 7, 122). Exact for any continuous distribution,
    and no narrower than 95% for others. Without an interval for fewer than 6 values, of which no rank is enough.
    Infinities count as large; NaN of nothing, and where the median is infinite. Raises ValueError for NaN values.

    >>> median_interval(np.arange(1.0, 11.0)).text(0)
    '6 (2-9)'
    >>> median_interval(np.arange(5.0)).text(0)
    '2 (n/a)'
    """
    if np.isnan(value_R).any():
        raise ValueError("a median needs values that are numbers, some are NaN")
    if not len(value_R):
        return Estimate(np.nan)
    sorted_R = np.sort(value_R)
    middle = float((sorted_R[(len(value_R) - 1) // 2] + sorted_R[len(value_R) // 2]) / 2)
    if not np.isfinite(middle):
        return Estimate(np.nan)
    # binom.ppf is the least k with P(B <= k) >= .025, so that fewer than k come with at most that probability.
    rank = int(binom.ppf(0.025, len(value_R), 0.5))
    return Estimate(middle, float(sorted_R[rank - 1]), float(sorted_R[-rank])) if rank else Estimate(middle)
