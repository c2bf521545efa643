"""The history of a sweep that still trains, kept up with its commits: only what was committed since is read."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

import numpy as np
import pyarrow as pa

from pipeline.arrays import Floats, Ints
from pipeline.store.budgets import part_of
from pipeline.store.history import History, RunEnd
from pipeline.store.pack_store import Record
from pipeline.store.pack_tail import NewCommit, PackTail
from pipeline.store.sweep_store import SweepStore, run_info


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
        self._row_of = {run.run_id: row for row, run in enumerate(self._empty.runs)}
        self._packs = [
            PackTail(store.pack(pack["pack_id"]))
            for pack in plan["packs"]
            if any(run_id in self._row_of for run_id in pack["run_ids"])
        ]
        self._ends = list(self._empty.ends)
        self._steps_T: Ints = self._empty.steps_T
        self._values: dict[str, Floats] = {}
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
        names = self._values if metrics is None else [name for name in metrics if name in self._values]
        readings = frozenset(name for name in names if name.partition(".")[0] in self._plan_readings)
        empty = self._empty
        return History(
            empty.name, empty.budget, empty.runs, tuple(self._ends), self._steps_T.copy(),
            {name: self._values[name].copy() for name in names}, empty.varied, empty.windows, readings,
        )  # fmt: skip

    def rows_of(self, metric: str, rows: Ints) -> tuple[Ints, Floats]:
        """The steps at which any run recorded a metric, and its values there in these rows; empty without values."""
        values_RT = self._values.get(metric)
        if values_RT is None:
            return self._steps_T[:0], np.empty((len(rows), 0))
        kept_T = ~np.all(np.isnan(values_RT), axis=0)
        return self._steps_T[kept_T], values_RT[np.ix_(rows, kept_T)]

    @property
    def orders(self) -> dict[str, tuple[int, int]]:
        """The (attempt, sequence) of each pack's newest record, of the packs that this budget's runs are in."""
        return {pack.record.pack_id: pack.record.order for pack in self._packs if pack.record is not None}

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics so far, in the order in which they appeared."""
        return tuple(self._values)

    def _take(self, commit: NewCommit) -> set[int]:
        """Take in a commit; the rows of its runs."""
        record, before = commit.record, commit.before
        touched = self._rows([*record.ends, *record.active])
        if before is not None and not commit.is_continued:
            touched |= self._rows([*before.ends, *before.active])
            self._forget(touched)
        for table, _ in commit.tables:
            touched |= self._add(table)
        self._end(record)
        self.num_commits += 1
        return touched

    def _rows(self, run_ids: Iterable[str]) -> set[int]:
        return {self._row_of[run_id] for run_id in run_ids if run_id in self._row_of}

    def _forget(self, touched: set[int]) -> None:
        rows = np.array(sorted(touched), np.int64)
        for values_RT in self._values.values():
            values_RT[rows] = np.nan
        for row in touched:
            self._ends[row] = RunEnd("running", 0)
        empty_T = [np.all(np.isnan(values_RT), axis=0) for values_RT in self._values.values()]
        kept_T = ~np.all(empty_T, axis=0)
        self._steps_T = self._steps_T[kept_T]
        self._values = {name: values_RT[:, kept_T] for name, values_RT in self._values.items()}

    def _add(self, table: pa.Table) -> set[int]:
        rows_N = np.array([self._row_of.get(run_id, -1) for run_id in table["run_id"].to_pylist()], np.int64)
        own_N = rows_N >= 0
        rows_N, step_N = rows_N[own_N], table["step"].to_numpy()[own_N]
        self._widen(np.unique(step_N))
        column_N = np.searchsorted(self._steps_T, step_N)
        for name in table.column_names[2:]:
            valid_N = table[name].is_valid().to_numpy()[own_N]
            if not valid_N.any():
                continue
            if name not in self._values:
                self._values[name] = np.full((len(self._row_of), len(self._steps_T)), np.nan)
            found_N = table[name].to_numpy(zero_copy_only=False).astype(np.float64)[own_N]
            self._values[name][rows_N[valid_N], column_N[valid_N]] = found_N[valid_N]
        return set(rows_N.tolist())

    def _widen(self, steps: Ints) -> None:
        """Room for steps at which nothing was recorded before."""
        merged_T = np.union1d(self._steps_T, steps)
        if len(merged_T) == len(self._steps_T):
            return
        kept_T = np.searchsorted(merged_T, self._steps_T)
        for name, old_RT in self._values.items():
            self._values[name] = np.full((len(old_RT), len(merged_T)), np.nan)
            self._values[name][:, kept_T] = old_RT
        self._steps_T = merged_T

    def _end(self, record: Record) -> None:
        for run_id, entry in record.active.items():
            if run_id in self._row_of:
                self._ends[self._row_of[run_id]] = RunEnd("running", entry.step)
        for run_id, end in record.ends.items():
            if run_id in self._row_of:
                self._ends[self._row_of[run_id]] = RunEnd(end.reason, end.step)

    def _documents_ns(self) -> int:
        try:
            return os.stat(self.store.folder / "sweep.json").st_mtime_ns
        except FileNotFoundError:
            return -1
