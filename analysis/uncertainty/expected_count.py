"""How many of several runs converge, given the probability of each: expectation and interval. Needs numpy alone."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.arrays import Floats


@dataclass(frozen=True)
class ExpectedCount:
    """The expected number of `num_runs` runs that converge, with its 90% interval.

    The interval is of chance alone: it takes the probabilities as exact and the runs as independent of each other.
    """

    expected: float
    low: int
    high: int
    num_runs: int

    @classmethod
    def of(cls, probabilities: Sequence[float] | Floats) -> ExpectedCount:
        """From one probability per run: quantiles .05 and .95 of the Poisson binomial distribution.

        >>> ExpectedCount.of([0.5] * 100)
        ExpectedCount(expected=50.0, low=42, high=58, num_runs=100)
        >>> ExpectedCount.of([1.0, 1.0, 0.0]).text()
        '2 (90%: 2-2)'
        """
        probability_N = np.asarray(probabilities, dtype=np.float64)
        # Rounding may leave the last sum a little short of 1.
        cumulative_K = np.cumsum(poisson_binomial(probability_N)) + 1e-12
        low, high = (int(np.searchsorted(cumulative_K, level)) for level in (0.05, 0.95))
        return cls(float(probability_N.sum()), low, high, len(probability_N))

    def text(self) -> str:
        """`52 (90%: 44-59)`: expectation and interval."""
        return f"{self.expected:.0f} (90%: {self.low}-{self.high})"

    def of_runs_in_training(self, windows: Collection[float], problems: Mapping[str, int]) -> str:
        """A clause on runs in training, whose probabilities are from `windows` (shares of the budget).

        `problems` are the reasons why others have no probability, with their counts.

        >>> ExpectedCount.of([0.5] * 90).of_runs_in_training([0.5, 0.1], {})
        'about 45 (90%: 37-53) of 90 runs in training converge, from windows 0.1-0.5'
        >>> ExpectedCount.of([]).of_runs_in_training([], {"too early": 12})
        'runs in training: 12 have no forecast (too early)'
        """
        without = f"{sum(problems.values())} {'more ' if self.num_runs else ''}have no forecast"
        if len(problems) > 1:
            without += f", {max(problems.values())} of them"
        reasons = [f"{without} ({max(problems, key=lambda reason: problems[reason])})"] if problems else []
        if not self.num_runs:
            return f"runs in training: {reasons[0]}" if reasons else "no run is in training"
        ends = "-".join(f"{fraction:g}" for fraction in dict.fromkeys((min(windows), max(windows))))
        source = f"from window{'s' if len(set(windows)) > 1 else ''} {ends}"
        told = f"about {self.text()} of {self.num_runs} runs in training converge, {source}"
        return "; ".join([told, *reasons])


def poisson_binomial(probability_N: Floats) -> Floats:
    """(N + 1,) distribution of the number of successes in independent trials of these probabilities.

    The convolution of the distributions of single trials, in halves, which keeps the sums short.

    >>> poisson_binomial(np.array([0.5, 0.5])).tolist()
    [0.25, 0.5, 0.25]
    """
    if len(probability_N) == 0:
        return np.ones(1)
    if len(probability_N) == 1:
        return np.array([1 - probability_N[0], probability_N[0]])
    half = len(probability_N) // 2
    return np.convolve(poisson_binomial(probability_N[:half]), poisson_binomial(probability_N[half:]))
