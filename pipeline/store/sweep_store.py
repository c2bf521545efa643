"""The store: one folder per sweep, which alone suffices to resume, analyse and report. Reading needs numpy and pyarrow.

Every file it writes:

    sweep.json                            the spec, its id, where and with what it was made, its plan's name; sealed
    plan-HASH.json                        runs, settings, packs with their numerics, the grid; sealed
    copies/                               of both documents, read where these are damaged
    sources/ENTRY/                        files of the user's own that the sweep imports, for workers that lack them
    set-aside/                            what `seedbed repair` found damaged; safe to delete
    driver.lock                           held by the one driver, or by workers together; empty
    workers/WORKER.json                   a worker's attempt, and how often it has beaten; sealed; safe to delete
    added/NAME.json                       names a table measured after training, and says how; sealed; safe to delete
    added/NAME-HASH.parquet               that table: numbers by run and step, which the history joins
    hangs/PACK.log                        where a worker was that got nothing done for too long; safe to delete
    stop                                  while it exists, packs commit and stop; empty
    ceiling.json                          what forks say of the best possible forecasts; sealed; safe to delete
    budget-B/ceiling.json                 the same, of the runs of each budget where a sweep has several
    forecast.json                         the newest forecast of the runs in training; sealed; safe to delete
    search.json                           rounds of a search over settings, and what came of them; sealed
    packs/PACK/runs.json                  the pack's part of a plan of many runs, by columns; sealed; safe to delete
    packs/PACK/attempt-A                  claimed by attempt A; random digits, by which it is told from others
    packs/PACK/A-Q.record.json            commit record, sequence Q of attempt A; sealed; two newest kept
    packs/PACK/A-Q.checkpoint.parquet     states of the runs in progress; those of the kept records
    packs/PACK/A-Q.history.parquet        rows recorded since the commit before
    packs/PACK/A-Q.snapshots.parquet      arrays recorded since the commit before

A record names, with SHA-256, its checkpoint, all history and snapshot files so far, and the runs that ended; files that
no record names are ignored. Nothing rests on what is safe to delete. File names are for people: identity and order are
read from the records.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from pipeline.long_loops import loop_over
from pipeline.store.added import added_tables, with_added
from pipeline.store.backends.files import Files
from pipeline.store.backends.objects import object_url
from pipeline.store.backends.posix import PosixFiles
from pipeline.store.budgets import budgets_of, part_of
from pipeline.store.documents import read_document
from pipeline.store.files import CorruptFileError, make_folder, make_inner_folder, write_file
from pipeline.store.formats.columns import Pivot
from pipeline.store.formats.sealed import seal
from pipeline.store.history import History, RunEnd, run_info
from pipeline.store.pack_store import PackStore, StoreError
from pipeline.store.plans.plan_columns import with_columns
from pipeline.store.records.ends import RETRIED_RUN, EndColumns, Ended
from pipeline.store.records.record import Record
from pipeline.store.snapshot_index import SnapshotIndex

# What may stand in a folder that is to hold a sweep.
_OWN = ("driver.lock", "packs", "copies", "sources", "set-aside", "workers", "added", "hangs", "stop",
        "forecast.json", "ceiling.json", "search.json", "plan-*.json", ".*.tmp")  # fmt: skip
_STOP = "stop"
# One for all runs that ended alike, as most of a million do.
_shared_end = lru_cache(RunEnd)


class SweepStore:
    """One sweep's folder. `sweep` and `plan` are the bodies of the two documents, read on first access.

    `files` is where its packs and workers are kept, if that is not the folder.
    """

    def __init__(self, folder: Path, files: Files | None = None) -> None:
        self.folder = Path(folder)
        self.files: Files = PosixFiles(self.folder) if files is None else files
        self._packs = self.files.inside("packs")
        # Of a million runs it takes seconds to read.
        self._plan: tuple[tuple[str, int, int, int], dict[str, Any]] | None = None

    @property
    def is_local(self) -> bool:
        """Whether its packs are in its folder."""
        return isinstance(self.files, PosixFiles)

    def exists(self) -> bool:
        """Whether the folder holds a sweep, by its document or the copy of it."""
        return any((folder / "sweep.json").is_file() for folder in (self.folder, self.copies))

    @property
    def copies(self) -> Path:
        """The folder with the second generation of both documents."""
        return self.folder / "copies"

    @property
    def sweep(self) -> dict[str, Any]:
        """The sweep document: spec, id, launches. Raises StoreError if it and its copy are missing or damaged."""
        return self._document("sweep.json")

    @property
    def plan(self) -> dict[str, Any]:
        """The plan document: runs, settings, packs, grid; read again if its file has changed. Raises as `sweep`."""
        name = str(self.sweep["plan"])
        try:
            found = os.stat(self.folder / name)
        except OSError:
            return self._document(name)
        stamp = name, found.st_ino, found.st_size, found.st_mtime_ns
        if self._plan is None or self._plan[0] != stamp:
            self._plan = stamp, self._document(name)
        return self._plan[1]

    @property
    def accepts_changed_code(self) -> bool:
        """Whether the newest launch goes on with runs that other code began."""
        return bool(self.sweep["launches"][-1].get("accepts_changed_code"))

    def add_launch(self, launch: Mapping[str, Any]) -> None:
        """Append to the launches of the sweep document, atomically. Needs the driver's lock."""
        sweep, plan = self.sweep, self.plan
        sweep = {**sweep, "launches": [*sweep["launches"], launch]}
        self.write_documents(sweep, plan, is_shared=bool(self.folder.stat().st_mode & 0o020))

    def _document(self, name: str) -> dict[str, Any]:
        problems = []
        for path in (self.folder / name, self.copies / name):
            try:
                return read_document(path)
            except CorruptFileError as error:
                problems.append(str(error))
        if not self.exists():
            if (url := object_url(self.folder)) is not None:
                raise StoreError(f"{url}: copy it to a folder first: seedbed fetch {url} FOLDER")
            raise StoreError(f"{self.folder}: holds no sweep ({name} is missing); `seedbed launch SPEC` makes one")
        raise StoreError(f"{problems[0]}, and its copy is no better; `seedbed repair` makes both again")

    def write_documents(self, sweep: Mapping[str, Any], plan: Mapping[str, Any], is_shared: bool) -> None:
        """Write both documents atomically: sweep.json names its plan by hash, so that replacing it switches both.

        Their copies follow, so at any moment one of the two is whole.
        """
        make_folder(self.folder, is_shared)
        make_inner_folder(self.folder / "packs", is_shared)
        make_inner_folder(self.copies, is_shared)
        content = seal(with_columns(plan))
        name = f"plan-{hashlib.sha256(content).hexdigest()[:16]}.json"
        for folder in (self.folder, self.copies):
            write_file(folder / name, content)
            write_file(folder / "sweep.json", seal({**sweep, "plan": name}))
            for path in folder.glob("plan-*.json"):
                if path.name != name:
                    path.unlink()

    def is_free(self) -> bool:
        """Whether the folder is empty, except for files of a sweep whose documents are not there, or not yet."""
        if not self.folder.exists():
            return True
        return not self.exists() and all(any(p.match(pattern) for pattern in _OWN) for p in self.folder.iterdir())

    def pack(self, pack_id: str) -> PackStore:
        """The store of one pack, whether or not anything was committed."""
        return PackStore(self._packs.inside(pack_id))

    def pack_ids(self) -> list[str]:
        """All packs, in the order of the plan."""
        return [pack["pack_id"] for pack in self.plan["packs"]]

    def newest_records(self, reads_files: bool = True) -> dict[str, Record]:
        """pack_id -> newest whole record, for packs that have one; see `PackStore.newest` for `reads_files`."""
        pack_ids = loop_over("checking commits", self.pack_ids())
        found = {pack_id: self.pack(pack_id).newest(reads_files) for pack_id in pack_ids}
        return {pack_id: record for pack_id, record in found.items() if record is not None}

    @property
    def stop_file(self) -> Path:
        """While this file exists, packs commit and stop."""
        return self.folder / _STOP

    def is_stopped(self) -> bool:
        """Whether packs are asked to commit and stop."""
        return self.files.exists(_STOP)

    @property
    def budgets(self) -> tuple[int, ...]:
        """The budgets that its runs have, increasing."""
        return budgets_of(self.plan)

    def folder_of(self, budget: int) -> Path:
        """Where what is made of the runs of this budget is written: the folder itself for a sweep of one budget."""
        return self.folder if len(self.budgets) == 1 else self.folder / f"budget-{budget}"

    def histories(self) -> tuple[History, ...]:
        """The history of the runs of each budget, by increasing budget."""
        return tuple(map(self.history, self.budgets))

    def history(
        self,
        budget: int | None = None,
        *,
        metrics: Collection[str] | None = None,
        steps: Collection[int] | None = None,
        settings: Collection[str] | None = None,
        dtype: DTypeLike = np.float64,
    ) -> History:
        """All values up to the newest records, and those of added tables, which never replace a recorded one.

        Of the runs with this budget; None is for sweeps of one. Steps are the union over these runs; NaN where a run
        recorded nothing. With `metrics`, `steps` or `settings` (ids) of these alone, in the memory that they need, as
        `dtype`; recorded is float64. Raises StoreError, naming the budgets, where there is no such one.
        """
        plan = self.plan
        part = part_of(plan, budget)
        runs = tuple(run_info(plan, row) for row in part.rows if settings is None or row["setting_id"] in settings)
        pivot = Pivot([run.run_id for run in runs], steps, dtype)
        ends: dict[str, Ended] = {}
        reached: dict[str, int] = {}
        for pack in loop_over("reading histories", plan["packs"]):
            if pivot.row_of.keys().isdisjoint(pack["run_ids"]):
                continue
            record = _added_to(pivot, self.pack(pack["pack_id"]), metrics)
            if record is not None:
                ends |= EndColumns.of(record.ends).kind_by_run()
                reached |= {run_id: entry.step for run_id, entry in record.active.items()}
        run_ends = tuple(_run_end(ends.get(run.run_id), reached.get(run.run_id, 0)) for run in runs)
        # Plans of an earlier version name no readings.
        readings = frozenset(name for name in pivot.values if name.partition(".")[0] in plan.get("readings", ()))
        recorded = History(
            plan["name"], part.budget, runs, run_ends, pivot.steps_T, pivot.values, part.varied, part.windows, readings
        )
        tables = [added.only(metrics, steps) for added in added_tables(self.folder)]
        return with_added(recorded, {row["run_id"] for row in plan["runs"]}, tables) if tables else recorded

    def snapshots(self) -> SnapshotIndex:
        """An index of all snapshots."""
        return SnapshotIndex(self.folder, self.plan, self.pack)


def _added_to(pivot: Pivot, pack: PackStore, metrics: Collection[str] | None) -> Record | None:
    """Take in the history of a pack as of its newest record, whose files are checked as they are read; that record.

    As of the newest record whose files are all whole, where a history file of the newest is not. None without a commit.
    """
    record = next(iter(pack.records()), None)
    try:
        for entry in () if record is None else record.history:
            pivot.add(pack.table(entry, metrics))
    except CorruptFileError:
        # Damaged, or removed by a later attempt while it was read.
        pivot.forget([*record.ends, *record.active] if record is not None else ())
        record = None
    if record is None and (record := pack.newest()) is not None:
        for entry in record.history:
            pivot.add(pack.table(entry, metrics))
    return record


def _run_end(end: Ended | None, step: int) -> RunEnd:
    """How a run ended, or that it is at `step`."""
    if end is None:
        return _shared_end("running", step)
    return _shared_end("running" if end.reason == RETRIED_RUN else end.reason, end.step)
