"""Groups of runs that share a seed or parent; resampled and held out together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from pipeline.arrays import Bools, Ints
from pipeline.store.history import RunInfo

STREAM_PREFIX = "streams."


@dataclass(frozen=True)
class SeedGroups:
    """Numbers from 0 of each run's init seed, data seed, and component.

    A component is a largest set of runs that are linked, directly or through others, by an init seed, a data seed or a
    parent; a fork is linked to its parent too. Runs of different components have no draw in common, but for streams
    with a seed of their own (see `describe_shared_streams`).
    """

    init_R: Ints
    data_R: Ints
    component_R: Ints

    @classmethod
    def of(cls, runs: Sequence[RunInfo]) -> SeedGroups:
        """The groups of `runs`, in their order; empty arrays for no runs."""
        init_R = _numbers([run.init_seed for run in runs])
        data_R = _numbers([run.data_seed for run in runs])
        family_R = _numbers([run.run_id if run.parent is None else run.parent for run in runs])
        return cls(init_R, data_R, _components(init_R, data_R, family_R))

    @property
    def num_init(self) -> int:
        """Number of different init seeds."""
        return int(self.init_R.max(initial=-1)) + 1

    @property
    def num_data(self) -> int:
        """Number of different data seeds."""
        return int(self.data_R.max(initial=-1)) + 1

    @property
    def num_components(self) -> int:
        """Number of components."""
        return int(self.component_R.max(initial=-1)) + 1

    @property
    def are_independent(self) -> bool:
        """Whether every run is a component by itself."""
        return self.num_components == len(self.component_R)

    @property
    def largest_fraction(self) -> float:
        """Share of the runs that the largest component holds; 0 of no runs."""
        return float(np.bincount(self.component_R).max() / len(self.component_R)) if len(self.component_R) else 0.0


def shares_a_seed(runs: Sequence[RunInfo], others: Sequence[RunInfo]) -> Bools:
    """(R,) True for the runs that have the init seed or the data seed of some of the others.

    >>> runs = [RunInfo("a", "s", 0, 10, {}), RunInfo("b", "s", 1, 11, {}), RunInfo("c", "s", 2, 12, {})]
    >>> shares_a_seed(runs, [RunInfo("d", "t", 0, 20, {}), RunInfo("e", "t", 5, 12, {})]).tolist()
    [True, False, True]
    """
    init_seeds, data_seeds = {run.init_seed for run in others}, {run.data_seed for run in others}
    return np.array([run.init_seed in init_seeds or run.data_seed in data_seeds for run in runs], dtype=bool)


def rows_on_common_seeds(*groups: Sequence[RunInfo]) -> list[Ints]:
    """Per group, the rows of the runs whose (init_seed, data_seed) occurs in every group, in the order of the first.

    Row i of every array has the same two seeds, so that differences between groups are paired by seed. Empty arrays
    where no pair of seeds is common. Of runs that share both seeds inside a group the last one counts.

    >>> a = [RunInfo(f"a{seed}", "a", seed, seed, {}) for seed in (0, 1, 2)]
    >>> b = [RunInfo(f"b{seed}", "b", seed, seed, {}) for seed in (2, 0)]
    >>> [rows.tolist() for rows in rows_on_common_seeds(a, b)]
    [[0, 2], [1, 0]]
    """
    row_by_seeds = [{(run.init_seed, run.data_seed): r for r, run in enumerate(runs)} for runs in groups]
    shared = [seeds for seeds in row_by_seeds[0] if all(seeds in others for others in row_by_seeds)]
    return [np.array([rows[seeds] for seeds in shared], dtype=np.int64) for rows in row_by_seeds]


def describe_shared_streams(runs: Sequence[RunInfo]) -> tuple[str, ...]:
    """A sentence for each stream whose own seed several runs share, whatever their init_seed and data_seed."""
    paths = sorted({path for run in runs for path in run.hyperparameters if path.startswith(STREAM_PREFIX)})
    sentences = []
    for path in paths:
        name = path.removeprefix(STREAM_PREFIX)
        seeds = [run.hyperparameters[path] for run in runs if run.hyperparameters.get(path) is not None]
        num_seeds = len(set(map(repr, seeds)))
        if len(seeds) == len(runs) and num_seeds == 1:
            sentences.append(f"stream {name} is the same in every run, so it is shared by train and test")
        elif num_seeds < len(seeds):
            sentences.append(
                f"stream {name} has {num_seeds} seed(s) in {len(seeds)} of {len(runs)} runs, so train and test may "
                "share it"
            )
    return tuple(sentences)


def _numbers(values: list[int] | list[str]) -> Ints:
    return np.asarray(np.unique(np.array(values), return_inverse=True)[1], dtype=np.int64).reshape(len(values))


def _components(*number_R: Ints) -> Ints:
    """Component of each run in the graph whose nodes are runs and, per array, its numbers."""
    num_runs = len(number_R[0])
    size, rows, columns = num_runs, [], []
    for values_R in number_R:
        rows.append(np.arange(num_runs))
        columns.append(size + values_R)
        size += int(values_R.max(initial=-1)) + 1
    ends = (np.concatenate(rows), np.concatenate(columns))
    _, label_N = connected_components(coo_matrix((np.ones(len(ends[0])), ends), shape=(size, size)), directed=False)
    return _numbers(label_N[:num_runs].tolist())
