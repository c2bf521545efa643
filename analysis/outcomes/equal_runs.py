"""Runs that are one and the same under two ids, or in two folders: each counts once in whatever is read of sweeps.

Earlier versions took sweeps whose `streams` pin all that their seeds differ in. Such runs have the same weights;
counted as independent they would make intervals too narrow, and stand in training and test sets at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from analysis.outcomes.subsets import some_runs
from pipeline.arrays import Bools
from pipeline.spec.run_config import Lineage, RunConfig, Setting
from pipeline.store.history import History, RunInfo
from pipeline.store.sweep_store import SweepStore

# Which of equal runs counts: the one that is furthest, by its end and then by its step.
_RANK = {"running": 0, "stopped": 1, "failed": 1}
_PINNED = "streams."


def distinct_runs(histories: Sequence[History], stores: Sequence[SweepStore]) -> list[History]:
    """The histories, each of the store beside it, without the runs that equal another of any of them.

    Of equal runs that which has ended stays, before one that was stopped or failed, and one in training; then the one
    with most steps, then the first. Runs are equal if they have one id, or draw the same (`RunConfig.draws_id`).
    """
    keys = _keys(histories, stores)
    best: dict[str, tuple[tuple[int, int], int, int]] = {}
    for place, (history, of_runs) in enumerate(zip(histories, keys, strict=True)):
        for row, key in enumerate(of_runs):
            end = history.ends[row]
            rank = (_RANK.get(end.reason, 2), end.step)
            if key not in best or rank > best[key][0]:
                best[key] = rank, place, row
    kept = {(place, row) for _, place, row in best.values()}
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
    return f"{num_equal} run(s) left out that equal others, which count once"


def _only(history: History, keep_R: Bools) -> History:
    return history if keep_R.all() else some_runs(history, keep_R)


def _keys(histories: Sequence[History], stores: Sequence[SweepStore]) -> list[list[str]]:
    """A key for each run of each history, the same of equal ones.

    Where no stream of any run is pinned these are the ids, since the seeds themselves tell runs apart.
    """
    plans = [store.plan for store in stores]
    changes = {row["run_id"]: row.get("changes", {}) for plan in plans for row in plan["runs"]}
    pinned = {
        run_id: {path: seed for path, seed in of_run.items() if path.startswith(_PINNED)}
        for run_id, of_run in changes.items()
    }
    settings = (hyperparameters for plan in plans for hyperparameters in plan["settings"].values())
    if not any(pinned.values()) and not any(path.startswith(_PINNED) for paths in settings for path in paths):
        return [[run.run_id for run in history.runs] for history in histories]
    draws = _Draws(pinned)
    return [[draws.of(run) for run in history.runs] for history in histories]


class _Draws:
    """What runs draw, from what a history says of them and from the streams that a fork changes, by run id."""

    def __init__(self, pinned: Mapping[str, Mapping[str, Any]]) -> None:
        self.pinned = pinned
        self._settings: dict[str, Setting] = {}

    def of(self, run: RunInfo) -> str:
        """The run's `draws_id`."""
        changes = self.pinned[run.run_id]
        named = repr((run.setting_id, sorted(changes.items())))
        if named not in self._settings:
            self._settings[named] = Setting.from_hyperparameters({**run.hyperparameters, **changes})
        lineage = None if run.parent is None or run.fork_step is None else Lineage(run.parent, run.fork_step)
        return RunConfig(self._settings[named], run.init_seed, run.data_seed, lineage).draws_id
