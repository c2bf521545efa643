"""The smallest deviation that a design would have caught: at a power of 80%, by a 95% interval."""

from __future__ import annotations

import numpy as np
from scipy.stats import binom

from analysis.uncertainty.intervals import Z_95, Estimate, wilson_proportion

POWER = 0.8
_Z_POWER = 0.8416212335729143
_SHARES = np.linspace(0.0, 1.0, 1001)


def smallest_deviation(estimate: Estimate) -> float:
    """How far beyond a border a figure must lie for its interval to leave the border out with a probability of POWER.

    In units of the figure. The standard error is that of the wider side of its interval, which n independent units and
    their spread give, and it is taken to be the same at the border: (z_.975 + z_.8) standard errors (Cohen 1988,
    Statistical Power Analysis, chapter 2). For shares use `smallest_deviation_of_share`, whose error is not the same
    everywhere. NaN without an interval, or where it is a point: equal values do not say how far others would differ.

    >>> round(smallest_deviation(Estimate(1.0, 0.9, 1.1)), 3)
    0.143
    """
    side = max(estimate.high - estimate.value, estimate.value - estimate.low)
    return float((Z_95 + _Z_POWER) * side / Z_95) if np.isfinite(side) and side > 0 else np.nan


def smallest_deviation_of_share(border: float, num_units: int, *, is_upper: bool) -> float:
    """The same of a share of independent units beyond `border`, exactly: from the binomial and Wilson's interval alone.

    `is_upper` where shares above the border are beyond it, otherwise those below. On a grid of thousandths. NaN where
    no share from 0 to 1 would be caught so often.

    >>> round(smallest_deviation_of_share(0.8, 64, is_upper=False), 3)
    0.156
    >>> smallest_deviation_of_share(0.98, 64, is_upper=True)
    nan
    """
    if num_units < 1:
        return np.nan
    shares = [wilson_proportion(count / num_units, num_units) for count in range(num_units + 1)]
    is_caught_C = np.array([share.low > border if is_upper else share.high < border for share in shares])
    power_S = binom.pmf(np.arange(num_units + 1), num_units, _SHARES[:, None]) @ is_caught_C
    distance_S = _SHARES - border if is_upper else border - _SHARES
    is_enough_S = (power_S >= POWER) & (distance_S > 0)
    return float(distance_S[is_enough_S].min()) if is_enough_S.any() else np.nan
