"""The sweeps over sizes: widths at two kinds of rate, a grid of rates and head widths, and fresh seeds of both.

`wider` has other seeds than `widths`, and the width 128. `rates_low` and `rates_high` have other seeds than the grid
`rates`, and only rates about those at which half of the grid's runs converged in time: there a run tells most of the
boundary, and elsewhere next to nothing.
"""

from __future__ import annotations

from collections.abc import Mapping

from sweeps.papers import PaperSweep

WIDTHS, WIDER = "widths", "wider"
RATES, RATES_LOW, RATES_HIGH = "rates", "rates_low", "rates_high"
ALL_WIDTHS, ALL_RATES = (WIDTHS, WIDER), (RATES, RATES_LOW, RATES_HIGH)
BASE_WIDTH, BASE_RATE = 16, 3e-3
_WIDTHS = (16, 32, 64, 128)
_FRESH_SEEDS, _FRESH_SEEDS_AT_BOUNDARIES = (264, 392), (332, 372)
# By head width the rates at which half of the runs of `rates` converged in time, of the lower and the upper boundary.
_LOWER = {2: 2.4e-3, 3: 1.7e-3, 4: 1.3e-3, 8: 8.6e-4, 16: 5.6e-4}
_UPPER = {2: 2.5e-2, 3: 3.2e-2, 4: 2.8e-2, 8: 2.5e-2, 16: 2.3e-2}
_FACTOR = 1.3


def _wider() -> tuple[str, ...]:
    """Both kinds of rate at every width but the base width, where they are one."""
    points = [(width, BASE_RATE) for width in _WIDTHS]
    points += [(width, BASE_RATE * BASE_WIDTH / width) for width in _WIDTHS if width != BASE_WIDTH]
    return _points("landscape_wider", points, "model.width", _FRESH_SEEDS)


def _at_boundaries(name: str, middle: Mapping[int, float]) -> tuple[str, ...]:
    """Three rates about each boundary: the middle one, and a factor below and above it."""
    points = [
        (head_width, float(f"{rate * factor:.3g}"))
        for head_width, rate in middle.items()
        for factor in (1 / _FACTOR, 1.0, _FACTOR)
    ]
    return _points(f"landscape_{name}", points, "model.head_width", _FRESH_SEEDS_AT_BOUNDARIES)


def _points(name: str, points: list[tuple[int, float]], size: str, seeds: tuple[int, int]) -> tuple[str, ...]:
    sizes, rates = ([point[column] for point in points] for column in (0, 1))
    first, stop = seeds
    return (
        f"name={name}",
        f"vary=[{{{size}: {sizes}, optimiser.lr: {rates}}}]",
        f"seeds.together.range=[{first}, {stop}]",
    )


_ROOM = "landscape/sizes"
SIZE_SWEEPS = (
    PaperSweep(WIDTHS, f"{_ROOM}/widths.yaml"),
    PaperSweep(RATES, f"{_ROOM}/rates.yaml", fast=None),
    PaperSweep(WIDER, f"{_ROOM}/widths.yaml", None, _wider()),
    PaperSweep(RATES_LOW, f"{_ROOM}/rates.yaml", None, _at_boundaries(RATES_LOW, _LOWER)),
    PaperSweep(RATES_HIGH, f"{_ROOM}/rates.yaml", None, _at_boundaries(RATES_HIGH, _UPPER)),
)
