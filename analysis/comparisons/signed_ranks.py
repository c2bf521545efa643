"""The typical paired difference by signed ranks: Hodges and Lehmann's estimate with Wilcoxon's interval."""

from __future__ import annotations

from functools import cache

import numpy as np

from analysis.uncertainty.intervals import Z_95
from pipeline.arrays import Floats

# Up to so many pairs the interval is exact; beyond, the statistic is as good as normal.
_EXACT_PAIRS = 50
_BISECTIONS = 64


def hodges_lehmann(difference_SP: Floats) -> tuple[Floats, Floats, Floats]:
    """(S,) the median of all means of two differences, and the ends of its 95% interval; one result for each row.

    The interval holds the shifts that Wilcoxon's signed-rank test does not refuse (Hollander, Wolfe and Chicken 2014,
    Nonparametric Statistical Methods, 3.2 and 3.3). It needs differences that are symmetric about their middle, as
    those of arms that do the same are. Infinite ends of fewer than 6 pairs, which the test never refuses; NaN of none.

    >>> estimate_S, low_S, high_S = hodges_lehmann(np.arange(1.0, 9.0)[None])
    >>> estimate_S.round(6).tolist(), low_S.round(6).tolist(), high_S.round(6).tolist()
    ([4.5], [2.0], [7.0])
    """
    num_rows, num_pairs = difference_SP.shape
    if not num_pairs:
        return (np.full(num_rows, np.nan),) * 3
    sorted_SP = np.sort(difference_SP, axis=1)
    num_means = num_pairs * (num_pairs + 1) // 2
    cut = _critical(num_pairs)
    estimate_S = (_mean_at(sorted_SP, (num_means - 1) // 2) + _mean_at(sorted_SP, num_means // 2)) / 2
    if cut < 0:
        return estimate_S, np.full(num_rows, -np.inf), np.full(num_rows, np.inf)
    return estimate_S, _mean_at(sorted_SP, cut), _mean_at(sorted_SP, num_means - 1 - cut)


def _mean_at(sorted_SP: Floats, place: int) -> Floats:
    """(S,) of the sorted means of two differences (each with itself too) that at `place`, from 0 up, by bisection."""
    low_S, high_S = sorted_SP[:, 0], sorted_SP[:, -1]
    for _ in range(_BISECTIONS):
        middle_S = (low_S + high_S) / 2
        is_below_S = _num_at_most(sorted_SP, middle_S) <= place
        low_S, high_S = np.where(is_below_S, middle_S, low_S), np.where(is_below_S, high_S, middle_S)
        if np.all((high_S - low_S) <= 4e-16 * np.maximum(np.abs(low_S), np.abs(high_S))):
            break
    return np.asarray(high_S)


def _num_at_most(sorted_SP: Floats, shift_S: Floats) -> Floats:
    """(S,) number of means of two differences that are at most the shift."""
    # A mean is at most the shift if its second part is at most twice the shift less its first.
    total_S = np.zeros(len(sorted_SP))
    for row, (values_P, shift) in enumerate(zip(sorted_SP, shift_S, strict=True)):
        partners_P = np.searchsorted(values_P, 2 * shift - values_P, side="right")
        total_S[row] = np.maximum(partners_P - np.arange(len(values_P)), 0).sum()
    return total_S


@cache
def _critical(num_pairs: int) -> int:
    """The largest value at or below which the signed-rank statistic of so many pairs is in at most 2.5%, else -1."""
    mean = num_pairs * (num_pairs + 1) / 4
    if num_pairs > _EXACT_PAIRS:
        return int(np.floor(mean - Z_95 * np.sqrt(mean * (2 * num_pairs + 1) / 6) - 0.5))
    share_W = np.ones(1)
    for rank in range(1, num_pairs + 1):
        # Each rank is on either side with probability 1/2.
        share_W = (np.pad(share_W, (0, rank)) + np.pad(share_W, (rank, 0))) / 2
    return int(np.searchsorted(np.cumsum(share_W), 0.025 + 1e-12, side="right")) - 1
