"""How many of several runs converge, given the probability of each: expectation and interval. Needs numpy alone."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.arrays import Floats


@dataclass(frozen=True)
class ExpectedCount:
    """The expected number of `num_runs` runs that converge, with its 90% prediction interval.

    The runs are taken as independent of each other, given their probabilities.
    """

    expected: float
    low: int
    high: int
    num_runs: int

    @classmethod
    def of(cls, probabilities: Sequence[float] | Floats, num_learned: Sequence[int] | None = None) -> ExpectedCount:
        """From one probability per run: quantiles .05 and .95 of the Poisson binomial distribution.

        `num_learned` is from how many finished runs each probability was estimated. As far as the error of estimates is
        common to all runs it does not average out: if the variances of K runs add up to V, learning from n runs adds
        K V / n to the variance of their sum, as in a prediction interval, and the quantiles are moved apart for it.
        Without `num_learned` the probabilities count as exact.

        >>> ExpectedCount.of([0.5] * 100)
        ExpectedCount(expected=50.0, low=42, high=58, num_runs=100)
        >>> ExpectedCount.of([0.5] * 100, [50] * 100)
        ExpectedCount(expected=50.0, low=36, high=64, num_runs=100)
        """
        probability_N = np.asarray(probabilities, dtype=np.float64)
        # Rounding may leave the last sum a little short of 1.
        cumulative_K = np.cumsum(poisson_binomial(probability_N)) + 1e-12
        expected, ends = float(probability_N.sum()), np.searchsorted(cumulative_K, [0.05, 0.95])
        wider = 1.0 if num_learned is None else _widening(probability_N, np.asarray(num_learned, dtype=np.float64))
        low, high = expected + wider * (ends - expected)
        return cls(
            expected, int(max(np.floor(low + 1e-9), 0)), int(min(np.ceil(high - 1e-9), len(probability_N))),
            len(probability_N),
        )  # fmt: skip

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
        most = max(problems, key=lambda reason: problems[reason], default="")
        share = f"{problems[most]}: " if len(problems) > 1 else ""
        reasons = [f"{without} ({share}{most})"] if problems else []
        if not self.num_runs:
            return f"runs in training: {reasons[0]}" if reasons else "no run is in training"
        ends = "-".join(f"{fraction:g}" for fraction in dict.fromkeys((min(windows), max(windows))))
        source = f"from window{'s' if len(set(windows)) > 1 else ''} {ends}"
        told = f"about {self.text()} of {self.num_runs} runs in training converge, {source}"
        return "; ".join([told, *reasons])


def _widening(probability_N: Floats, learned_N: Floats) -> float:
    """Standard deviation of the sum with the error of estimation, in units of that without it."""
    variance_N = probability_N * (1 - probability_N)
    total = float(variance_N.sum())
    if total == 0:
        return 1.0
    # Estimates from different windows rest on the same runs, so their errors add up as if they were one.
    error = 0.0
    for size in np.unique(learned_N):
        of_size_N = learned_N == size
        error += float(np.sqrt(variance_N[of_size_N].sum() * of_size_N.sum() / size))
    return float(np.sqrt(1 + error**2 / total))


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
