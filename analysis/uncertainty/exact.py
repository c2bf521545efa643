"""Exact bounds of shares, apart from `intervals` because they need scipy, which light commands do without."""

from __future__ import annotations

from scipy.special import betaincinv


def clopper_pearson_upper(count: int, total: int, confidence: float = 0.95) -> float:
    """The one-sided exact upper bound of a share of which `count` of `total` were seen; 1 of nothing.

    Clopper and Pearson (1934): the share at which so few are seen with probability 1 - confidence.

    >>> round(clopper_pearson_upper(0, 299), 4), round(clopper_pearson_upper(5, 387), 4)
    (0.01, 0.027)
    """
    return float(betaincinv(count + 1, total - count, confidence)) if count < total else 1.0
