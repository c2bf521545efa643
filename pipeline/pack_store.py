"""The store of one pack: commit records, the files that they name, and the attempts that may write them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipeline.storage import (
    Array,
    CorruptFileError,
    claim,
    decode_arrays,
    decode_table,
    make_folder,
    read_file,
    seal,
    unseal,
    write_file,
)

_KEPT_GENERATIONS = 2


class StoreError(Exception):
    """Something about a results folder that the user must know; the message says what and what to do."""


class FencedError(StoreError):
    """A later attempt at the pack exists, so this one may no longer commit."""


@dataclass(frozen=True)
class Ended:
    """The end of a run as a record names it. `weights_sha256` is over the unpadded weights at `step`.

    `is_converged` is what the sweep's own criterion said by then; analysis decides anew from the history.
    """

    reason: str
    step: int
    weights_sha256: str
    is_converged: bool


@dataclass(frozen=True)
class SnapshotEntry:
    """One run's arrays at one step, somewhere in a snapshots file. `kind` is "state" or "attention"."""

    run_id: str
    step: int
    kind: str
    sha256: str


@dataclass(frozen=True)
class Active:
    """A run in progress at a commit: its slot, and the step that its state in the checkpoint is at."""

    slot: int
    step: int


@dataclass(frozen=True)
class FileEntry:
    """A file that a record names, relative to the pack's folder."""

    name: str
    sha256: str


@dataclass(frozen=True)
class Record:
    """The commit record of a pack: all that is true of it at one moment."""

    sweep_id: str
    pack_id: str
    attempt: int
    sequence: int
    checkpoint: FileEntry | None = None
    history: tuple[FileEntry, ...] = ()
    snapshots: tuple[tuple[FileEntry, tuple[SnapshotEntry, ...]], ...] = ()
    ends: Mapping[str, Ended] = field(default_factory=dict)
    active: Mapping[str, Active] = field(default_factory=dict)
    run_steps: int = 0
    wall_s: float = 0.0

    @property
    def order(self) -> tuple[int, int]:
        return self.attempt, self.sequence

    def files(self) -> Iterator[FileEntry]:
        if self.checkpoint is not None:
            yield self.checkpoint
        yield from self.history
        yield from (entry for entry, _ in self.snapshots)

    @staticmethod
    def from_body(body: Mapping[str, Any]) -> Record:
        checkpoint = body["checkpoint"]
        return Record(
            sweep_id=body["sweep_id"],
            pack_id=body["pack_id"],
            attempt=body["attempt"],
            sequence=body["sequence"],
            checkpoint=None if checkpoint is None else FileEntry(**checkpoint),
            history=tuple(FileEntry(**entry) for entry in body["history"]),
            snapshots=tuple(
                (FileEntry(**entry), tuple(SnapshotEntry(**item) for item in items))
                for entry, items in body["snapshots"]
            ),
            ends={run_id: Ended(**end) for run_id, end in body["ends"].items()},
            active={run_id: Active(**entry) for run_id, entry in body["active"].items()},
            run_steps=body["run_steps"],
            wall_s=body["wall_s"],
        )


class PackStore:
    """The folder of one pack, for its writer and its readers."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def claim_attempt(self) -> int:
        """The next attempt number, ours alone; every earlier attempt is fenced from now on."""
        make_folder(self.folder, is_shared=bool(self.folder.parent.stat().st_mode & 0o020))
        number = self.newest_attempt() + 1
        while not claim(self._attempt(number)):
            number += 1
        return number

    def newest_attempt(self) -> int:
        """The highest attempt claimed so far, 0 if none."""
        return next(number for number in itertools.count() if not self._attempt(number + 1).exists())

    def _attempt(self, number: int) -> Path:
        return self.folder / f"attempt-{number:04d}"

    def records(self) -> list[Record]:
        """Every record that is whole in itself, newest first; its files are not looked at."""
        found = []
        for path in self.folder.glob("*.record.json"):
            try:
                found.append(Record.from_body(unseal(read_file(path), path)))
            except CorruptFileError:
                continue
        return sorted(found, key=lambda record: record.order, reverse=True)

    def newest(self) -> Record | None:
        """The newest record all of whose files are whole; None if there is none."""
        return next((record for record in self.records() if self.is_whole(record)), None)

    def is_whole(self, record: Record) -> bool:
        try:
            for entry in record.files():
                read_file(self.folder / entry.name, entry.sha256)
        except CorruptFileError:
            return False
        return True

    def write(self, attempt: int, sequence: int, kind: str, content: bytes) -> FileEntry:
        name = f"{attempt:04d}-{sequence:06d}.{kind}.parquet"
        return FileEntry(name, write_file(self.folder / name, content))

    def commit(self, record: Record) -> None:
        """Make `record` true. Raises FencedError if a later attempt was claimed; then nothing has changed."""
        if self.newest_attempt() > record.attempt:
            raise FencedError(f"pack {record.pack_id}: attempt {record.attempt} was superseded; it may not commit")
        path = self.folder / f"{record.attempt:04d}-{record.sequence:06d}.record.json"
        write_file(path, seal(asdict(record)))

    def remove_unnamed(self, attempt: int) -> None:
        """Delete records and files, of this and earlier attempts, that none of the two newest whole records names."""
        whole = [record for record in self.records() if self.is_whole(record)][:_KEPT_GENERATIONS]
        kept = {f"{record.attempt:04d}-{record.sequence:06d}.record.json" for record in whole}
        kept |= {entry.name for record in whole for entry in record.files()}
        for number in range(1, attempt + 1):
            for path in (*self.folder.glob(f"{number:04d}-*"), *self.folder.glob(f".{number:04d}-*.tmp")):
                if path.name not in kept:
                    path.unlink(missing_ok=True)

    def arrays(self, entry: FileEntry) -> dict[str, Array]:
        path = self.folder / entry.name
        return decode_arrays(read_file(path, entry.sha256), path)

    def table(self, entry: FileEntry) -> pa.Table:
        path = self.folder / entry.name
        return decode_table(read_file(path, entry.sha256), path)
