"""The history of a sweep that still trains, kept up with its commits: only what was committed since is read."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

import numpy as np

from pipeline.arrays import Floats, Ints
from pipeline.store.budgets import part_of
from pipeline.store.formats.columns import Pivot
from pipeline.store.history import History, RunEnd, run_info
from pipeline.store.records.ends import EndColumns
from pipeline.store.records.record import Record
from pipeline.store.sweep_store import SweepStore
from pipeline.store.tails.pack_tail import NewCommit, PackTail


class HistoryTail:
    """What `SweepStore.history` gives for the runs of one budget, without added tables; `poll` reads new commits.

    The plan is read once: `is_replanned` says that the sweep's documents were replaced since. Not safe for threads.
    """

    def __init__(self, store: SweepStore, budget: int | None = None) -> None:
        self.store = store
        self._plan_stamp_ns = self._documents_ns()
        plan = store.plan
        part = part_of(plan, budget)
        self._plan_readings = frozenset(plan.get("readings", ()))
        self._empty = History(
            plan["name"], part.budget, tuple(run_info(plan, row) for row in part.rows),
            tuple(RunEnd("running", 0) for _ in part.rows), np.empty(0, np.int64), {}, part.varied, part.windows,
        )  # fmt: skip
        self._pivot = Pivot([run.run_id for run in self._empty.runs])
        self._row_of = self._pivot.row_of
        self._packs = [
            PackTail(store.pack(pack["pack_id"]))
            for pack in plan["packs"]
            if any(run_id in self._row_of for run_id in pack["run_ids"])
        ]
        self._ends = list(self._empty.ends)
        self.num_commits = 0

    @property
    def is_replanned(self) -> bool:
        """Whether the sweep's documents were written again, so that runs or settings may have come."""
        return self._documents_ns() != self._plan_stamp_ns

    def poll(self) -> Ints:
        """Read what was committed since the last call; the rows (places in `runs`) of the runs that it is about."""
        touched: set[int] = set()
        for pack in self._packs:
            commit = pack.poll()
            if commit is not None:
                touched |= self._take(commit)
        return np.array(sorted(touched), np.int64)

    def history(self, metrics: Sequence[str] | None = None) -> History:
        """The history as of the last poll; of these metrics alone, where some are named."""
        names = self._pivot.values if metrics is None else [name for name in metrics if name in self._pivot.values]
        readings = frozenset(name for name in names if name.partition(".")[0] in self._plan_readings)
        empty = self._empty
        return History(
            empty.name, empty.budget, empty.runs, tuple(self._ends), self._pivot.steps_T.copy(),
            {name: self._pivot.values[name].copy() for name in names}, empty.varied, empty.windows, readings,
        )  # fmt: skip

    def rows_of(self, metric: str, rows: Ints) -> tuple[Ints, Floats]:
        """The steps at which any run recorded a metric, and its values there in these rows; empty without values."""
        values_RT = self._pivot.values.get(metric)
        if values_RT is None:
            return self._pivot.steps_T[:0], np.empty((len(rows), 0))
        kept_T = ~np.all(np.isnan(values_RT), axis=0)
        return self._pivot.steps_T[kept_T], values_RT[np.ix_(rows, kept_T)]

    @property
    def orders(self) -> dict[str, tuple[int, int]]:
        """The (attempt, sequence) of each pack's newest record, of the packs that this budget's runs are in."""
        return {pack.record.pack_id: pack.record.order for pack in self._packs if pack.record is not None}

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics so far, in the order in which they appeared."""
        return tuple(self._pivot.values)

    def _take(self, commit: NewCommit) -> set[int]:
        """Take in a commit; the rows of its runs."""
        record, before = commit.record, commit.before
        touched = self._rows([*record.ends, *record.active])
        if before is not None and not commit.is_continued:
            gone = [*record.ends, *record.active, *before.ends, *before.active]
            touched |= self._rows(gone)
            self._pivot.forget(gone)
            for row in touched:
                self._ends[row] = RunEnd("running", 0)
        for table, _ in commit.tables:
            touched |= {*self._pivot.add(table).tolist()}
        self._end(record)
        self.num_commits += 1
        return touched

    def _rows(self, run_ids: Iterable[str]) -> set[int]:
        return {self._row_of[run_id] for run_id in run_ids if run_id in self._row_of}

    def _end(self, record: Record) -> None:
        for run_id, entry in record.active.items():
            if run_id in self._row_of:
                self._ends[self._row_of[run_id]] = RunEnd("running", entry.step)
        for run_id, end in EndColumns.of(record.ends).kind_by_run().items():
            if run_id in self._row_of:
                self._ends[self._row_of[run_id]] = RunEnd(end.reason, end.step)

    def _documents_ns(self) -> int:
        try:
            return os.stat(self.store.folder / "sweep.json").st_mtime_ns
        except FileNotFoundError:
            return -1
