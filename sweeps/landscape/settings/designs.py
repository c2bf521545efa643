"""Which factorial decides with fewest runs: how far pairs of parents differ, and how exactly one is measured."""

from __future__ import annotations

from typing import Any

import numpy as np

from analysis.claims.sweeps import Sweeps
from analysis.dynamics.walsh import walsh_spectrum
from analysis.uncertainty.intervals import Z_95
from sweeps.landscape.measures import Factorial, factorials
from sweeps.landscape.settings.measures import merged_factors
from sweeps.landscape.settings.study import OF_SEVEN
from sweeps.landscape.study import LATER, ORDINARY

# Coarser groups of the seven, by their numbers there: none, those of other settings, and fewer.
_GROUPINGS: dict[int, tuple[tuple[int, ...], ...]] = {
    7: tuple((g,) for g in range(7)),
    5: OF_SEVEN,
    4: ((0, 1), (2, 3), (4,), (5, 6)),
    3: ((0, 1), (2, 3), (4, 5, 6)),
}
_HALF_WIDTH = 0.1


def details_of_designs(sweeps: Sweeps) -> list[dict[str, Any]]:
    """By number of groups, of setting A's ordinary pairs: order 1, its spread over pairs, and what a pair's noise adds.

    `runs for +-0.1` are those of as many pairs as give the mean share a 95% interval of that half-width.
    """
    found = factorials(sweeps, ORDINARY + LATER)
    return [_design([merged_factors(each, groups) for each in found]) for groups in _GROUPINGS.values()]


def _design(found: list[Factorial]) -> dict[str, Any]:
    estimates = [walsh_spectrum(each.values_DC).share(1) for each in found]
    variance = float(np.var([estimate.value for estimate in estimates], ddof=1))
    within = float(np.mean([((estimate.high - estimate.low) / 2 / Z_95) ** 2 for estimate in estimates]))
    num_pairs = variance * (Z_95 / _HALF_WIDTH) ** 2
    return {
        "groups": len(found[0].factors),
        "runs of a pair": found[0].num_runs,
        "order 1": float(np.mean([estimate.value for estimate in estimates])),
        "standard deviation over pairs": variance**0.5,
        "standard error of a pair": within**0.5,
        "pairs for +-0.1": num_pairs,
        "runs for +-0.1": num_pairs * found[0].num_runs,
    }
