"""Dictionary of curve shapes fitted to learning curves: sharp sigmoids and smooth alternatives."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.arrays import Bools, Floats, Texts

SHARP, *SMOOTH = CURVE_FAMILIES = ("sharp sigmoid", "slow sigmoid", "exponential", "power law", "Hill", "line")
POINTS_EACH_SIDE = 3
MOST_CENTRES = 200
# A logistic of scale 1 takes this many steps from 10% to 90%.
LOGISTIC_WIDTH = 2 * np.log(9)


@dataclass(frozen=True)
class Abrupt:
    """Thresholds of an abrupt change; all must be met.

    The change takes at most `most_of_steps` of the grid's steps from 10% to 90%, and ends at a step at most
    `most_of_time` times that at which it began. The first depends on the budget; the second does not, and rules out
    decays from step 0, which have no plateau before. The change covers at least `least_change` of the way from chance
    to floor, and a sharp curve fits better than any smooth one by `least_evidence`, which is on the scale of a
    difference in BIC, where 10 is very strong (Kass and Raftery 1995, section 3.2).
    Raises ValueError where one is outside its range.
    """

    most_of_steps: float = 0.2
    most_of_time: float = 2.0
    least_change: float = 0.5
    least_evidence: float = 10.0

    def __post_init__(self) -> None:
        if not (0 < self.most_of_steps < 1 and 0 < self.least_change <= 1 and self.most_of_time > 1):
            raise ValueError(f"most_of_steps and least_change are shares and most_of_time is above 1, got {self}")

    def widest(self, centre_G: Floats, span: float) -> Floats:
        """(G,) the most steps that an abrupt change around `centre_G` may take, on a grid of `span` steps."""
        by_time_G = 2 * centre_G * (self.most_of_time - 1) / (self.most_of_time + 1)
        return np.asarray(np.minimum(by_time_G, self.most_of_steps * span))


@dataclass(frozen=True)
class Shapes:
    """Changes from 0 to 1, `shape_GN`, and drifts, `drift_JN`, at the N steps of a grid.

    `family_G` is one of CURVE_FAMILIES. `centre_G` and `width_G` (10% to 90%) are in steps, NaN but for sigmoids.
    `is_inside_G`: a sigmoid with POINTS_EACH_SIDE points before its 10% and after its 90%.
    """

    steps_N: Floats
    drift_JN: Floats
    shape_GN: Floats
    family_G: Texts
    centre_G: Floats
    width_G: Floats
    is_inside_G: Bools

    @classmethod
    def of(cls, steps_N: Floats, span: float, abrupt: Abrupt) -> Shapes:
        """All shapes for these increasing steps; `span` is the steps that `abrupt` takes its share of."""
        centre_C = _centres(steps_N)
        limit_C, gap_C = abrupt.widest(centre_C, span), gaps(steps_N, centre_C)
        parts = [
            _sigmoids(SHARP, steps_N, centre_C, gap_C / 4, limit_C, 10),
            _sigmoids("slow sigmoid", steps_N, centre_C, limit_C, np.full_like(limit_C, 4 * span), 12),
            *_smooth(steps_N, abrupt.most_of_time),
        ]
        family_G = np.concatenate([np.full(len(centre), family) for family, _, centre, _ in parts])
        shape_GN, centre_G, width_G = (np.concatenate([part[i] for part in parts]) for i in (1, 2, 3))
        with_margin = (steps_N[POINTS_EACH_SIDE - 1], steps_N[-POINTS_EACH_SIDE])
        is_inside_G = (centre_G - width_G / 2 >= with_margin[0]) & (centre_G + width_G / 2 <= with_margin[1])
        keep_G = is_inside_G | (family_G != SHARP)
        since_N, length = steps_N - steps_N[0], float(np.ptp(steps_N))
        drift_JN = np.concatenate([_exponentials(since_N, length * np.geomspace(0.01, 2, 12)), since_N[None] / length])
        return cls(
            steps_N,
            drift_JN,
            shape_GN[keep_G],
            family_G[keep_G],
            centre_G[keep_G],
            width_G[keep_G],
            is_inside_G[keep_G],
        )


FamilyShapes = tuple[str, Floats, Floats, Floats]


def sigmoid(steps_N: Floats, centre_G: Floats, width_G: Floats) -> Floats:
    """(G, N) logistic changes from 0 to 1, halfway at `centre_G`, with `width_G` steps from 10% to 90%."""
    # By tanh, which does not overflow where exp would.
    return np.asarray(0.5 + 0.5 * np.tanh((steps_N - centre_G[:, None]) * (LOGISTIC_WIDTH / 2 / width_G[:, None])))


def gaps(steps_N: Floats, at_C: Floats) -> Floats:
    """(C,) the distance of the two grid points around each step."""
    after_C = np.clip(np.searchsorted(steps_N, at_C), 1, len(steps_N) - 1)
    return np.asarray(steps_N[after_C] - steps_N[after_C - 1])


def _centres(steps_N: Floats) -> Floats:
    """Every step and every middle of two, thinned to MOST_CENTRES; none at 0, where no change can have begun."""
    centre_C = np.sort(np.concatenate([steps_N, (steps_N[1:] + steps_N[:-1]) / 2]))
    if len(centre_C) > MOST_CENTRES:
        centre_C = np.quantile(centre_C, np.linspace(0, 1, MOST_CENTRES))
    return np.asarray(centre_C[centre_C > 0])


def _sigmoids(
    family: str, steps_N: Floats, centre_C: Floats, low_C: Floats, high_C: Floats, count: int
) -> FamilyShapes:
    """`count` widths from low to high around each centre; none where low exceeds high."""
    use_C = low_C < high_C
    width_G = np.geomspace(low_C[use_C], high_C[use_C], count, axis=1).ravel()
    centre_G = np.repeat(centre_C[use_C], count)
    return family, sigmoid(steps_N, centre_G, width_G), centre_G, width_G


def _smooth(steps_N: Floats, most_of_time: float) -> list[FamilyShapes]:
    since_N, length = steps_N - steps_N[0], float(np.ptp(steps_N))
    tau_G, alpha_G = (a.ravel()[:, None] for a in np.meshgrid(length * np.geomspace(1 / 300, 1, 8), [0.3, 1, 3]))
    # t90 / t10 of a Hill curve of exponent n is 81^(1/n).
    half_G, ratio_G = (
        a.ravel()[:, None] for a in np.meshgrid(length * np.geomspace(0.02, 2, 16), np.geomspace(most_of_time, 1000, 7))
    )
    exponent_G = np.log(81) / np.log(ratio_G)
    shapes = {
        "exponential": _exponentials(since_N, length * np.geomspace(1 / 300, 3, 16)),
        "power law": 1 - (1 + since_N / tau_G) ** -alpha_G,
        "Hill": 1 / (1 + np.exp(exponent_G * (np.log(half_G) - np.log(np.maximum(steps_N, 1e-9))))),
        "line": since_N[None] / length,
    }
    return [(name, shape_GN, *(np.full(len(shape_GN), np.nan),) * 2) for name, shape_GN in shapes.items()]


def _exponentials(since_N: Floats, tau_G: Floats) -> Floats:
    return np.asarray(1 - np.exp(-since_N / tau_G[:, None]))
