"""What a page on the landscape quotes beside the claims: spectra, main effects, other scales, agreement of pairs."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from analysis.claims.sweeps import Sweeps
from analysis.dynamics.walsh import (
    main_effects,
    orders,
    share_of_largest,
    total_effects,
    walsh_coefficients,
    walsh_spectrum,
)
from sweeps.landscape.measures import Factorial, Scale, factorials

SCALES: tuple[Scale, ...] = ("log", "log, late doubled", "ranks")


def details(sweeps: Sweeps) -> dict[str, Any]:
    """Plain dicts and lists: for each pair and scale shares by order, and how alike the pairs' coefficients are.

    An estimate is [value, low, high], with a 95% interval over data streams.
    """
    found: dict[str, Any] = {scale: {} for scale in SCALES}
    for scale in SCALES:
        for each in factorials(sweeps, scale):
            found[scale][each.pair.name] = _of_pair(each)
    return found | {"correlation of coefficients between pairs": _agreement(factorials(sweeps))}


def _of_pair(each: Factorial) -> dict[str, Any]:
    spectrum, num_sets = walsh_spectrum(each.values_DC), each.values_DC.shape[1]
    mean_C = each.values_DC.mean(0)
    return {
        "parents": [each.pair.fast, each.pair.slow],
        "runs": each.num_runs,
        "runs that did not converge": each.num_late,
        "returning": spectrum.returning().to_json(),
        "by order": [spectrum.share(order).to_json() for order in range(1, len(each.factors) + 1)],
        "main effects": {
            name: effect.to_json() for name, effect in zip(each.factors, main_effects(each.values_DC), strict=True)
        },
        "main effects and all interactions of a factor": dict(
            zip(each.factors, total_effects(each.values_DC), strict=True)
        ),
        "in the largest eighth of the coefficients": share_of_largest(each.values_DC, num_sets // 8),
        "mean of fast parent, slow parent, fastest, median and slowest combination": [
            float(value) for value in (mean_C[0], mean_C[-1], mean_C.min(), np.median(mean_C), mean_C.max())
        ],
        "combinations faster than the fast parent": int((mean_C < mean_C[0]).sum()),
        "combinations slower than the slow parent": int((mean_C > mean_C[-1]).sum()),
    }


def _agreement(found: list[Factorial]) -> dict[str, dict[str, float]]:
    """Correlation of two pairs' coefficients, without that of the empty set: of order 1, and of the others.

    The fast parent's level is +1 in every pair, so that signs can be compared. Noise makes the correlation smaller.
    """
    mean = {each.pair.name: walsh_coefficients(each.values_DC).mean(0) for each in found}
    order_C = orders(found[0].values_DC.shape[1])
    return {
        f"{one}, {other}": {
            "order 1": float(np.corrcoef(mean[one][order_C == 1], mean[other][order_C == 1])[0, 1]),
            "order 2 and above": float(np.corrcoef(mean[one][order_C > 1], mean[other][order_C > 1])[0, 1]),
        }
        for one, other in itertools.combinations(mean, 2)
    }
