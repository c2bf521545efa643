"""Folds: which runs are held out together, so that no seed and no data stream stands on both sides."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from analysis.outcomes import Bools
from pipeline.history import Ints, RunInfo


@dataclass(frozen=True)
class Fold:
    """One split of the sweep. Every run is in `test_R` of exactly one fold; some may be in neither half of a fold."""

    train_R: Bools
    test_R: Bools


@dataclass(frozen=True)
class Folds:
    """The splits of a sweep, with one sentence on what was held out."""

    folds: tuple[Fold, ...]
    held_out: str


def held_out_seeds(runs: tuple[RunInfo, ...], folds: int = 5, seed: int = 0) -> Folds:
    """Folds in which train and test share no init_seed and no data_seed.

    Runs that share either seed, directly or through others, are kept together where at least two such groups exist. In
    a crossed design all hang together; then init seeds and data seeds are each divided, every cell of the two is tested
    once, and the runs that share only one seed with the cell sit that fold out. `folds` is lowered to what there is.
    Raises ValueError when no training run would be left, which is so with a single init_seed or a single data_seed.
    """
    init_R = np.unique([run.init_seed for run in runs], return_inverse=True)[1]
    data_R = np.unique([run.data_seed for run in runs], return_inverse=True)[1]
    rng = np.random.default_rng(seed)
    component_R = _components(init_R, data_R)
    if component_R.max(initial=-1) >= 1:
        part_R = _deal(component_R, folds, rng)
        held_out = tuple(Fold(part_R != k, part_R == k) for k in range(part_R.max() + 1))
        return Folds(held_out, f"{len(held_out)} folds; no init seed or data seed is shared by train and test")
    if init_R.max(initial=-1) < 1 or data_R.max(initial=-1) < 1:
        raise ValueError(
            "forecasts are scored on runs whose init_seed and data_seed were not trained on, which leaves no training "
            f"run here: the {len(runs)} runs have {init_R.max(initial=-1) + 1} init seed(s) and "
            f"{data_R.max(initial=-1) + 1} data seed(s), all linked. Add seeds: at least 2 of each, better 10."
        )
    init_part_R, data_part_R = _deal(init_R, folds, rng), _deal(data_R, folds, rng)
    cells = sorted(set(zip(init_part_R.tolist(), data_part_R.tolist(), strict=True)))
    crossed = tuple(
        Fold((init_part_R != a) & (data_part_R != b), (init_part_R == a) & (data_part_R == b)) for a, b in cells
    )
    return Folds(
        crossed, f"{len(crossed)} cells of crossed seeds; runs sharing one seed with a cell are left out of it"
    )


def _components(init_R: Ints, data_R: Ints) -> Ints:
    """Number of the connected component of each run, where runs hang together by either seed."""
    num_init, num_data = init_R.max(initial=-1) + 1, data_R.max(initial=-1) + 1
    size = num_init + num_data
    links = coo_matrix((np.ones(len(init_R)), (init_R, num_init + data_R)), shape=(size, size))
    _, label_N = connected_components(links, directed=False)
    return np.asarray(np.unique(label_N[init_R], return_inverse=True)[1], dtype=np.int64)


def _deal(group_R: Ints, folds: int, rng: np.random.Generator) -> Ints:
    """Part of each run, 0 to folds - 1: the groups in random order, dealt like cards, so that parts are even."""
    num_groups = int(group_R.max()) + 1
    part_G = np.empty(num_groups, dtype=np.int64)
    part_G[rng.permutation(num_groups)] = np.arange(num_groups) % min(folds, num_groups)
    return np.asarray(part_G[group_R], dtype=np.int64)
