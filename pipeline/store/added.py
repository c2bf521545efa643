"""Numbers measured after training, by run and step, beside what was recorded: tables that a sweep's history joins.

In the folder `added` of a results folder: `NAME.json`, sealed, names a table `NAME-HASH.parquet` with its SHA-256 and
says what it was made with. No record names them; deleting both is safe, and takes their numbers out of the history.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.store.files import CorruptFileError, make_inner_folder, read_file, write_file
from pipeline.store.formats.columns import numbers
from pipeline.store.formats.sealed import seal, unseal
from pipeline.store.formats.tables import decode_table, encode_table, rows_misfit
from pipeline.store.history import History, filled
from pipeline.store.pack_store import StoreError
from pipeline.store.shapes import ADDED, misfit

ADDED_FOLDER = "added"
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True)
class AddedTable:
    """A table with columns `run_id`, `step` and one for each metric, float64, null where it was not measured.

    A run and step occur at most once. `about` are plain values: what made it, from what, and at a `step`
    what it cost: `cost`, beyond training the runs, as a share of training a whole run.
    """

    name: str
    table: pa.Table
    about: Mapping[str, Any]

    @property
    def metrics(self) -> tuple[str, ...]:
        """The names of its metrics."""
        return tuple(self.table.column_names[2:])

    def only(self, metrics: Collection[str] | None, steps: Collection[int] | None) -> AddedTable:
        """With these metrics of those that it has, at these steps; None stands for all."""
        table = self.table
        if metrics is not None:
            table = table.select(["run_id", "step", *(name for name in self.metrics if name in metrics)])
        if steps is not None:
            table = table.filter(pc.is_in(table["step"], numbers(np.array(sorted(steps), np.int64))))
        return replace(self, table=table)


def add_table(results: Path, added: AddedTable) -> Path:
    """Write a table into a results folder, in the place of one of the same name; the history has it from then on.

    Atomic: a reader finds the former table, or this one. Raises ValueError for another kind of table.
    """
    names, table = added.table.column_names, added.table
    places = set(zip(table["run_id"].to_pylist(), table["step"].to_pylist(), strict=True)) if len(names) > 2 else set()
    if not _NAME.fullmatch(added.name) or names[:2] != ["run_id", "step"] or len(places) < max(len(table), 1):
        raise ValueError(f"table {added.name!r}: needs run_id, step and metrics, every run and step once")
    folder = results / ADDED_FOLDER
    make_inner_folder(folder, is_shared=bool(results.stat().st_mode & 0o020))
    content = encode_table(table)
    path = folder / f"{added.name}-{hashlib.sha256(content).hexdigest()[:16]}.parquet"
    with _locked(folder):
        sha256 = write_file(path, content)
        write_file(folder / f"{added.name}.json", seal({"file": path.name, "sha256": sha256, "about": added.about}))
        for other in folder.glob(f"{added.name}-*.parquet"):
            is_own = re.fullmatch(r"[0-9a-f]{16}", other.stem.removeprefix(f"{added.name}-"))
            if is_own and other.name != path.name:
                other.unlink()
    return path


def added_tables(results: Path) -> Iterator[AddedTable]:
    """The tables of a results folder, in the order of their names. Raises CorruptFileError for one that is damaged."""
    folder = results / ADDED_FOLDER
    for path in sorted(folder.glob("*.json")):
        yield read_added(path)


def read_added(path: Path) -> AddedTable:
    """The table that a document names. Raises CorruptFileError where either is damaged, or is none of `add_table`."""
    body = unseal(read_file(path), path)
    if (problem := misfit(body, ADDED)) is not None:
        raise CorruptFileError(f"{path}: describes no added table: {problem}")
    if body["about"].get("cost") and "step" not in body["about"]:
        raise CorruptFileError(f"{path}: describes no added table: a cost, and no step from which on it is known")
    file = path.parent / body["file"]
    table = decode_table(read_file(file, body["sha256"]), file)
    if (problem := rows_misfit(table)) is not None:
        raise CorruptFileError(f"{file}: is no table of runs and steps: {problem}")
    return AddedTable(path.stem, table, body["about"])


def with_added(history: History, known: Collection[str], tables: Iterable[AddedTable]) -> History:
    """The history with the tables' values for its runs; all runs that are `known` have rows there."""
    row_of = {run.run_id: row for row, run in enumerate(history.runs)}
    for added in tables:
        run_ids = added.table["run_id"].to_pylist()
        if strange := {*run_ids} - {*known}:
            raise StoreError(f"added table {added.name!r} is of runs that the sweep does not have: {min(strange)}, ...")
        own_N = np.array([run_id in row_of for run_id in run_ids], bool)
        if not own_N.any() or not added.metrics:
            continue
        row_N = np.array([row_of[run_id] for run_id in run_ids if run_id in row_of], np.int64)
        columns = {name: added.table[name].to_numpy().astype(np.float64)[own_N] for name in added.metrics}
        history = filled(history, row_N, added.table["step"].to_numpy()[own_N], columns)
        history = replace(history, readings=history.readings | columns.keys())
        if added.about.get("cost"):
            extra = dict(history.extra_compute)
            extra[added.about["step"]] = extra.get(added.about["step"], 0.0) + added.about["cost"]
            history = replace(history, extra_compute=extra)
    return history


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the folder's lock, so that of two writers of one name neither removes the other's table."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
