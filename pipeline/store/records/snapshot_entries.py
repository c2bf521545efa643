"""The snapshots in one file as a commit record has them: steps and kinds once, and by run an id and a digest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, overload

from pipeline.store.records.packed import Digests, Ids, number_misfit, numbered_rows


@dataclass(frozen=True)
class SnapshotEntry:
    """One run's arrays at one step, somewhere in a snapshots file. `kind` is "state", "weights" or "attention"."""

    run_id: str
    step: int
    kind: str
    sha256: str


class EntryColumns(Sequence[SnapshotEntry]):
    """The entries of one file, from columns; `kinds` are the distinct pairs of step and kind."""

    def __init__(
        self, run_ids: Ids, kinds: tuple[tuple[int, str], ...], kind_of: int | list[int], sha256: Digests
    ) -> None:
        self.run_ids, self.kinds, self.kind_of, self.sha256 = run_ids, kinds, kind_of, sha256

    @staticmethod
    def of(entries: Sequence[SnapshotEntry]) -> EntryColumns:
        """The columns of these."""
        if isinstance(entries, EntryColumns):
            return entries
        kinds, kind_of = numbered_rows([(entry.step, entry.kind) for entry in entries])
        digests = Digests.of([entry.sha256 for entry in entries])
        return EntryColumns(Ids(" ".join([entry.run_id for entry in entries])), tuple(kinds), kind_of, digests)

    @staticmethod
    def from_body(body: Mapping[str, Any]) -> EntryColumns:
        """The inverse of `body`."""
        kinds = tuple((step, kind) for step, kind in body["kinds"])
        return EntryColumns(Ids(body["run_ids"]), kinds, body["kind_of"], Digests(body["sha256"]))

    def body(self) -> dict[str, Any]:
        """As plain values."""
        kinds = [[*kind] for kind in self.kinds]
        return {
            "run_ids": self.run_ids.text,
            "kinds": kinds,
            "kind_of": self.kind_of,
            "sha256": self.sha256.stored,
        }

    def misfit(self) -> str | None:
        """Why the columns do not belong together, in a clause; None where they do."""
        number = len(self.run_ids)
        return (
            self.run_ids.misfit() or number_misfit(self.kind_of, len(self.kinds), number) or self.sha256.misfit(number)
        )

    def __len__(self) -> int:
        return len(self.run_ids)

    @overload
    def __getitem__(self, place: int) -> SnapshotEntry: ...
    @overload
    def __getitem__(self, place: slice) -> tuple[SnapshotEntry, ...]: ...
    def __getitem__(self, place: int | slice) -> SnapshotEntry | tuple[SnapshotEntry, ...]:
        return self._entries[place]

    def __iter__(self) -> Iterator[SnapshotEntry]:
        return iter(self._entries)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and tuple(self) == tuple(other)

    def __hash__(self) -> int:
        return hash(self._entries)

    @cached_property
    def _entries(self) -> tuple[SnapshotEntry, ...]:
        kind_of = [self.kind_of] * len(self) if isinstance(self.kind_of, int) else self.kind_of
        return tuple(
            SnapshotEntry(run_id, *self.kinds[number], self.sha256[place])
            for place, (run_id, number) in enumerate(zip(self.run_ids.words, kind_of, strict=True))
        )
