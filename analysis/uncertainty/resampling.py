"""Bootstrap weights over runs: independent runs, clusters, or crossed seeds (pigeonhole bootstrap)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from analysis.uncertainty.dependence import SeedGroups
from pipeline.arrays import Array, Floats, Ints
from pipeline.store.history import RunInfo

FEWEST_COMPONENTS = 5
LARGEST_COMPONENT = 0.6
CROSSED = ("init seeds", "data seeds")
_DRAWN_AT_ONCE = 2**22


@dataclass(frozen=True)
class Resamples:
    """B resamples of R runs, drawn when they are asked for. `unit` names in the plural what is resampled.

    There are `num_units` of them; of a crossed design, that is the smaller number of seeds that are resampled. No
    resamples (B = 0) where there is nothing to draw from. `units` number the unit of each run, of each kind that is
    drawn: how often a run is drawn is the product over kinds.
    """

    units: tuple[Ints, ...]
    num_runs: int
    bootstrap: int
    seed: int
    unit: str
    num_units: int
    are_independent: bool

    @property
    def weight_BR(self) -> Floats:
        """How often resample b draws run r."""
        return self.counts_with_estimate[1:].astype(np.float64)

    def with_estimate(self) -> Floats:
        """(1 + B, R): a row of ones, which gives the estimate itself, and then the resamples."""
        return self.counts_with_estimate.astype(np.float64)

    @cached_property
    def counts_with_estimate(self) -> Array:
        """The same in the smallest type of whole numbers that holds them, an eighth of the memory as a rule."""
        rng = np.random.default_rng(self.seed)
        drawn_by = [_drawn(unit_R, self.bootstrap, rng) for unit_R in self.units]
        most = int(np.prod([drawn_BU.max(initial=1) for drawn_BU in drawn_by], dtype=np.int64))
        counts_BR = np.ones((1 + self.bootstrap * bool(self.num_units), self.num_runs), np.min_scalar_type(most))
        # Of no runs there is nothing to resample.
        for unit_R, drawn_BU in zip(self.units, drawn_by, strict=True) if self.num_units else ():
            counts_BR[1:] *= drawn_BU.astype(counts_BR.dtype).take(unit_R, axis=1)
        return counts_BR


@dataclass(frozen=True)
class Units:
    """Number of independent units among runs, and what they are, in the plural."""

    num: int
    name: str


def independent_units(runs: Sequence[RunInfo]) -> Units:
    """What `resample` draws of these runs: seeds, groups of runs that share one, or the rarer kind of crossed seeds.

    >>> crossed = [RunInfo(f"run-{i}-{j}", "setting", i, j, {}) for i in range(6) for j in range(4)]
    >>> independent_units(crossed)
    Units(num=4, name='data seeds, crossed with 6 init seeds')
    """
    drawn = resample(runs, bootstrap=1, seed=0)
    if drawn.are_independent:
        return Units(drawn.num_units, "seeds")
    if len(drawn.units) < 2:
        return Units(drawn.num_units, drawn.unit)
    counts = {kind: int(unit_R.max()) + 1 for kind, unit_R in zip(CROSSED, drawn.units, strict=True)}
    rarer, other = sorted(CROSSED, key=lambda kind: (counts[kind], kind))
    return Units(counts[rarer], f"{rarer}, crossed with {counts[other]} {other}")


def resample(runs: Sequence[RunInfo], bootstrap: int, seed: int) -> Resamples:
    """`bootstrap` resamples of the runs, by the largest unit that their seeds leave independent.

    Runs without a seed or parent in common are drawn one by one. Else whole components are drawn (cluster bootstrap),
    if there are at least FEWEST_COMPONENTS and none holds more than LARGEST_COMPONENT of the runs. Else init seeds and
    data seeds are drawn apart and a run's weight is the product of both: the pigeonhole bootstrap of Owen (2007, The
    pigeonhole bootstrap, section 3), which overstates the variance of crossed designs rather than understating it. With
    a single seed of one kind only the other kind is drawn; with a single one of both, nothing.

    >>> runs = [RunInfo(f"run-{seed}", "setting", seed, seed, {}) for seed in range(10)]
    >>> resamples = resample(runs, bootstrap=200, seed=0)
    >>> resamples.unit, resamples.weight_BR.shape, set(resamples.weight_BR.sum(axis=1).tolist())
    ('runs', (200, 10), {10.0})
    >>> crossed = [RunInfo(f"run-{i}-{j}", "setting", i, j, {}) for i in range(6) for j in range(4)]
    >>> resample(crossed, bootstrap=200, seed=0).unit
    'init seeds times data seeds'
    """
    groups = SeedGroups.of(runs)
    given = (len(runs), bootstrap, seed)
    if groups.are_independent:
        return Resamples((np.arange(len(runs)),), *given, "runs", len(runs), True)
    if groups.num_components >= FEWEST_COMPONENTS and groups.largest_fraction <= LARGEST_COMPONENT:
        return Resamples(
            (groups.component_R,), *given, "groups of runs that share a seed", groups.num_components, False
        )
    kinds = dict(zip(CROSSED, (groups.init_R, groups.data_R), strict=True))
    drawn = {name: index_R for name, index_R in kinds.items() if index_R.max() >= 1}
    num_units = min((int(index_R.max()) + 1 for index_R in drawn.values()), default=0)
    return Resamples(tuple(drawn.values()), *given, " times ".join(drawn) or "nothing", num_units, False)


def _drawn(unit_R: Ints, bootstrap: int, rng: np.random.Generator) -> Array:
    """(B, U) times that each unit is drawn, when as many units as there are are drawn with replacement."""
    num_units = int(unit_R.max(initial=-1)) + 1
    if num_units == 0:
        return np.ones((bootstrap, 0), np.uint8)
    # A slice of resamples at a time, whose draws follow on one another: whole, they take eight bytes each.
    size, parts = max(1, _DRAWN_AT_ONCE // num_units), []
    for start in range(0, bootstrap, size):
        rows = min(size, bootstrap - start)
        part_BU = rng.multinomial(num_units, np.full(num_units, 1 / num_units), rows)
        parts.append(part_BU.astype(np.min_scalar_type(part_BU.max(initial=1))))
    return np.concatenate(parts) if parts else np.ones((0, num_units), np.uint8)
