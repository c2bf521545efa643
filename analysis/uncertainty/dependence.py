"""Links: which runs hang together by a seed or a parent, so that they are neither split nor resampled apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from pipeline.arrays import Ints
from pipeline.store.history import RunInfo

STREAM_PREFIX = "streams."


@dataclass(frozen=True)
class Links:
    """Numbers from 0 of each run's init seed, data seed, and component.

    A component is a largest set of runs that are linked, directly or through others, by an init seed, a data seed or a
    parent; a fork is linked to its parent too. Runs of different components have no draw in common, but for streams
    with a seed of their own (see `fixed_streams`).
    """

    init_R: Ints
    data_R: Ints
    component_R: Ints

    @classmethod
    def of(cls, runs: Sequence[RunInfo]) -> Links:
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
    def largest_share(self) -> float:
        """Share of the runs that the largest component holds; 0 of no runs."""
        return float(np.bincount(self.component_R).max() / len(self.component_R)) if len(self.component_R) else 0.0


def fixed_streams(runs: Sequence[RunInfo]) -> tuple[str, ...]:
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
