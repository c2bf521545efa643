"""Evidence that may be looked at after every pair: e-processes and the intervals that they do not refuse.

An e-process against a hypothesis is what a gambler owns who began with 1 and bet against it on every pair in turn, at
fair odds. If the hypothesis holds, it ever reaches 20 with a probability of at most 5%, whenever one looks or stops
(Ville 1939; Ramdas, Gruenwald, Vovk and Shafer 2023, Game-theoretic statistics and safe anytime-valid inference).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import betaln

from pipeline.arrays import Floats

# 1 / 5%.
REFUSED_AT = 20.0
_MOST_BET, _GRID = 0.5, 2001


@dataclass(frozen=True)
class Anytime:
    """What `num_units` independent pairs say, however often one looked before.

    `e_value` is against no difference; [`low`, `high`] holds the true difference at all looks together with a
    probability of at least 95%.
    """

    e_value: float
    low: float
    high: float
    num_units: int


def bounded_differences(difference_U: Floats) -> Anytime:
    """Of the mean difference, for differences from -1 to 1 in the order in which they came.

    >>> found = bounded_differences(np.tile([0.0, 1.0, 0.0], 20))
    >>> found.e_value > REFUSED_AT, 0 < found.low < 1 / 3 < found.high
    (True, True)
    """
    unit_1U = (np.asarray(difference_U)[None] + 1) / 2
    grid_M = np.linspace(0, 1, _GRID)
    e_value = np.exp(log_wealth(unit_1U, 0.5)[0, -1]) if unit_1U.size else 1.0
    wealth_M = log_wealth(np.repeat(unit_1U, _GRID, axis=0), grid_M)[:, -1] if unit_1U.size else np.zeros(_GRID)
    (open_K,) = np.nonzero(wealth_M < np.log(REFUSED_AT))
    # Outwards by a step of the grid, so that the ends are never too close.
    low, high = (grid_M[max(open_K[0] - 1, 0)], grid_M[min(open_K[-1] + 1, _GRID - 1)]) if len(open_K) else (0.5, 0.5)
    return Anytime(float(e_value), float(2 * low - 1), float(2 * high - 1), unit_1U.shape[1])


def log_wealth(value_SU: Floats, mean: float | Floats) -> Floats:
    """(S, U) log of the wealth after each value in [0, 1], against the hypothesis that their mean is `mean`, or (S,).

    Half of the stake is bet on a larger mean and half on a smaller one, each value with the share of its wealth that
    fits the variance seen before it (Waudby-Smith and Ramdas 2024, Estimating means of bounded random variables by
    betting, equations 24 to 26, the mean of both in place of the larger).
    """
    mean_S1 = np.broadcast_to(np.asarray(mean, dtype=np.float64), len(value_SU))[:, None]
    count_U = np.arange(1, value_SU.shape[1] + 1)
    mean_SU = (0.5 + np.cumsum(value_SU, axis=1)) / (count_U + 1)
    variance_SU = (0.25 + np.cumsum((value_SU - mean_SU) ** 2, axis=1)) / (count_U + 1)
    # A bet is fixed before the value: it knows those until then.
    before_SU = np.concatenate([np.full((len(value_SU), 1), 0.25), variance_SU[:, :-1]], axis=1)
    bet_SU = np.sqrt(2 * np.log(2 * REFUSED_AT) / (before_SU * count_U * np.log(count_U + 1)))
    with np.errstate(divide="ignore"):
        up_SU = np.minimum(bet_SU, _MOST_BET / mean_S1)
        down_SU = np.minimum(bet_SU, _MOST_BET / (1 - mean_S1))
    gain_SU = value_SU - mean_S1
    up_SU, down_SU = (np.cumsum(np.log1p(bets * gain_SU), axis=1) for bets in (up_SU, -down_SU))
    return np.asarray(np.logaddexp(up_SU, down_SU) - np.log(2))


def sign_differences(difference_U: Floats) -> Anytime:
    """Of the median difference, by signs alone, for differences in the order in which they came; ties say nothing.

    The interval holds the shifts whose signs are not refused (Howard and Ramdas 2022, Sequential estimation of
    quantiles); infinite where the pairs are too few.

    >>> sign_differences(np.arange(1.0, 21.0)).low
    4.0
    """
    sorted_U, num_units = np.sort(difference_U), len(difference_U)
    num_above, num_below = int((difference_U > 0).sum()), int((difference_U < 0).sum())
    e_value = float(np.exp(log_sign_wealth(np.array(num_above), np.array(num_above + num_below))))
    refused_K = log_sign_wealth(np.arange(num_units + 1), np.array(num_units)) >= np.log(REFUSED_AT)
    # The fewest differences above a shift that do not refuse it.
    fewest = int(np.argmin(refused_K))
    if not refused_K[0] or not num_units:
        return Anytime(e_value, -np.inf, np.inf, num_units)
    return Anytime(e_value, float(sorted_U[fewest - 1]), float(sorted_U[num_units - fewest]), num_units)


def log_sign_wealth(num_above: np.ndarray, num_signs: np.ndarray) -> Floats:
    """Log of the wealth after so many signs, of which so many are positive, against both being as likely.

    That of a gambler who spreads the stake evenly over all probabilities of a positive sign (Robbins 1970).
    """
    likelihood = betaln(1 + num_above, 1 + num_signs - num_above)
    return np.asarray(likelihood + num_signs * np.log(2), dtype=np.float64)
