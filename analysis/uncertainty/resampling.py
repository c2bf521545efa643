"""Bootstrap weights over runs: independent runs, clusters, or crossed seeds (pigeonhole bootstrap)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from analysis.uncertainty.dependence import SeedGroups
from pipeline.arrays import Floats, Ints
from pipeline.store.history import RunInfo

FEWEST_COMPONENTS = 5
LARGEST_COMPONENT = 0.6


@dataclass(frozen=True)
class Resamples:
    """`weight_BR` says how often resample b draws run r. `unit` names in the plural what was resampled.

    There are `num_units` of them; of a crossed design, that is the smaller number of seeds that were resampled. No
    resamples (B = 0) where there is nothing to draw from.
    """

    weight_BR: Floats
    unit: str
    num_units: int
    are_independent: bool

    def with_estimate(self) -> Floats:
        """(1 + B, R): a row of ones, which gives the estimate itself, and then the resamples."""
        return np.concatenate([np.ones((1, self.weight_BR.shape[1])), self.weight_BR])


@dataclass(frozen=True)
class Units:
    """Number of independent units among runs, and what they are, in the plural."""

    num: int
    name: str


def independent_units(runs: Sequence[RunInfo]) -> Units:
    """What `resample` draws of these runs: seeds, groups of runs that share one, or the rarer kind of crossed seeds.

    >>> crossed = [RunInfo(f"run-{i}-{j}", "setting", i, j, {}) for i in range(6) for j in range(4)]
    >>> independent_units(crossed)
    Units(num=4, name='init seeds times data seeds')
    """
    drawn = resample(runs, bootstrap=1, seed=0)
    return Units(drawn.num_units, "seeds" if drawn.are_independent else drawn.unit)


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
    groups, rng = SeedGroups.of(runs), np.random.default_rng(seed)
    if groups.are_independent:
        return Resamples(_drawn(np.arange(len(runs)), bootstrap, rng), "runs", len(runs), True)
    if groups.num_components >= FEWEST_COMPONENTS and groups.largest_fraction <= LARGEST_COMPONENT:
        weight_BR = _drawn(groups.component_R, bootstrap, rng)
        return Resamples(weight_BR, "groups of runs that share a seed", groups.num_components, False)
    return _pigeonhole(groups, bootstrap, rng)


def _pigeonhole(groups: SeedGroups, bootstrap: int, rng: np.random.Generator) -> Resamples:
    kinds = {"init seeds": groups.init_R, "data seeds": groups.data_R}
    drawn = {name: index_R for name, index_R in kinds.items() if index_R.max() >= 1}
    weight_BR = np.ones((bootstrap if drawn else 0, len(groups.init_R)))
    for index_R in drawn.values():
        weight_BR = weight_BR * _drawn(index_R, bootstrap, rng)
    unit = " times ".join(drawn) or "nothing"
    return Resamples(weight_BR, unit, min((int(i.max()) + 1 for i in drawn.values()), default=0), False)


def _drawn(unit_R: Ints, bootstrap: int, rng: np.random.Generator) -> Floats:
    """(B, R) times that each run's unit is drawn, when as many units as there are are drawn with replacement."""
    num_units = int(unit_R.max(initial=-1)) + 1
    if num_units == 0:
        return np.ones((0, 0))
    draws_BU = rng.multinomial(num_units, np.full(num_units, 1 / num_units), bootstrap)
    return np.asarray(draws_BU[:, unit_R], dtype=np.float64)
