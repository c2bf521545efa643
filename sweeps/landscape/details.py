"""What a page on the landscape quotes beside the claims: spectra, effects, other scales, spreads and boundaries."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np

from analysis.claims.sweeps import Sweeps, UndecidedError
from analysis.dynamics.interactions import joint_effects, largest_coefficients, largest_share, population_shares
from analysis.dynamics.walsh import main_effects, orders, total_effects, walsh_coefficients, walsh_spectrum
from analysis.uncertainty.intervals import Estimate
from pipeline.arrays import Floats
from sweeps.landscape.adam.details import details_of_adam
from sweeps.landscape.fates.details import details_of_all_fates, details_of_exchanges, details_of_fates
from sweeps.landscape.matrix_figures import NUMBERS_OF_SETS
from sweeps.landscape.measures import Factorial, Scale, factorials
from sweeps.landscape.settings.designs import details_of_designs
from sweeps.landscape.settings.details import details_of_settings
from sweeps.landscape.sizes.phase_diagram import phase_diagram
from sweeps.landscape.sizes.spreads import ARMS, spread_by_width
from sweeps.landscape.sizes.study import ALL_RATES, ALL_WIDTHS, RATES, WIDTHS
from sweeps.landscape.study import BY_MATRIX, LATER, ORDINARY, PAIRS

SCALES: tuple[Scale, ...] = ("log", "log, late doubled", "ranks")
_NUM_LARGEST = 24


def details(sweeps: Sweeps) -> dict[str, Any]:
    """Plain dicts and lists. An estimate is [value, low, high], with a 95% interval; absent parts were not trained.

    Intervals are over data streams for factorials, over seeds for spreads and boundaries.
    """
    found: dict[str, Any] = {}
    for name, part in _PARTS.items():
        try:
            found[name] = part(sweeps)
        except UndecidedError as error:
            found[name] = {"not there": str(error)}
    return found


def _factorials(sweeps: Sweeps) -> dict[str, Any]:
    return {
        scale: {each.pair.name: _of_pair(each) for each in factorials(sweeps, (*PAIRS, BY_MATRIX), scale)}
        for scale in SCALES
    }


def _of_pair(each: Factorial) -> dict[str, Any]:
    spectrum, mean_C = walsh_spectrum(each.values_DC), each.values_DC.mean(0)
    lower, upper = sorted((mean_C[0], mean_C[-1]))
    return {
        "parents": [each.pair.first, each.pair.second],
        "runs": each.num_runs,
        "runs that did not converge": each.num_late,
        "returning": spectrum.returning().to_json(),
        "by order": [spectrum.share(order).to_json() for order in range(1, len(each.factors) + 1)],
        "order 3 and above": spectrum.share(3, len(each.factors)).to_json(),
        "main effects": {
            name: effect.to_json() for name, effect in zip(each.factors, main_effects(each.values_DC), strict=True)
        },
        "main effects and all interactions of a factor": dict(
            zip(each.factors, total_effects(each.values_DC), strict=True)
        ),
        "in the largest eighth of the coefficients": largest_share(
            each.values_DC, each.values_DC.shape[1] // 8
        ).to_json(),
        "mean of first parent, second parent, fastest, median and slowest combination": [
            float(value) for value in (mean_C[0], mean_C[-1], mean_C.min(), np.median(mean_C), mean_C.max())
        ],
        "combinations faster than both parents": int((mean_C < lower).sum()),
        "combinations slower than both parents": int((mean_C > upper).sum()),
    }


def _matrices(sweeps: Sweeps) -> dict[str, Any]:
    (found,) = factorials(sweeps, (BY_MATRIX,))
    joint_GG = joint_effects(found.values_DC)
    pairs = itertools.combinations(range(len(found.factors)), 2)
    by_share = sorted(pairs, key=lambda pair: -joint_GG[pair])
    return {
        "share of the largest coefficients": {
            str(count): largest_share(found.values_DC, count).to_json() for count in NUMBERS_OF_SETS
        },
        "joint effects": {f"{found.factors[g]} and {found.factors[h]}": float(joint_GG[g, h]) for g, h in by_share},
        "largest coefficients": [
            {
                "factors": [found.factors[g] for g in each.factors],
                "value": each.value,
                "by data stream": list(each.by_seed),
            }
            for each in largest_coefficients(found.values_DC, _NUM_LARGEST)
        ],
        "standard error of a coefficient": float(walsh_coefficients(found.values_DC)[:, 1:].std(0, ddof=1).mean()),
    }


def _between_pairs(sweeps: Sweeps) -> dict[str, dict[str, float]]:
    """Correlation of two chosen pairs' coefficients, without that of the empty set: of order 1, and of the others.

    The fast parent's level is +1 in every pair, so that signs can be compared. Noise makes the correlation smaller.
    """
    found = factorials(sweeps)
    mean = {each.pair.name: walsh_coefficients(each.values_DC).mean(0) for each in found}
    order_C = orders(found[0].values_DC.shape[1])
    return {
        f"{one}, {other}": {
            "order 1": float(np.corrcoef(mean[one][order_C == 1], mean[other][order_C == 1])[0, 1]),
            "order 2 and above": float(np.corrcoef(mean[one][order_C > 1], mean[other][order_C > 1])[0, 1]),
        }
        for one, other in itertools.combinations(mean, 2)
    }


def _population(sweeps: Sweeps) -> dict[str, Any]:
    """Shares by order over random parents, from those between ordinary pairs, with jackknife intervals over pairs."""
    signal_PK = np.array([walsh_spectrum(each.values_DC).signal_K for each in factorials(sweeps, ORDINARY + LATER)])
    num_pairs = len(signal_PK)
    left_out_PK = np.array([population_shares(np.delete(signal_PK, p, axis=0).mean(0)) for p in range(num_pairs)])
    shares_K = population_shares(signal_PK.mean(0))
    return {"pairs": num_pairs, "shares of orders 1, 2, ...": _jackknifed(shares_K, left_out_PK)}


def _jackknifed(shares_K: Floats, left_out_PK: Floats) -> list[list[float | None]]:
    num_pairs = len(left_out_PK)
    half_K = 1.96 * np.sqrt((num_pairs - 1) * np.mean((left_out_PK - left_out_PK.mean(0)) ** 2, axis=0))
    return [Estimate(s, s - h, s + h).to_json() for s, h in zip(shares_K, half_K, strict=True)]


def _widths(sweeps: Sweeps) -> dict[str, Any]:
    """Of each arm, over the seeds of all sweeps over widths."""
    names = [name for name in ALL_WIDTHS if name == WIDTHS or sweeps.has(name)]
    found = {arm: spread_by_width(sweeps, arm, names)[0] for arm in ARMS}
    return {
        arm: {
            "exponent": by_width.exponent.to_json(),
            "widths": list(by_width.sizes),
            "runs": list(by_width.num_runs),
            "standard deviations of log time": [spread.to_json() for spread in by_width.spreads],
            "runs that did not converge": list(by_width.num_late),
        }
        for arm, by_width in found.items()
    }


def _rates(sweeps: Sweeps) -> dict[str, Any]:
    """Shares on the grid; boundaries by the grid alone, and with the runs about them."""
    grid = phase_diagram(sweeps)
    names = [name for name in ALL_RATES if name == RATES or sweeps.has(name)]
    found = phase_diagram(sweeps, names)
    return {
        "rates": grid.rates,
        "share that converged in time, by head width": {
            f"{width:g}": [grid.share(rate, width).to_json() for rate in grid.rates] for width in grid.head_widths
        },
        "runs": {"on the grid": len(grid.rate_R), "about its boundaries": len(found.rate_R) - len(grid.rate_R)},
        "lower boundary of heads of width 2 over that of width 8": found.ratio(2, 8).to_json(),
        **{
            f"{side} boundary{of_what}": {
                f"{width:g}": diagram.boundary(width, is_upper=side == "upper").to_json() for width in grid.head_widths
            }
            for side in ("lower", "upper")
            for of_what, diagram in (("", found), (" by the grid alone", grid))
        },
    }


_PARTS: dict[str, Callable[[Sweeps], Any]] = {
    "factorials": _factorials,
    "matrices": _matrices,
    "correlation of coefficients between chosen pairs": _between_pairs,
    "population": _population,
    "widths": _widths,
    "rates": _rates,
    "fates": details_of_fates,
    "all fates": details_of_all_fates,
    "exchanges": details_of_exchanges,
    "settings": details_of_settings,
    "designs": details_of_designs,
    "adam_epsilon": details_of_adam,
}
