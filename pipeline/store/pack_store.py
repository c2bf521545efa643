"""The store of one pack: commit records, the files that they name, and the attempts that may write them."""

from __future__ import annotations

import re
import secrets
from bisect import bisect_left
from collections.abc import Collection, Sequence
from pathlib import Path

import pyarrow as pa

from pipeline.arrays import Array
from pipeline.store.backends.files import Files
from pipeline.store.backends.posix import PosixFiles
from pipeline.store.files import CorruptFileError, read_file
from pipeline.store.formats.sealed import seal, unseal
from pipeline.store.formats.tables import decode_arrays, decode_table, rows_misfit
from pipeline.store.records.record import FileEntry, Record, record_misfit

_READ_TRIES = 3
RECORD_ENDING = ".record.json"
# What an attempt writes, or wrote under a temporary name.
_WRITTEN = re.compile(r"(\.?)([0-9]{4,})-")


class StoreError(Exception):
    """A problem with a results folder that the user must solve; the message states it and what to do."""


class FencedError(StoreError):
    """A later attempt at the pack exists, so this one may no longer commit."""


def read_record(path: Path) -> Record:
    """The record in a file; the files that it names are not checked. Raises CorruptFileError for anything else."""
    return record_in(read_file(path), path)


def record_in(content: bytes, path: Path | str) -> Record:
    """The same of what was read from a file."""
    body = unseal(content, path)
    if (problem := record_misfit(body)) is not None:
        raise CorruptFileError(f"{path}: is no commit record: {problem}")
    return Record.from_body(body)


class PackStore:
    """Reads and writes the files of one pack, in a folder or wherever else."""

    def __init__(self, files: Path | Files) -> None:
        self.files = PosixFiles(files) if isinstance(files, Path) else files

    @property
    def folder(self) -> Path:
        """The folder of the pack, for what is done on POSIX file systems alone."""
        assert isinstance(self.files, PosixFiles)
        return self.files.folder

    def claim_attempt(self) -> int:
        """Claim the next attempt number exclusively; every earlier attempt is fenced from now on."""
        number = self.newest_attempt()
        while not self.claim_after(number):
            number += 1
        return number + 1

    def claim_after(self, number: int) -> bool:
        """Claim the attempt that follows `number`, which fences all before it; whether nobody else had."""
        # No two claims are alike, so that one whose reply was lost is known again.
        return self.files.put_if_absent(_attempt(number + 1), secrets.token_bytes(16).hex().encode())

    def newest_attempt(self) -> int:
        """The highest attempt claimed so far, 0 if none."""
        # Not by the names that are there, which may be late. Claims leave no gap, so a search by halves will do.
        missing = 1
        while self.files.exists(_attempt(missing)):
            missing *= 2
        return (
            bisect_left(range(missing), True, lo=missing // 2 + 1, key=lambda n: not self.files.exists(_attempt(n))) - 1
        )

    def records(self) -> list[Record]:
        """Every intact record, newest first; the files that it names are not checked."""
        return self._records_among(self.files.names())

    def _records_among(self, names: Collection[str]) -> list[Record]:
        found = []
        for name in names:
            if not name.endswith(RECORD_ENDING):
                continue
            try:
                found.append(record_in(self.files.get(name), self.files.address_of(name)))
            except CorruptFileError:
                continue
        return sorted(found, key=lambda record: record.order, reverse=True)

    def _record_names(self) -> list[str]:
        return [name for name in self.files.names() if name.endswith(RECORD_ENDING)]

    def newest(self, reads_files: bool = True) -> Record | None:
        """The newest record whose files are all intact; None if nothing was ever committed.

        Without `reads_files` they need only be there, which costs nothing beside the records and tells no damage inside
        them. Raises StoreError, naming what is damaged, if there are records but none is intact: the user must then
        decide.
        """
        # A writer may remove an old generation while it is read: retry.
        for _ in range(_READ_TRIES):
            names = self.files.names()
            records, problems = self._records_among(names), []
            for record in records:
                problem = self._damage(record) if reads_files else self._missing(record, names)
                if problem is None:
                    return record
                problems.append(problem)
            if not records and not self._record_names():
                return None
        damage = problems[0] if problems else f"{self.files.address}: no commit record can be read"
        raise StoreError(f"{damage}; no generation of this pack is whole: `seedbed repair` computes it again")

    def _damage(self, record: Record) -> str | None:
        try:
            for entry in record.files():
                self.files.get(entry.name, entry.sha256)
        except CorruptFileError as error:
            return str(error)
        return None

    def _missing(self, record: Record, names: Collection[str]) -> str | None:
        # A listing may be late.
        absent = (entry.name for entry in record.files() if entry.name not in names)
        lost = next((name for name in absent if not self.files.exists(name)), None)
        return None if lost is None else f"{self.files.address_of(lost)}: is missing"

    def write(self, attempt: int, sequence: int, kind: str, content: bytes) -> FileEntry:
        """Write one file of a commit, durably; it takes effect only when a record names it. Raises FencedError."""
        name = f"{attempt:04d}-{sequence:06d}.{kind}.parquet"
        try:
            return FileEntry(name, self.files.put(name, content))
        except FileNotFoundError:
            # A later attempt removes what earlier ones left, including this file.
            self._refuse_if_fenced(attempt)
            raise

    def record_path(self, order: tuple[int, int]) -> Path:
        """Where the record of this (attempt, sequence) stands, or stood."""
        return self.folder / _record_name(order)

    def commit(self, record: Record) -> None:
        """Write `record`, making it current. Raises FencedError, changing nothing, if a later attempt was claimed."""
        self._refuse_if_fenced(record.attempt)
        name = _record_name(record.order)
        try:
            self.files.put(name, seal(record.body()))
        except FileNotFoundError:
            self._refuse_if_fenced(record.attempt)
            raise
        if self.newest_attempt() > record.attempt:
            # Claimed since then. What it removed of this one's files before it could see the record is gone, and with
            # a file missing it has not continued from this record either.
            if self._damage(record) is not None:
                self.files.delete([name])
            self._refuse_if_fenced(record.attempt)

    def _refuse_if_fenced(self, attempt: int) -> None:
        if self.newest_attempt() > attempt:
            raise FencedError(f"{self.files.address}: attempt {attempt} was superseded; it may not commit")

    def remove_unnamed(self, attempt: int, generations: Sequence[Record]) -> None:
        """Delete records and files, of this and earlier attempts, that none of the given generations names.

        Records first, durably: no record is left that names a file which is gone.
        """
        kept = {_record_name(record.order) for record in generations}
        kept |= {entry.name for record in generations for entry in record.files()}
        unnamed = [name for name in self.files.names() if _is_written_by(name, attempt) and name not in kept]
        self.files.delete([name for name in unnamed if name.endswith(RECORD_ENDING)], is_durable=True)
        self.files.delete([name for name in unnamed if not name.endswith(RECORD_ENDING)])

    def arrays(self, entry: FileEntry, ending: str = "") -> dict[str, Array]:
        """The arrays of a checkpoint or snapshots file whose names end so. Raises CorruptFileError."""
        return decode_arrays(self.files.get(entry.name, entry.sha256), self.files.address_of(entry.name), ending)

    def snapshots(self, entry: FileEntry) -> dict[str, dict[str, Array]]:
        """RUN/STEP/KIND -> name -> array, of a snapshots file. Raises CorruptFileError."""
        found: dict[str, dict[str, Array]] = {}
        for name, array in self.arrays(entry).items():
            *snapshot, inner = name.split("/", 3)
            found.setdefault("/".join(snapshot), {})[inner] = array
        return found

    def table(self, entry: FileEntry, metrics: Collection[str] | None = None) -> pa.Table:
        """The rows of a history file, with these metrics of those that it has (None: all). Raises CorruptFileError."""
        address = self.files.address_of(entry.name)
        columns = None if metrics is None else ("run_id", "step", *metrics)
        table = decode_table(self.files.get(entry.name, entry.sha256), address, columns)
        if (problem := rows_misfit(table)) is not None:
            raise CorruptFileError(f"{address}: is no table of runs and steps: {problem}")
        return table


def _attempt(number: int) -> str:
    return f"attempt-{number:04d}"


def _record_name(order: tuple[int, int]) -> str:
    return "{:04d}-{:06d}".format(*order) + RECORD_ENDING


def _is_written_by(name: str, attempt: int) -> bool:
    """Whether a file is one of this attempt or an earlier one, or a temporary file of it."""
    found = _WRITTEN.match(name)
    return found is not None and 1 <= int(found[2]) <= attempt and (not found[1] or name.endswith(".tmp"))
