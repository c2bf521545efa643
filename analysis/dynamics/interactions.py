"""Which factors of a two-level factorial interact, how few coefficients suffice, and what random levels would show."""

from __future__ import annotations

from dataclasses import dataclass
from math import comb

import numpy as np

from analysis.dynamics.walsh import orders, squares, walsh_coefficients
from analysis.uncertainty.intervals import Z_95, Estimate
from pipeline.arrays import Bools, Floats

_NUM_SPLITS = 20


def ratio_of_squares(values_DC: Floats, upper_C: Floats, lower_C: Floats) -> Estimate:
    """Ratio of two weighted sums of squared Walsh coefficients, with a 95% interval over data seeds.

    Weights stand at the places of the coefficients. Squares are free of noise in expectation, as in `walsh_spectrum`,
    and the interval is by the delta method: of U / L it rests on the variance of U - (U / L) L.
    """
    square_C, variance_C = squares(walsh_coefficients(values_DC)), _variance_of_squares(values_DC)
    total = float(lower_C @ square_C)
    ratio = float(upper_C @ square_C) / total
    of_ratio = float((upper_C - ratio * lower_C) ** 2 @ variance_C)
    half = Z_95 * float(np.sqrt(of_ratio)) / abs(total)
    return Estimate(ratio, ratio - half, ratio + half)


def joint_effects(values_DC: Floats) -> Floats:
    """(G, G) share of the signal in all sets that hold both of two factors; on the diagonal, in those that hold one.

    Off the diagonal the total interaction index of Liu and Owen (2006, Journal of the American Statistical Association
    101), on it the total index of Sobol (1993). A set counts for each of its pairs, so shares add up to more than 1.
    """
    square_C = squares(walsh_coefficients(values_DC))
    holds_GC = _membership(len(square_C)).astype(float)
    return np.asarray((holds_GC * square_C) @ holds_GC.T / square_C[1:].sum())


def pairs_against_others(values_DC: Floats, pairs: list[tuple[int, int]]) -> Estimate:
    """Mean joint effect of these pairs of factors over that of all other pairs, with a 95% interval over data seeds."""
    holds_GC = _membership(values_DC.shape[1])
    chosen = {frozenset(pair) for pair in pairs}
    upper_C, lower_C, num_others = np.zeros(values_DC.shape[1]), np.zeros(values_DC.shape[1]), 0
    for one in range(len(holds_GC)):
        for other in range(one):
            both_C = holds_GC[one] & holds_GC[other]
            if frozenset((one, other)) in chosen:
                upper_C += both_C / len(chosen)
            else:
                lower_C += both_C
                num_others += 1
    return ratio_of_squares(values_DC, upper_C, lower_C / num_others)


def largest_share(values_DC: Floats, num_sets: int) -> Estimate:
    """Share of the signal in the `num_sets` largest coefficients, with a 95% interval over data seeds.

    The sets are chosen under one seed and measured under the others; averaged over the seed that chooses. A product of
    what chooses with what measures would count too much, since sets are chosen where the first is too large. So what
    chooses is split by random noise of its own variance into two independent halves (Rasines and Young 2023, Biometrika
    110): the sum of both chooses, their difference is measured. The interval takes the chosen sets as given.
    """
    found_DC = walsh_coefficients(values_DC)
    found_DC[:, 0] = 0
    size, rng = found_DC.shape[1], np.random.default_rng(0)
    spread_C, others_C = np.sqrt(_variances(found_DC)), np.ones(size)
    others_C[0] = 0
    total = squares(found_DC).sum()
    values, half = [], 0.0
    for seed, one_C in enumerate(found_DC):
        rest_C = np.delete(found_DC, seed, axis=0).mean(0)
        for _ in range(_NUM_SPLITS):
            noise_C = spread_C * rng.standard_normal(size) * others_C
            is_chosen_C = np.isin(np.arange(size), np.argsort(-np.abs(one_C + noise_C))[:num_sets])
            values.append(float(((one_C - noise_C) * rest_C)[is_chosen_C].sum() / total))
        given = ratio_of_squares(values_DC, is_chosen_C.astype(float), others_C)
        half = max(half, given.high - given.value)
    value = float(np.mean(values))
    return Estimate(value, value - half, value + half)


@dataclass(frozen=True)
class LargeCoefficient:
    """A set of factors by their numbers, and its coefficient: the mean over data seeds, and that under each of them."""

    factors: tuple[int, ...]
    value: float
    by_seed: tuple[float, ...]


def largest_coefficients(values_DC: Floats, num_sets: int) -> list[LargeCoefficient]:
    """The sets with the largest mean coefficients, largest first, without the empty one."""
    found_DC = walsh_coefficients(values_DC)
    mean_C = found_DC.mean(0)
    mean_C[0] = 0
    holds_GC = _membership(len(mean_C))
    return [
        LargeCoefficient(
            tuple(int(g) for g in np.flatnonzero(holds_GC[:, place])),
            float(mean_C[place]),
            tuple(float(value) for value in found_DC[:, place]),
        )
        for place in np.argsort(-np.abs(mean_C))[:num_sets]
    ]


def order_1_of_interactions(order: int) -> float:
    """Share of order 1 that two random levels of each factor show, of a function that has components of `order` alone.

    Over all levels of its factors such a function has no main effect. Between two levels drawn at random, each factor
    of a component is as likely to act by its mean as by its difference, so what is left has binomial orders.

    >>> [round(order_1_of_interactions(order), 3) for order in (1, 2, 3, 4)]
    [1.0, 0.667, 0.429, 0.267]
    """
    return float(order / (2**order - 1))


def population_shares(signal_K: Floats) -> Floats:
    """(K,) shares by order of a variance over levels that are drawn afresh, from those between two random levels.

    `signal_K` is the mean over pairs of random levels of what each order has between two. An order j of the population
    gives comb(j, k) / 2^j of its variance to order k, which this inverts; so shares are unbiased but not bound to 0 to
    1, and those of high orders have errors that grow with 2^j.
    """
    num_orders = len(signal_K)
    given_KJ = np.array([[comb(j, k) / 2**j for j in range(1, num_orders + 1)] for k in range(1, num_orders + 1)])
    variance_J = np.linalg.solve(given_KJ, signal_K)
    return np.asarray(variance_J / variance_J.sum())


def _membership(num_combinations: int) -> Bools:
    """(G, C) whether a set holds a factor."""
    place_C = np.arange(num_combinations)
    num_factors = num_combinations.bit_length() - 1
    return np.array([(place_C >> g & 1).astype(bool) for g in range(num_factors)])


def _variance_of_squares(values_DC: Floats) -> Floats:
    """(C,) the sampling variance of each square."""
    found_DC = walsh_coefficients(values_DC)
    num_seeds, square_C, variance_C = len(found_DC), squares(found_DC), _variances(found_DC)
    pairs = num_seeds * (num_seeds - 1)
    return np.asarray(4 * variance_C * np.maximum(square_C, 0) / num_seeds + 2 * variance_C**2 / pairs)


def _variances(found_DC: Floats) -> Floats:
    """(C,) the variance of each coefficient over data seeds, taken as equal within an order."""
    order_C = orders(found_DC.shape[1])
    by_order = [found_DC.var(0, ddof=1)[order_C == order].mean() for order in range(order_C[-1] + 1)]
    return np.asarray(np.array(by_order)[order_C])
