"""A pack that still trains, followed from commit to commit: each is noticed at little cost, each file read once."""

from __future__ import annotations

import os
from dataclasses import dataclass

import pyarrow as pa

from pipeline.store.files import CorruptFileError
from pipeline.store.pack_store import RECORD_ENDING, PackStore
from pipeline.store.records.record import Record


@dataclass(frozen=True)
class NewCommit:
    """A pack's newest record, and what it adds to the one that was the newest before.

    `tables` are those of the new history files, in order, each with the times between which its rows were recorded,
    where these are known. A record that does not continue the one before, since what an earlier attempt committed last
    was lost, stands for itself: `is_continued` is False, and the tables are all that is true of the pack.
    """

    record: Record
    before: Record | None
    is_continued: bool
    tables: tuple[tuple[pa.Table, tuple[float, float] | None], ...]


class PackTail:
    """The newest whole record of a pack, as of the last `poll`; `record` is None before the first commit.

    With `reads_history` the history files that are new are read with it, and those alone. Without, nothing but records
    is read, and the files that a new one names need only be there.
    """

    def __init__(self, store: PackStore, reads_history: bool = True) -> None:
        self.store, self.reads_history = store, reads_history
        self.record: Record | None = None
        self._records: frozenset[tuple[str, int]] = frozenset()

    def poll(self) -> NewCommit | None:
        """What was committed since the last call; None where nothing was, for the price of a look at the folder.

        Raises StoreError where the pack is damaged throughout.
        """
        try:
            records = self._records_now()
        except FileNotFoundError:
            return None
        if records == self._records:
            return None
        found = self._newest()
        self._records = records
        return found

    def _records_now(self) -> frozenset[tuple[str, int]]:
        """Name and number on its disk of every record: by these a new one is noticed, whatever the clocks say."""
        with os.scandir(self.store.folder) as entries:
            return frozenset((entry.name, entry.inode()) for entry in entries if entry.name.endswith(RECORD_ENDING))

    def _newest(self) -> NewCommit | None:
        record = next(iter(self.store.records()), None)
        if self._is_known(record):
            return None
        if self.reads_history:
            try:
                return self._taken(record)
            except CorruptFileError:
                # Removed by a later attempt while it was read, or damaged: the newest record whose files are all whole.
                pass
        return self._taken(self.store.newest(self.reads_history))

    def _is_known(self, record: Record | None) -> bool:
        return record is not None and self.record is not None and record.order == self.record.order

    def _taken(self, record: Record | None) -> NewCommit | None:
        if record is None or self._is_known(record):
            return None
        before, known = self.record, () if self.record is None else self.record.history
        is_continued = record.history[: len(known)] == known
        files = list(record.times_of_history())[len(known) if is_continued else 0 :] if self.reads_history else []
        tables = tuple((self.store.table(entry), times) for entry, times in files)
        self.record = record
        return NewCommit(record, before, is_continued, tables)
