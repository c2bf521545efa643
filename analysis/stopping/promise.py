"""Thresholds that promise how many converging runs a rule loses, from runs that it was not fitted to."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from analysis.uncertainty.exact import clopper_pearson_upper
from pipeline.arrays import Floats

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Threshold:
    """Runs are stopped where P(converged) is below `value`, which `num_lost` of the `num_convergers` were once.

    `is_promised`: with 95% confidence the rule loses at most the stated share of the runs that would converge. Else
    the share lost of the calibrating runs is at most that, which promises nothing.
    """

    value: float
    num_lost: int
    num_convergers: int
    is_promised: bool

    @property
    def upper(self) -> float:
        """The 95% upper bound (Clopper and Pearson) of the share of converging runs that the rule loses."""
        return clopper_pearson_upper(self.num_lost, self.num_convergers, CONFIDENCE)


def fewest_convergers(lose_at_most: float) -> int:
    """The least number of converging runs by which losing at most this share can be promised: 299 for 0.01.

    None of n is lost with probability (1 - share)^n where that share is; so the least n with (1 - share)^n <= 0.05.

    >>> fewest_convergers(0.01), fewest_convergers(0.05)
    (299, 59)
    """
    return math.ceil(math.log(1 - CONFIDENCE) / math.log1p(-lose_at_most) - 1e-9)


def most_lost(num_convergers: int, lose_at_most: float) -> int:
    """How many of the calibrating runs may be lost at most, so that the upper bound keeps to the share; -1 if none may.

    >>> most_lost(298, 0.01), most_lost(299, 0.01), most_lost(472, 0.01), most_lost(473, 0.01)
    (-1, 0, 0, 1)
    """
    count = -1
    while count + 1 < num_convergers and clopper_pearson_upper(count + 1, num_convergers, CONFIDENCE) <= lose_at_most:
        count += 1
    return count


def calibrated(lowest_C: Floats, lose_at_most: float, is_promised: bool = True) -> Threshold:
    """The highest threshold under which few enough of the calibrating runs are lost.

    `lowest_C` is, of each of C converging runs, the lowest P(converged) that it ever had where it could have been
    stopped (infinite where it could not be). Raising the threshold only adds to the runs that are stopped, so the
    thresholds are one ordered family, and testing them upwards until one fails is fixed-sequence testing with a
    binomial test at each (Angelopoulos, Bates, Candes, Jordan and Lei 2021, Learn then Test, section 3): with 95%
    confidence over the calibrating runs at most the stated share is lost. Without a promise the threshold is that
    under which the share of the calibrating runs that are lost is at most the stated one.
    Raises ValueError, with the number that it takes, where so few runs can promise nothing.

    >>> calibrated(np.arange(1000) / 1000, 0.01).value, calibrated(np.arange(100) / 100, 0.01, is_promised=False).value
    (0.004, 0.01)
    """
    num = len(lowest_C)
    allowed = most_lost(num, lose_at_most) if is_promised else math.floor(lose_at_most * num + 1e-9)
    if allowed < 0:
        raise ValueError(
            f"{num} converged runs to calibrate on cannot promise to lose at most {lose_at_most:.2g} of the converging "
            f"runs with {CONFIDENCE:.0%} confidence: that takes {fewest_convergers(lose_at_most)}"
        )
    sorted_C = np.sort(lowest_C)
    value = float(sorted_C[allowed]) if allowed < num else np.inf
    # Above 1 every run would be stopped; a threshold of 1 stops them just as well and is a number in any file.
    return Threshold(min(value, 1.0), int((lowest_C < min(value, 1.0)).sum()), num, is_promised)
