"""Thresholds that promise how many converging runs a rule loses, from runs that it was not fitted to."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from analysis.uncertainty.exact import clopper_pearson_upper
from pipeline.arrays import Floats

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Promise:
    """What a rule may lose, as shares of the runs that would converge.

    With 95% confidence over the calibrating runs at most `lose_at_most`, and on average over them at most
    `expect_at_most` (None: no limit of its own). Without `is_promised` at most `lose_at_most` of the calibrating runs,
    which promises nothing. Raises ValueError for shares outside (0, 1), and where `expect_at_most` has no effect.
    """

    lose_at_most: float = 0.01
    expect_at_most: float | None = None
    is_promised: bool = True

    def __post_init__(self) -> None:
        if not 0 < self.lose_at_most < 1:
            raise ValueError(f"lose_at_most must be between 0 and 1, given {self.lose_at_most:g}")
        if self.expect_at_most is None:
            return
        if not self.is_promised:
            raise ValueError("expect_at_most is a promise, and none was wanted")
        if not 0 < self.expect_at_most < self.lose_at_most:
            raise ValueError(
                f"expect_at_most must be between 0 and lose_at_most ({self.lose_at_most:g}), given "
                f"{self.expect_at_most:g}: who loses at most a share with {CONFIDENCE:.0%} confidence loses less on "
                "average"
            )

    def most_lost(self, num_convergers: int) -> int:
        """How many of so many calibrating runs may be lost; -1 where not even losing none promises as much.

        The first `a` of n exchangeable runs to be lost leave the next one lost with probability (a + 1) / (n + 1) on
        average (conformal risk control: Angelopoulos, Bates, Fisch, Lei and Schuster 2022).

        >>> Promise(0.02, 0.01).most_lost(98), Promise(0.02, 0.01).most_lost(299), Promise(0.02, 0.01).most_lost(1410)
        (-1, 1, 13)
        """
        if not self.is_promised:
            return math.floor(self.lose_at_most * num_convergers + 1e-9)
        bounded = most_lost(num_convergers, self.lose_at_most)
        if self.expect_at_most is None:
            return bounded
        return min(bounded, math.floor(self.expect_at_most * (num_convergers + 1) + 1e-9) - 1)

    @property
    def fewest(self) -> int:
        """The least number of converging runs to calibrate on by which it can be kept."""
        if not self.is_promised:
            return 0
        expected = 0 if self.expect_at_most is None else math.ceil(1 / self.expect_at_most - 1e-9) - 1
        return max(fewest_convergers(self.lose_at_most), expected)

    def in_words(self) -> str:
        """`to lose at most 0.02 of the converging runs with 95% confidence, and 0.01 on average`."""
        share = f"at most {self.lose_at_most:.2g}"
        if not self.is_promised:
            return f"to have lost {share} of them, which promises nothing"
        words = f"to lose {share} of the converging runs with {CONFIDENCE:.0%} confidence"
        return words if self.expect_at_most is None else f"{words}, and {self.expect_at_most:.2g} on average"


STRICT = Promise()


@dataclass(frozen=True)
class Threshold:
    """Runs are stopped below `value`, where `num_lost` of the `num_convergers` calibrating runs were at least once."""

    value: float
    num_lost: int
    num_convergers: int

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


def calibrated(lowest_C: Floats, promise: Promise) -> Threshold:
    """The highest threshold under which few enough of the calibrating runs are lost.

    `lowest_C` is, of each of C converging runs, the lowest P(converged) that it ever had where it could have been
    stopped (infinite where it could not be). Raising the threshold only adds to the runs that are stopped, so the
    thresholds are one ordered family, and testing them upwards until one fails is fixed-sequence testing with a
    binomial test at each (Angelopoulos, Bates, Candes, Jordan and Lei 2021, Learn then Test, section 3): with 95%
    confidence over the calibrating runs at most the stated share is lost.
    Raises ValueError, with the number that it takes, where so few runs can promise nothing.

    >>> calibrated(np.arange(1000) / 1000, Promise(0.01)).value, calibrated(np.arange(1000) / 1000, Promise(0.02)).value
    (0.004, 0.012)
    """
    num = len(lowest_C)
    allowed = promise.most_lost(num)
    if allowed < 0:
        raise ValueError(
            f"{num} converged runs to calibrate on cannot promise {promise.in_words()}: that takes {promise.fewest}"
        )
    sorted_C = np.sort(lowest_C)
    value = float(sorted_C[allowed]) if allowed < num else np.inf
    # Above 1 every run would be stopped; a threshold of 1 stops them just as well and is a number in any file.
    return Threshold(min(value, 1.0), int((lowest_C < min(value, 1.0)).sum()), num)
