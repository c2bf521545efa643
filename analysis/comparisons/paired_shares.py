"""The difference of two paired shares, with Newcombe's score interval. Arrays may have any shape of simulations."""

from __future__ import annotations

import numpy as np

from analysis.uncertainty.intervals import Z_95
from pipeline.arrays import Floats


def newcombe_interval(both: Floats, only_a: Floats, only_b: Floats, neither: Floats) -> tuple[Floats, Floats]:
    """The 95% interval of (share in b) - (share in a), from counts of pairs with success in both, in one, in neither.

    Newcombe (1998, Improved confidence intervals for the difference between binomial proportions based on paired data,
    method 10): Wilson's intervals of the two shares, joined by squares less what their correlation takes away. NaN
    without a pair.

    >>> counts = (np.array(36.0), np.array(2.0), np.array(12.0), np.array(0.0))
    >>> [round(float(end), 4) for end in newcombe_interval(*counts)]
    [0.0569, 0.3404]
    """
    total = both + only_a + only_b + neither
    with np.errstate(divide="ignore", invalid="ignore"):
        share_a, share_b = (both + only_a) / total, (both + only_b) / total
        below_a, above_a = _wilson_arms(share_a, total)
        below_b, above_b = _wilson_arms(share_b, total)
        phi = _correlation(both, only_a, only_b, neither)
        below = below_b**2 - 2 * phi * below_b * above_a + above_a**2
        above = above_b**2 - 2 * phi * above_b * below_a + below_a**2
        difference = share_b - share_a
        return difference - np.sqrt(np.maximum(below, 0)), difference + np.sqrt(np.maximum(above, 0))


def _wilson_arms(share: Floats, total: Floats) -> tuple[Floats, Floats]:
    """How far the ends of Wilson's interval lie below and above the share."""
    z2 = Z_95**2
    centre = (share + z2 / (2 * total)) / (1 + z2 / total)
    half = Z_95 / (1 + z2 / total) * np.sqrt(share * (1 - share) / total + z2 / (4 * total**2))
    return share - (centre - half), centre + half - share


def _correlation(both: Floats, only_a: Floats, only_b: Floats, neither: Floats) -> Floats:
    """The correlation of the two outcomes, with Newcombe's continuity correction where it is positive; 0 at margins."""
    margins = (both + only_a) * (only_b + neither) * (both + only_b) * (only_a + neither)
    product, total = both * neither - only_a * only_b, both + only_a + only_b + neither
    corrected = np.where(product > 0, np.maximum(product - total / 2, 0), product)
    return np.where(margins > 0, corrected / np.sqrt(np.where(margins > 0, margins, 1)), 0.0)
