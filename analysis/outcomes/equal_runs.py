"""Runs that are one and the same under two ids, or in two folders: each counts once in whatever is read of sweeps.

See `pipeline.spec.draws`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np

from analysis.outcomes.subsets import some_runs
from pipeline.arrays import Bools
from pipeline.counted import counted
from pipeline.spec.draws import draw_keys, run_that_counts
from pipeline.store.history import History
from pipeline.store.parents import plans_of_parents
from pipeline.store.sweep_store import SweepStore


def draw_keys_of(stores: Sequence[SweepStore]) -> dict[str, str]:
    """run_id -> a key that equal runs share (see `draw_keys`), for every run of these sweeps."""
    return draw_keys([store.plan for store in stores], partial(plans_of_parents, stores))


def distinct_runs(histories: Sequence[History], stores: Sequence[SweepStore]) -> list[History]:
    """The histories, each of the store beside it, without the runs that equal another of any of them.

    Of equal runs the one stays that counts (see `run_that_counts`). Runs are equal if they have one id, or draw the
    same.
    """
    keys = draw_keys_of(stores)
    places = [(place, row) for place, history in enumerate(histories) for row in range(len(history.runs))]
    run_ids = [run.run_id for history in histories for run in history.runs]
    counts = run_that_counts(run_ids, [end for history in histories for end in history.ends], keys)
    kept = {places[number] for number in set(counts)}
    masks = [
        np.array([(place, row) in kept for row in range(len(history.runs))], bool)
        for place, history in enumerate(histories)
    ]
    return [_only(history, keep_R) for history, keep_R in zip(histories, masks, strict=True)]


def distinct_history(store: SweepStore, budget: int | None = None) -> History:
    """The history of one sweep (see `SweepStore.history`), in which equal runs count once."""
    (found,) = distinct_runs([store.history(budget)], [store])
    return found


def equal_runs_text(num_equal: int) -> str:
    """A clause on runs that were left out since they equal others."""
    equal = "equals another, which counts" if num_equal == 1 else "equal others, which count"
    return f"{counted(num_equal, 'run')} left out that {equal} once"


def _only(history: History, keep_R: Bools) -> History:
    return history if keep_R.all() else some_runs(history, keep_R)
