"""Cross-validation folds in which training and test runs share no seed and no data stream."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from analysis.uncertainty.dependence import SeedGroups, describe_shared_streams
from analysis.uncertainty.resampling import LARGEST_COMPONENT
from pipeline.arrays import Bools, Ints
from pipeline.store.history import RunInfo

# Pairs count inside a fold only, so a setting should keep about this many runs in each.
RUNS_PER_SETTING = 4


@dataclass(frozen=True)
class Fold:
    """One split of the sweep. Every run is in `test_R` of exactly one fold; some may be in neither half of a fold."""

    train_R: Bools
    test_R: Bools


@dataclass(frozen=True)
class Folds:
    """The splits of a sweep, with one sentence on what was held out, and one per stream that was not (`shared`)."""

    folds: tuple[Fold, ...]
    held_out: str
    shared: tuple[str, ...] = ()

    def settings_recur(self, setting_R: Sequence[str]) -> bool:
        """Whether every setting that is tested in a fold has training runs there."""
        settings = np.asarray(setting_R)
        return all(set(settings[fold.test_R]) <= set(settings[fold.train_R]) for fold in self.folds)


def held_out_seeds(runs: tuple[RunInfo, ...], folds: int = 5, seed: int = 0) -> Folds:
    """Folds in which train and test share no init_seed, no data_seed and no parent.

    Linked runs are kept together where at least two components exist and none holds more than 60% of the runs. In a
    crossed design all are connected; then init seeds and data seeds are each divided in 2 or 3, every cell of the two
    is tested once, and runs that share only one seed with the cell sit that fold out. There are at most `folds` folds
    (or parts of each kind of seed), and fewer where settings are so small that few pairs would be left inside a fold.
    Raises ValueError when no training run would be left, which is so with a single init_seed or a single data_seed.

    >>> runs = tuple(RunInfo(f"run-{seed}", "setting", seed, seed, {}) for seed in range(20))
    >>> splits = held_out_seeds(runs, folds=5)
    >>> [int(fold.test_R.sum()) for fold in splits.folds]
    [4, 4, 4, 4, 4]
    """
    groups, shared, rng = SeedGroups.of(runs), describe_shared_streams(runs), np.random.default_rng(seed)
    first_R = np.unique([run.setting_id for run in runs], return_inverse=True)[1]
    size = len(runs) / max(len(np.unique(first_R)), 1)
    can_cross = groups.num_init >= 2 and groups.num_data >= 2
    if groups.num_components >= 2 and (groups.largest_fraction <= LARGEST_COMPONENT or not can_cross):
        most = int(np.clip(size // RUNS_PER_SETTING, 2, max(folds, 2)))
        part_R = _deal(groups.component_R, first_R, most, rng)
        held_out = tuple(Fold(part_R != k, part_R == k) for k in range(part_R.max() + 1))
        return Folds(held_out, f"{len(held_out)} folds; no init seed or data seed is shared by train and test", shared)
    if not can_cross:
        raise ValueError(
            "forecasts are scored on runs whose init_seed and data_seed were not trained on, which leaves no training "
            f"run here: the {len(runs)} runs have {groups.num_init} init seed(s) and "
            f"{groups.num_data} data seed(s), all linked. Add seeds: at least 2 of each, better 10."
        )
    most = min(3 if size >= 9 * RUNS_PER_SETTING else 2, max(folds, 2))
    return Folds(*_crossed(groups, most, rng), shared)


def _crossed(groups: SeedGroups, parts: int, rng: np.random.Generator) -> tuple[tuple[Fold, ...], str]:
    init_part_R = _deal(groups.init_R, np.zeros_like(groups.init_R), parts, rng)
    data_part_R = _deal(groups.data_R, np.zeros_like(groups.data_R), parts, rng)
    cells = sorted(set(zip(init_part_R.tolist(), data_part_R.tolist(), strict=True)))
    folds = tuple(
        Fold((init_part_R != a) & (data_part_R != b), (init_part_R == a) & (data_part_R == b)) for a, b in cells
    )
    return folds, f"{len(folds)} cells of crossed seeds; runs sharing one seed with a cell are left out of it"


def _deal(group_R: Ints, stratum_R: Ints, parts: int, rng: np.random.Generator) -> Ints:
    """Part of each run, 0 to parts - 1: the groups in random order, dealt like cards, stratum by stratum.

    The stratum of a group is that of its first run; a setting with seeds of its own is so spread over all parts.
    """
    _, first_G = np.unique(group_R, return_index=True)
    order_G = np.lexsort((rng.permutation(len(first_G)), stratum_R[first_G]))
    part_G = np.empty(len(first_G), dtype=np.int64)
    part_G[order_G] = np.arange(len(first_G)) % min(parts, len(first_G))
    return np.asarray(part_G[group_R], dtype=np.int64)
