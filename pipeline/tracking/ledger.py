"""Rows committed but not yet written to wandb, and the ledger of those that are."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.store.budgets import budget_by_run
from pipeline.store.files import CorruptFileError, make_inner_folder, read_file, seal, unseal, write_file
from pipeline.store.pack_store import Record, StoreError
from pipeline.store.shapes import LEDGER, misfit
from pipeline.store.stored_forecast import RunProbability, read_forecast
from pipeline.store.sweep_store import SweepStore
from pipeline.tracking.forecasts import run_forecast_numbers, setting_forecast_numbers, with_numbers
from pipeline.tracking.rows import (
    RUNNING,
    CommittedProgress,
    ConvergenceCheck,
    Recorded,
    TrackedRow,
    TrackedRun,
    aggregate_rows,
    aggregate_summary,
    progress_of,
    progress_of_runs,
    read_recorded,
    run_summary,
    tracked_runs,
)


@dataclass(frozen=True)
class Entry:
    """Progress of writing a tracked run: rows up to `step`, with the `reason` of its progress, in `folders`."""

    step: int
    reason: str
    folders: tuple[str, ...] = ()


@dataclass
class Ledger:
    """The ledger of what the mirrors of a folder have written. Raises StoreError if the file is damaged."""

    path: Path
    entries: dict[str, Entry] = field(default_factory=dict)

    @staticmethod
    def read(path: Path) -> Ledger:
        """The ledger at `path`; an empty one if it does not exist yet."""
        if not path.exists():
            return Ledger(path)
        try:
            body = unseal(read_file(path), path)
        except CorruptFileError as error:
            raise StoreError(f"{error}; delete {path.parent} to mirror the sweep anew") from error
        if (problem := misfit(body, LEDGER)) is not None:
            raise StoreError(f"{path}: is no ledger: {problem}; delete {path.parent} to mirror the sweep anew")
        items = body["entries"].items()
        return Ledger(path, {key: Entry(e["step"], e["reason"], tuple(e["folders"])) for key, e in items})

    def write(self) -> None:
        """Replace the file atomically, sealed."""
        write_file(self.path, seal({"entries": {key: asdict(entry) for key, entry in self.entries.items()}}))

    def set_aside_unnamed(self, sweep_id: str) -> None:
        """Move what a killed mirror of this sweep left behind to the folder `set-aside`; nothing else is touched.

        wandb names a folder by the time and the id of its run, which begins with `sweep_id`.
        """
        own = re.compile(rf"(offline-)?run-[0-9_]+-{re.escape(sweep_id)}-.+")
        named = {name for entry in self.entries.values() for name in entry.folders}
        aside = self.path.parent / "set-aside"
        for found in list(self.path.parent.iterdir()):
            is_ours = own.fullmatch(found.name) and found.is_dir() and not found.is_symlink()
            if is_ours and found.name not in named:
                make_inner_folder(aside, is_shared=bool(self.path.parent.stat().st_mode & 0o020))
                found.rename(aside / found.name)


class CommitReader:
    """Reads a sweep's tracked runs from its newest commits. The plan is read once, since a launch has one plan."""

    def __init__(self, store: SweepStore, max_runs: int) -> None:
        self.store = store
        sweep, self._plan = store.sweep, store.plan
        self.tracked = tracked_runs(sweep, self._plan, max_runs)
        self._check = ConvergenceCheck.of(sweep, self._plan)
        self._pack_of = {run_id: pack["pack_id"] for pack in self._plan["packs"] for run_id in pack["run_ids"]}
        self._budgets = budget_by_run(self._plan)
        self._records: dict[str, Record] = {}
        self._progress_by_run: dict[str, CommittedProgress] = {}
        self._recorded: dict[str, dict[str, Recorded]] = {}
        self._probabilities: dict[str, RunProbability] = {}

    def refresh(self) -> None:
        """Read new commits and the newest forecast; packs without a new commit are not read again."""
        for pack in self._plan["packs"]:
            pack_id = pack["pack_id"]
            known = self._records.get(pack_id)
            found = self.store.pack(pack_id).records()
            if found and (known is None or found[0].order > known.order):
                newest = self.store.pack(pack_id).newest()
                if newest is not None:
                    self._records[pack_id] = newest
        self._progress_by_run = progress_of_runs(self._records.values(), self._budgets)
        self._recorded = {}
        forecast = read_forecast(self.store)
        self._probabilities = {} if forecast is None else forecast.probabilities()

    def due(self, ledger: Ledger, is_last: bool) -> Iterator[tuple[TrackedRun, CommittedProgress]]:
        """Tracked runs with final rows that the ledger lacks; runs in progress at the last pass only."""
        for tracked in self.tracked:
            progress = progress_of(tracked, self._progress_by_run)
            if progress is None or (progress.reason == RUNNING and not is_last):
                continue
            entry = ledger.entries.get(tracked.tracked_id)
            if entry is None or progress.step > entry.step or progress.reason != entry.reason:
                yield tracked, progress

    def content(self, tracked: TrackedRun, progress: CommittedProgress) -> tuple[Iterable[TrackedRow], dict[str, Any]]:
        """Rows so far and summary of a tracked run, with the newest forecast where there is one."""
        recorded_R = [self._read(run_id) for run_id in tracked.run_ids]
        if tracked.job_type == "run":
            return self._of_run(tracked.run_ids[0], recorded_R[0], progress)
        progress_by_run = {run_id: self._progress_by_run[run_id] for run_id in tracked.run_ids}
        summary = aggregate_summary(list(progress_by_run.values()), progress)
        rows = list(aggregate_rows(recorded_R, self._check, progress.step))
        numbers = setting_forecast_numbers(progress_by_run, self._probabilities)
        return with_numbers(rows, [step for step, _ in rows], math.inf, numbers), {**summary, **numbers}

    def _of_run(
        self, run_id: str, recorded: Recorded, progress: CommittedProgress
    ) -> tuple[Iterable[TrackedRow], dict[str, Any]]:
        summary, found = run_summary(progress, recorded, self._check), self._probabilities.get(run_id)
        if found is None:
            return recorded.rows(), summary
        numbers = run_forecast_numbers(found)
        return with_numbers(recorded.rows(), recorded.steps_T.tolist(), found.step, numbers), {**summary, **numbers}

    def _curves(self, table: pa.Table) -> pa.Table:
        """The table without readings, which have a value at each window, and rows of nothing else."""
        prefixes = tuple(f"{name}." for name in self._plan.get("readings", ()))
        readings = [name for name in table.column_names if name.startswith(prefixes)]
        if not readings:
            return table
        kept = table.drop_columns(readings)
        return kept.filter(np.any([kept[name].is_valid() for name in kept.column_names[2:]], axis=0))

    def _read(self, run_id: str) -> Recorded:
        pack_id = self._pack_of[run_id]
        if pack_id not in self._recorded:
            pack = self.store.pack(pack_id)
            tables = [self._curves(pack.table(entry)) for entry in self._records[pack_id].history]
            self._recorded[pack_id] = read_recorded(tables)
        return self._recorded[pack_id].get(run_id, Recorded.empty())
