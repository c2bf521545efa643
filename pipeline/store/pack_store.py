"""The store of one pack: commit records, the files that they name, and the attempts that may write them."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Sequence
from pathlib import Path

import pyarrow as pa

from pipeline.arrays import Array
from pipeline.store.files import (
    CorruptFileError,
    create_exclusively,
    decode_arrays,
    decode_table,
    is_shared_folder,
    make_inner_folder,
    read_file,
    rows_misfit,
    seal,
    sync_folder,
    unseal,
    write_file,
)
from pipeline.store.records.record import FileEntry, Record, record_misfit

_READ_TRIES = 3
RECORD_ENDING = ".record.json"


class StoreError(Exception):
    """A problem with a results folder that the user must solve; the message states it and what to do."""


class FencedError(StoreError):
    """A later attempt at the pack exists, so this one may no longer commit."""


def read_record(path: Path) -> Record:
    """The record in a file; the files that it names are not checked. Raises CorruptFileError for anything else."""
    body = unseal(read_file(path), path)
    if (problem := record_misfit(body)) is not None:
        raise CorruptFileError(f"{path}: is no commit record: {problem}")
    return Record.from_body(body)


class PackStore:
    """Reads and writes the folder of one pack."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def claim_attempt(self) -> int:
        """Claim the next attempt number exclusively; every earlier attempt is fenced from now on."""
        number = self.newest_attempt()
        while not self.claim_after(number):
            number += 1
        return number + 1

    def claim_after(self, number: int) -> bool:
        """Claim the attempt that follows `number`, which fences all before it; whether nobody else had."""
        is_shared = is_shared_folder(self.folder.parent)
        make_inner_folder(self.folder.parent, is_shared)
        make_inner_folder(self.folder, is_shared)
        return create_exclusively(self._attempt(number + 1))

    def newest_attempt(self) -> int:
        """The highest attempt claimed so far, 0 if none."""
        return next(number for number in itertools.count() if not self._attempt(number + 1).exists())

    def _attempt(self, number: int) -> Path:
        return self.folder / f"attempt-{number:04d}"

    def records(self) -> list[Record]:
        """Every intact record, newest first; the files that it names are not checked."""
        found = []
        for path in self.folder.glob(f"*{RECORD_ENDING}"):
            try:
                found.append(read_record(path))
            except CorruptFileError:
                continue
        return sorted(found, key=lambda record: record.order, reverse=True)

    def newest(self) -> Record | None:
        """The newest record whose files are all intact; None if nothing was ever committed.

        Raises StoreError, naming what is damaged, if there are records but none is intact: the user must then decide.
        """
        # A writer may remove an old generation while it is read: retry.
        for _ in range(_READ_TRIES):
            records = self.records()
            problems = []
            for record in records:
                problem = self._damage(record)
                if problem is None:
                    return record
                problems.append(problem)
            if not records and not any(self.folder.glob(f"*{RECORD_ENDING}")):
                return None
        damage = problems[0] if problems else f"{self.folder}: no commit record can be read"
        raise StoreError(f"{damage}; no generation of this pack is whole: `seedbed repair` computes it again")

    def _damage(self, record: Record) -> str | None:
        try:
            for entry in record.files():
                read_file(self.folder / entry.name, entry.sha256)
        except CorruptFileError as error:
            return str(error)
        return None

    def write(self, attempt: int, sequence: int, kind: str, content: bytes) -> FileEntry:
        """Write one file of a commit, durably; it takes effect only when a record names it. Raises FencedError."""
        name = f"{attempt:04d}-{sequence:06d}.{kind}.parquet"
        try:
            return FileEntry(name, write_file(self.folder / name, content))
        except FileNotFoundError:
            # A later attempt removes what earlier ones left, including this file.
            self._refuse_if_fenced(attempt)
            raise

    def record_path(self, order: tuple[int, int]) -> Path:
        """Where the record of this (attempt, sequence) stands, or stood."""
        return self.folder / ("{:04d}-{:06d}".format(*order) + RECORD_ENDING)

    def commit(self, record: Record) -> None:
        """Write `record`, making it current. Raises FencedError, changing nothing, if a later attempt was claimed."""
        self._refuse_if_fenced(record.attempt)
        path = self.record_path(record.order)
        try:
            write_file(path, seal(record.body()))
        except FileNotFoundError:
            self._refuse_if_fenced(record.attempt)
            raise
        if self.newest_attempt() > record.attempt:
            # Claimed since then. What it removed of this one's files before it could see the record is gone, and with
            # a file missing it has not continued from this record either.
            if self._damage(record) is not None:
                path.unlink(missing_ok=True)
            self._refuse_if_fenced(record.attempt)

    def _refuse_if_fenced(self, attempt: int) -> None:
        if self.newest_attempt() > attempt:
            raise FencedError(f"{self.folder}: attempt {attempt} was superseded; it may not commit")

    def remove_unnamed(self, attempt: int, generations: Sequence[Record]) -> None:
        """Delete records and files, of this and earlier attempts, that none of the given generations names.

        Records first, durably: no record is left that names a file which is gone.
        """
        kept = {self.record_path(record.order).name for record in generations}
        kept |= {entry.name for record in generations for entry in record.files()}
        patterns = [pattern for n in range(1, attempt + 1) for pattern in (f"{n:04d}-*", f".{n:04d}-*.tmp")]
        unnamed = [path for pattern in patterns for path in self.folder.glob(pattern) if path.name not in kept]
        records = [path for path in unnamed if path.name.endswith(RECORD_ENDING)]
        for path in records:
            path.unlink(missing_ok=True)
        if records:
            sync_folder(self.folder)
        for path in unnamed:
            path.unlink(missing_ok=True)

    def arrays(self, entry: FileEntry, ending: str = "") -> dict[str, Array]:
        """The arrays of a checkpoint or snapshots file whose names end so. Raises CorruptFileError."""
        path = self.folder / entry.name
        return decode_arrays(read_file(path, entry.sha256), path, ending)

    def snapshots(self, entry: FileEntry) -> dict[str, dict[str, Array]]:
        """RUN/STEP/KIND -> name -> array, of a snapshots file. Raises CorruptFileError."""
        found: dict[str, dict[str, Array]] = {}
        for name, array in self.arrays(entry).items():
            *snapshot, inner = name.split("/", 3)
            found.setdefault("/".join(snapshot), {})[inner] = array
        return found

    def table(self, entry: FileEntry, metrics: Collection[str] | None = None) -> pa.Table:
        """The rows of a history file, with these metrics of those that it has (None: all). Raises CorruptFileError."""
        path = self.folder / entry.name
        columns = None if metrics is None else ("run_id", "step", *metrics)
        table = decode_table(read_file(path, entry.sha256), path, columns)
        if (problem := rows_misfit(table)) is not None:
            raise CorruptFileError(f"{path}: is no table of runs and steps: {problem}")
        return table
