"""The commit record of a pack, and the document that holds it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pipeline.store.records.ends import EndColumns, Ended
from pipeline.store.records.snapshot_entries import EntryColumns, SnapshotEntry
from pipeline.store.records.validator import validator
from pipeline.store.shapes import RECORD, RECORD_BY_RUN, misfit

_is_record = validator(RECORD)


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
    snapshots: tuple[tuple[FileEntry, Sequence[SnapshotEntry]], ...] = ()
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
        """As plain values, by the names of the fields, with ends and snapshots as columns over runs."""
        body = {
            **vars(self),
            "checkpoint": None if self.checkpoint is None else vars(self.checkpoint),
            "history": [vars(entry) for entry in self.history],
            "snapshots": [[vars(entry), EntryColumns.of(entries).body()] for entry, entries in self.snapshots],
            "ended": EndColumns.of(self.ends).body(),
            "active": {run_id: vars(entry) for run_id, entry in self.active.items()},
        }
        del body["ends"]
        return body

    @staticmethod
    def from_body(body: Mapping[str, Any]) -> Record:
        """The record of an unsealed document, of this version or of one that wrote ends and snapshots run by run."""
        checkpoint = body["checkpoint"]
        return Record(
            sweep_id=body["sweep_id"],
            pack_id=body["pack_id"],
            attempt=body["attempt"],
            sequence=body["sequence"],
            checkpoint=None if checkpoint is None else FileEntry(**checkpoint),
            history=tuple(FileEntry(**entry) for entry in body["history"]),
            snapshots=tuple((FileEntry(**entry), _entries(items)) for entry, items in body["snapshots"]),
            ends=_ends(body),
            active={run_id: Active(**_with_tuples(entry)) for run_id, entry in body["active"].items()},
            run_steps=body["run_steps"],
            wall_s=body["wall_s"],
            answer=body.get("answer", ""),
            sources=body.get("sources", ""),
            processor=body.get("processor", ""),
            history_times=tuple((begun, committed) for begun, committed in body.get("history_times", ())),
            slots=body.get("slots", 0),
        )


def record_misfit(body: Mapping[str, Any]) -> str | None:
    """Why an unsealed document is no commit record, in a clause; None where it is one."""
    if "ended" not in body:
        problem = misfit(body, RECORD_BY_RUN)
    elif (problem := None if _is_record(body) else misfit(body, RECORD)) is None:
        problems = (EntryColumns.from_body(columns).misfit() for _, columns in body["snapshots"])
        problem = EndColumns.from_body(body["ended"]).misfit() or next(filter(None, problems), None)
    if problem is None and len(body.get("history_times", ())) > len(body["history"]):
        return "history_times are more than the files of history"
    return problem


def _ends(body: Mapping[str, Any]) -> Mapping[str, Ended]:
    if "ended" in body:
        return EndColumns.from_body(body["ended"])
    return {run_id: Ended(**_with_tuples(end)) for run_id, end in body["ends"].items()}


def _entries(found: Any) -> Sequence[SnapshotEntry]:
    if isinstance(found, Mapping):
        return EntryColumns.from_body(found)
    return tuple(SnapshotEntry(**item) for item in found)


def _with_tuples(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {**entry, "sources": tuple(entry.get("sources", ())), "slots": tuple(entry.get("slots", ()))}
