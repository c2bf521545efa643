"""How many pairs of seeds find an effect with a power of 80%, each by the test whose interval is shown."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from analysis.uncertainty.intervals import Z_95
from pipeline.arrays import Floats

# Quantile of the normal distribution at a power of 80%.
Z_POWER = 0.8416212335729143


@dataclass(frozen=True)
class NeededPairs:
    """The pairs that find `effect` in 80% of comparisons, and how many `more` than there are; None if it is 0.

    `is_seen`: the effect is that of these very pairs, which is too large on average where it was large enough to be
    asked about.
    """

    effect: float
    is_seen: bool
    num_pairs: int | None
    more: int | None


def pairs_for_share(effect: float, discordant: float) -> float:
    """Pairs for a difference of two shares, where `discordant` of all pairs differ in their outcome.

    Connor (1987, Sample size for testing differences in proportions for the paired-sample design, equation 3).

    >>> round(pairs_for_share(0.1, 0.2), 1)
    154.6
    """
    most = min(max(discordant, abs(effect)), 1.0)
    spread = Z_95 * np.sqrt(most) + Z_POWER * np.sqrt(max(most - effect**2, 0))
    return float(spread**2 / effect**2) if effect**2 else np.inf


def pairs_for_mean(effect: float, difference_U: Floats) -> float:
    """Pairs for a mean difference by the paired t-test, with the spread of these.

    Guenther (1981, Sample size formulas for normal theory t tests): the normal formula and half of its squared quantile
    more.
    """
    variance = float(np.var(difference_U, ddof=1))
    return (Z_95 + Z_POWER) ** 2 * variance / effect**2 + Z_95**2 / 2 if effect**2 else np.inf


def pairs_for_shift(effect: float, difference_U: Floats) -> float:
    """Pairs for a shift by Wilcoxon's test, of differences that are spread as these are about their middle.

    Noether (1987, Sample size determination for some common nonparametric tests, equation 10).
    """
    centred_U = difference_U - np.median(difference_U) + effect
    # Of the means of two different ones, the share above 0; ties count half.
    sums_UU = centred_U[:, None] + centred_U
    above = (np.sign(sums_UU).sum() - np.sign(np.diag(sums_UU)).sum()) / (len(centred_U) * (len(centred_U) - 1))
    return float((Z_95 + Z_POWER) ** 2 / (3 * (above / 2) ** 2)) if above else np.inf


def needed_pairs(effect: float, is_seen: bool, pairs: float, num_now: int) -> NeededPairs:
    """The number of pairs that a formula gives, in whole pairs, beside those that there are."""
    if not np.isfinite(pairs):
        return NeededPairs(effect, is_seen, None, None)
    whole = int(np.ceil(pairs - 1e-9))
    return NeededPairs(effect, is_seen, whole, max(whole - num_now, 0))
