"""Walsh spectrum of a two-level factorial: which orders of interaction carry the variance of what was measured.

Each of G factors has two levels, +1 and -1, and every one of the C = 2^G combinations is measured under D data seeds. A
function of the levels is a sum over sets S of factors of a coefficient times the product of the levels in S; the order
of a coefficient is the size of its set (Walsh 1923; as epistasis of fitness landscapes: Weinreich et al. 2013, Current
Opinion in Genetics and Development 23). With coefficients so normed, the variance over all combinations is the sum of
their squares without that of the empty set.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from analysis.uncertainty.intervals import Z_95, Estimate
from pipeline.arrays import Floats, Ints


def walsh_coefficients(values_DC: Floats) -> Floats:
    """(D, C) the coefficient of each set of factors, by the fast Walsh-Hadamard transform.

    Bit g of a place in C, counted from the lowest, is the level of factor g in `values_DC` (0 is +1, 1 is -1) and its
    membership of the set in what is returned. Raises ValueError unless C is a power of two.

    >>> levels = np.array([1, -1, 1, -1]), np.array([1, 1, -1, -1])
    >>> walsh_coefficients((3 + 2 * levels[0] - levels[0] * levels[1])[None].astype(float)).tolist()
    [[3.0, 2.0, 0.0, -1.0]]
    """
    num_combinations = values_DC.shape[-1]
    if num_combinations < 2 or num_combinations & (num_combinations - 1):
        raise ValueError(f"needs every combination of levels, a power of two, given {num_combinations}")
    found_DC, half = np.array(values_DC, dtype=np.float64), 1
    while half < num_combinations:
        paired = found_DC.reshape(*found_DC.shape[:-1], -1, 2, half)
        first, second = paired[..., 0, :], paired[..., 1, :]
        found_DC = np.stack([first + second, first - second], -2).reshape(found_DC.shape)
        half *= 2
    return np.asarray(found_DC / num_combinations)


def orders(num_combinations: int) -> Ints:
    """(C,) the order of each coefficient: the number of factors in its set."""
    return np.array([place.bit_count() for place in range(num_combinations)])


def squares(found_DC: Floats) -> Floats:
    """(C,) squares of coefficients without noise in expectation: the mean product under two different seeds.

    Below 0 at times. NaN with a single seed.
    """
    num_seeds = len(found_DC)
    return np.asarray((found_DC.sum(0) ** 2 - (found_DC**2).sum(0)) / (num_seeds * (num_seeds - 1)))


@dataclass(frozen=True)
class WalshSpectrum:
    """What returns under another data seed, by order; several factorials of equal factors are added up.

    `signal_K` and `noise_K` (K = G, order 1 first) are sums over the sets of an order: of squared coefficients, free
    of noise in expectation, so below 0 at times, and of the variances of a coefficient over data seeds.
    `signal_variance_K` is the sampling variance of the first, and `noise_variance_K` of the second.
    """

    signal_K: Floats
    noise_K: Floats
    signal_variance_K: Floats
    noise_variance_K: Floats

    def __add__(self, other: WalshSpectrum) -> WalshSpectrum:
        parts = ("signal_K", "noise_K", "signal_variance_K", "noise_variance_K")
        return WalshSpectrum(*(getattr(self, part) + getattr(other, part) for part in parts))

    def share(self, first: int, last: int | None = None) -> Estimate:
        """Share of the signal in the orders `first` to `last` (None: in `first` alone), with a 95% interval.

        The interval is normal, by the delta method, over data seeds: the factorial itself, its parents, is given.
        """
        stop = first if last is None else last
        inside, variance = self.signal_K[first - 1 : stop].sum(), self.signal_variance_K[first - 1 : stop].sum()
        total, rest = self.signal_K.sum(), self.signal_variance_K.sum() - variance
        share = inside / total
        return _with_interval(share, (variance * (1 - share) ** 2 + rest * share**2) / total**2)

    def returning(self) -> Estimate:
        """Share of the variance over combinations, under one data seed, that returns under another one."""
        signal, noise = self.signal_K.sum(), self.noise_K.sum()
        by_signal, by_noise = noise / (signal + noise) ** 2, signal / (signal + noise) ** 2
        variance = by_signal**2 * self.signal_variance_K.sum() + by_noise**2 * self.noise_variance_K.sum()
        return _with_interval(signal / (signal + noise), variance)


def walsh_spectrum(values_DC: Floats) -> WalshSpectrum:
    """The spectrum of one factorial under D >= 2 data seeds.

    The square of a coefficient is the mean product of its estimates under two different seeds, which has no noise in
    its expectation. The variance over seeds is taken as equal within an order, not between orders: what a data stream
    changes may be of low order. Raises ValueError with fewer than two seeds.
    """
    num_seeds, num_combinations = values_DC.shape
    if num_seeds < 2:
        raise ValueError("one data seed has no noise floor: needs two or more")
    found_DC, order_C = walsh_coefficients(values_DC), orders(num_combinations)
    pairs, square_C = num_seeds * (num_seeds - 1), squares(found_DC)
    variance_C = found_DC.var(0, ddof=1)
    parts = []
    for order in range(1, order_C[-1] + 1):
        inside = order_C == order
        signal, variance, count = square_C[inside].sum(), variance_C[inside].mean(), inside.sum()
        # Of a product of two estimates b + e1 and b + e2 the variance is 2 b^2 v + v^2, v that of e; here of their mean
        # over all pairs of seeds.
        of_signal = 4 * variance * max(signal, 0.0) / num_seeds + 2 * count * variance**2 / pairs
        parts.append((signal, count * variance, of_signal, 2 * count * variance**2 / (num_seeds - 1)))
    return WalshSpectrum(*np.array(parts).T)


def main_effects(values_DC: Floats) -> list[Estimate]:
    """Share of the signal that is each factor's main effect, in the order of the factors, with 95% intervals."""
    spectrum, num_seeds = walsh_spectrum(values_DC), len(values_DC)
    total = spectrum.signal_K.sum()
    square_G = squares(walsh_coefficients(values_DC))[1 << np.arange(len(spectrum.signal_K))]
    variance = spectrum.noise_K[0] / len(spectrum.noise_K)
    found = []
    for square in square_G:
        own = 4 * variance * max(square, 0.0) / num_seeds + 2 * variance**2 / (num_seeds * (num_seeds - 1))
        share, rest = square / total, max(spectrum.signal_variance_K.sum() - own, 0.0)
        found.append(_with_interval(share, (own * (1 - share) ** 2 + rest * share**2) / total**2))
    return found


def total_effects(values_DC: Floats) -> list[float]:
    """Share of the signal in all sets that hold a factor, for each of them: its main effect and all its interactions.

    The total index of Sobol (1993). Sets of several factors count for each, so these shares add up to more than 1.
    """
    square_C = squares(walsh_coefficients(values_DC))
    place_C, total = np.arange(len(square_C)), square_C[1:].sum()
    num_factors = len(square_C).bit_length() - 1
    return [float(square_C[(place_C >> g & 1).astype(bool)].sum() / total) for g in range(num_factors)]


def _with_interval(value: float, variance: float) -> Estimate:
    half = Z_95 * float(np.sqrt(variance))
    return Estimate(float(value), float(value) - half, float(value) + half)
