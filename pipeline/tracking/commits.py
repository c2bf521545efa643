"""Reads a sweep's tracked runs from its newest commits, each history file once. Needs no wandb."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.arrays import Array
from pipeline.spec.draws import draw_keys, run_that_counts
from pipeline.store.budgets import budget_by_run
from pipeline.store.pack_store import PackStore
from pipeline.store.parents import plans_of_parents
from pipeline.store.records.record import Record
from pipeline.store.stored_forecast import FORECAST_FILE, RunProbability, StoredForecast, read_forecast
from pipeline.store.sweep_store import SweepStore
from pipeline.store.tails.pack_tail import PackTail
from pipeline.tracking.forecasts import run_forecast_numbers, setting_forecast_numbers, with_numbers
from pipeline.tracking.names import RUN_STEPS
from pipeline.tracking.progress import (
    OVER,
    RUNNING,
    CommittedProgress,
    ConvergenceCheck,
    progress_of_runs,
    progress_of_setting,
)
from pipeline.tracking.rows import (
    Recorded,
    TrackedRow,
    aggregate_rows,
    joined_recorded,
    read_recorded,
    stacked_curves,
    with_times,
)
from pipeline.tracking.summaries import aggregate_summary, run_summary, sweep_values
from pipeline.tracking.tracked import TrackedRun, tracked_runs, with_attempt


class _PackReader:
    """The newest record of one pack, and what its runs recorded, taken in as commits add it."""

    def __init__(self, store: PackStore, dropped: tuple[str, ...]) -> None:
        self.store, self._dropped = store, dropped
        self._tail = PackTail(store)
        self._parts: dict[str, list[Recorded]] = {}

    @property
    def record(self) -> Record | None:
        """The newest record as of the last refresh."""
        return self._tail.record

    def refresh(self) -> bool:
        """Whether there is a newer record than before."""
        commit = self._tail.poll()
        if commit is None:
            return False
        if not commit.is_continued:
            self._parts = {}
        for table, times in commit.tables:
            for run_id, recorded in read_recorded([self._curves(with_times(table, times))]).items():
                self._parts.setdefault(run_id, []).append(recorded)
        return True

    def of(self, run_id: str) -> Recorded:
        """What a run recorded so far."""
        parts = self._parts.get(run_id)
        if not parts:
            return Recorded.empty()
        self._parts[run_id] = [joined_recorded(parts)]
        return self._parts[run_id][0]

    def _curves(self, table: pa.Table) -> pa.Table:
        """The table without readings that are not tracked, and without rows of nothing else."""
        readings = [name for name in table.column_names if name.startswith(self._dropped)] if self._dropped else []
        if not readings:
            return table
        kept = table.drop_columns(readings)
        return kept.filter(np.any([kept[name].is_valid() for name in kept.column_names[2:-1]], axis=0))


@dataclass(frozen=True)
class Content:
    """What there is to write of a tracked run: rows after those that are written, the summary so far, the config."""

    rows: list[TrackedRow]
    summary: Mapping[str, Any]
    config: Mapping[str, Any]


class CommitReader:
    """Reads a sweep's tracked runs from its newest commits. The plan is read once, since a launch has one plan."""

    def __init__(self, store: SweepStore, max_runs: int | None = None) -> None:
        self.store = store
        sweep, self.plan = store.sweep, store.plan
        self._draw_keys = draw_keys([self.plan], partial(plans_of_parents, [store]))
        self.tracked = tracked_runs(sweep, self.plan, max_runs, self._draw_keys)
        self.budgets = budget_by_run(self.plan)
        self._check = ConvergenceCheck.of(sweep, self.plan)
        self._pack_of = {run_id: pack["pack_id"] for pack in self.plan["packs"] for run_id in pack["run_ids"]}
        readings = () if sweep["spec"]["tracking"].get("readings") else self.plan.get("readings", ())
        dropped = tuple(f"{name}." for name in readings)
        self._packs = {pack_id: _PackReader(store.pack(pack_id), dropped) for pack_id in store.pack_ids()}
        self.set_progress(())
        self.forecast: StoredForecast | None = None
        self._forecast_time: int | None = None
        self.probabilities: dict[str, RunProbability] = {}

    def refresh(self) -> list[TrackedRun]:
        """Read new commits and the newest forecast; returns the tracked runs that they may have changed."""
        changed = {pack_id for pack_id, pack in self._packs.items() if pack.refresh()}
        self.set_progress([pack.record for pack in self._packs.values() if pack.record is not None])
        if self._has_new_forecast():
            return self.tracked
        return [one for one in self.tracked if any(self._pack_of[run_id] in changed for run_id in one.run_ids)]

    def set_progress(self, records: Collection[Record]) -> None:
        """Progress by these records, the newest of their packs, whose rows are not read for it."""
        self.progress_by_run = progress_of_runs(records, self.budgets)
        self.distinct = self._distinct(self.progress_by_run)
        self._run_steps = sum(record.run_steps for record in records)

    def _distinct(self, progress_by_run: Mapping[str, CommittedProgress]) -> frozenset[str]:
        """The runs that count: of equal ones the one that is furthest."""
        run_ids = [row["run_id"] for row in self.plan["runs"]]
        ends = [progress_by_run.get(run_id, CommittedProgress(-1, RUNNING)) for run_id in run_ids]
        return frozenset(run_ids[place] for place in run_that_counts(run_ids, ends, self._draw_keys))

    def counted(self, tracked: TrackedRun) -> list[str]:
        """The runs that a tracked run is of, each once."""
        return [run_id for run_id in tracked.run_ids if run_id in self.distinct]

    def _has_new_forecast(self) -> bool:
        path = self.store.folder / FORECAST_FILE
        found = path.stat().st_mtime_ns if path.is_file() else None
        if found == self._forecast_time:
            return False
        self._forecast_time, forecast = found, read_forecast(self.store)
        if forecast is None or (self.forecast is not None and forecast.orders == self.forecast.orders):
            return False
        self.forecast, self.probabilities = forecast, forecast.probabilities()
        return True

    def progress(self, tracked: TrackedRun) -> CommittedProgress | None:
        """How far a tracked run is; None before it has begun. The steps of a sweep are its run-steps."""
        if tracked.job_type == "run":
            return self.progress_by_run.get(tracked.run_ids[0])
        if tracked.job_type == "aggregate":
            return progress_of_setting(self.counted(tracked), self.progress_by_run)
        found = progress_of_setting(tracked.run_ids, self.progress_by_run)
        if found is None:
            return found
        return CommittedProgress(self._run_steps, found.reason)

    def content(self, tracked: TrackedRun, progress: CommittedProgress, after: int) -> Content:
        """Rows in (`after`, the progress], with the newest forecast, summary and config of a tracked run."""
        if tracked.job_type == "sweep":
            return self._of_sweep(tracked, progress, after)
        run_ids = tracked.run_ids if tracked.job_type == "run" else self.counted(tracked)
        if tracked.job_type == "run":
            return self._of_run(tracked, self._recorded(run_ids[0]), progress, after)
        by_run = {run: self.progress_by_run[run] for run in run_ids if run in self.progress_by_run}
        numbers = setting_forecast_numbers(by_run, self.probabilities)
        rows = with_numbers(self._rows_of_setting(run_ids, after, progress.step), math.inf, numbers)
        summary = aggregate_summary(list(by_run.values()), len(run_ids), progress.reason)
        return Content(list(rows), {**summary, **numbers}, tracked.config)

    def _rows_of_setting(self, run_ids: Sequence[str], after: int, last_step: int) -> Iterable[TrackedRow]:
        # Most passes over a large setting find no step that all of its runs have reached.
        if last_step <= after:
            return ()
        groups = stacked_curves([self._recorded(run_id) for run_id in run_ids])
        confirmed_C = np.concatenate([self._check.streaks(group)[:, 1] for group in groups])
        return aggregate_rows(groups, confirmed_C, after, last_step)

    def _recorded(self, run_id: str) -> Recorded:
        return self._packs[self._pack_of[run_id]].of(run_id)

    def _of_run(self, tracked: TrackedRun, recorded: Recorded, progress: CommittedProgress, after: int) -> Content:
        (run_id,) = tracked.run_ids
        rows, numbers = recorded.rows(after), {}
        if run_id in self.probabilities:
            found = self.probabilities[run_id]
            numbers = run_forecast_numbers(found)
            rows = with_numbers(rows, found.step, numbers)
        record = self._packs[self._pack_of[run_id]].record
        assert record is not None
        summary = run_summary(progress, recorded, self._check)
        return Content(list(rows), {**summary, **numbers}, with_attempt(tracked, record))

    def _of_sweep(self, tracked: TrackedRun, progress: CommittedProgress, after: int) -> Content:
        values = self.sweep_values()
        committed = [times[1] for pack in self._packs.values() if pack.record for times in pack.record.history_times]
        row = TrackedRow(progress.step, {RUN_STEPS: progress.step, **values}, max(committed, default=None))
        return Content([row] if progress.step > after else [], {"reason": progress.reason, **values}, tracked.config)

    def sweep_values(self) -> dict[str, float]:
        """Progress of the whole sweep, by its names in wandb."""
        chances = {run_id: found.converged for run_id, found in self.probabilities.items()}
        return sweep_values(self.progress_by_run, self.budgets, chances)

    @property
    def seconds_per_run_step(self) -> float:
        """What a run-step has taken a worker so far; 0 before the first commit."""
        records = [pack.record for pack in self._packs.values() if pack.record is not None]
        return sum(record.wall_s for record in records) / max(sum(record.run_steps for record in records), 1)

    def attention(self, run_id: str) -> tuple[int, Mapping[str, Array]] | None:
        """The last step at which a run's attention was kept, and the maps by layer; None where it was not."""
        pack = self._packs[self._pack_of[run_id]]
        found = [
            (entry.step, file)
            for file, entries in (() if pack.record is None else pack.record.snapshots)
            for entry in entries
            if (entry.run_id, entry.kind) == (run_id, "attention")
        ]
        if not found:
            return None
        step, file = max(found, key=lambda one: one[0])
        prefix = f"{run_id}/{step}/attention/"
        arrays = pack.store.arrays(file)
        return step, {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}

    @property
    def is_over(self) -> bool:
        """Whether every run of the sweep has ended."""
        found = progress_of_setting(self._pack_of, self.progress_by_run)
        return found is not None and found.reason == OVER
