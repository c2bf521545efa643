"""The store of one pack: commit records, the files that they name, and the attempts that may write them."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

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
from pipeline.store.shapes import RECORD, misfit

_READ_TRIES = 3
RECORD_ENDING = ".record.json"
# Ends of a run that raised an error, and of one that is to be tried again after it.
FAILED_RUN, RETRIED_RUN = "failed", "retried"


class StoreError(Exception):
    """A problem with a results folder that the user must solve; the message states it and what to do."""


class FencedError(StoreError):
    """A later attempt at the pack exists, so this one may no longer commit."""


@dataclass(frozen=True)
class Ended:
    """The end of a run as a record names it. `weights_sha256` is over the unpadded weights at `step`.

    `is_converged` is by the sweep's criterion at that step; analysis recomputes it from the history. `sources` are the
    digests of the texts that computed the run, in order: one, unless a change of code was accepted on the way; none in
    records of versions before 0.2. `slots` are the numbers of slots under which it was computed, in order; none where
    that was the plan's throughout. A run that failed has a `cause`, and ended at the beginning of the chunk in which it
    raised an error; `weights_sha256` is empty where that is its first one, since no state is kept then.
    """

    reason: str
    step: int
    weights_sha256: str
    is_converged: bool
    sources: tuple[str, ...] = ()
    slots: tuple[int, ...] = ()
    cause: str = ""

    def is_continued_to(self, budget: int) -> bool:
        """Whether the run goes on under this budget: having ended at a smaller one, or to be tried again."""
        return self.reason == RETRIED_RUN or (self.reason == "budget" and self.step < budget)


@dataclass(frozen=True)
class SnapshotEntry:
    """One run's arrays at one step, somewhere in a snapshots file. `kind` is "state", "weights" or "attention"."""

    run_id: str
    step: int
    kind: str
    sha256: str


@dataclass(frozen=True)
class Active:
    """A run in progress at a commit: its slot, and the step that its state in the checkpoint is at.

    `sources` and `slots` are what computed it so far, as of `Ended`. A run that waits for a slot to go on, since there
    are fewer slots than before, has slot -1.
    """

    slot: int
    step: int
    sources: tuple[str, ...] = ()
    slots: tuple[int, ...] = ()


@dataclass(frozen=True)
class FileEntry:
    """A file that a record names, relative to the pack's folder."""

    name: str
    sha256: str


@dataclass(frozen=True)
class Record:
    """The commit record of a pack: its complete state at one commit.

    `answer` is the hash of what the arithmetic that computed it makes of the pack's first run in two steps, `sources`
    that of the source files, `processor` the model of the processor; all empty in records of versions before 0.2.
    `history_times` are the Unix times, in seconds, between which the rows of each history file were recorded, by the
    clock of the machine; none in records of earlier versions. They are information alone: no order rests on them.
    `slots` is the number of slots from here on; 0 is the plan's.
    """

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
    answer: str = ""
    sources: str = ""
    processor: str = ""
    history_times: tuple[tuple[float, float], ...] = ()
    slots: int = 0

    @property
    def order(self) -> tuple[int, int]:
        """Sort key by which the newest record is the greatest; independent of clocks."""
        return self.attempt, self.sequence

    def times_of_history(self) -> Iterator[tuple[FileEntry, tuple[float, float] | None]]:
        """Every history file, in order, with the times between which its rows were recorded, where these are known."""
        unknown = [(0.0, 0.0)] * (len(self.history) - len(self.history_times))
        for entry, times in zip(self.history, (*unknown, *self.history_times), strict=True):
            yield entry, times if times[1] > 0 else None

    def files(self) -> Iterator[FileEntry]:
        """Every file that the record names."""
        if self.checkpoint is not None:
            yield self.checkpoint
        yield from self.history
        yield from (entry for entry, _ in self.snapshots)

    def body(self) -> dict[str, Any]:
        """As plain values, by the names of the fields. Not by `asdict`, which copies each of a million values."""
        return {
            **vars(self),
            "checkpoint": None if self.checkpoint is None else vars(self.checkpoint),
            "history": [vars(entry) for entry in self.history],
            "snapshots": [[vars(entry), [vars(item) for item in items]] for entry, items in self.snapshots],
            "ends": {run_id: vars(end) for run_id, end in self.ends.items()},
            "active": {run_id: vars(entry) for run_id, entry in self.active.items()},
        }

    @staticmethod
    def from_body(body: Mapping[str, Any]) -> Record:
        """The record of an unsealed document: the inverse of `body`."""
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
            ends={run_id: Ended(**_with_tuples(end)) for run_id, end in body["ends"].items()},
            active={run_id: Active(**_with_tuples(entry)) for run_id, entry in body["active"].items()},
            run_steps=body["run_steps"],
            wall_s=body["wall_s"],
            answer=body.get("answer", ""),
            sources=body.get("sources", ""),
            processor=body.get("processor", ""),
            history_times=tuple((begun, committed) for begun, committed in body.get("history_times", ())),
            slots=body.get("slots", 0),
        )


def read_record(path: Path) -> Record:
    """The record in a file; the files that it names are not checked. Raises CorruptFileError for anything else."""
    body = unseal(read_file(path), path)
    if (problem := misfit(body, RECORD)) is not None:
        raise CorruptFileError(f"{path}: is no commit record: {problem}")
    if len(body.get("history_times", ())) > len(body["history"]):
        raise CorruptFileError(f"{path}: is no commit record: history_times are more than the files of history")
    return Record.from_body(body)


def _with_tuples(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {**entry, "sources": tuple(entry.get("sources", ())), "slots": tuple(entry.get("slots", ()))}


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
