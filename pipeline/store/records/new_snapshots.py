"""Snapshots of a pack's runs since the newest commit, as arrays over runs."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.arrays import Array, dtype_name
from pipeline.store.formats.tables import encode_rows
from pipeline.store.records.snapshot_entries import SnapshotEntry


@dataclass(frozen=True)
class _Stack:
    """Arrays of `number` runs N by name; of each: type, shape of a run's, and (N, bytes) their content."""

    number: int
    names: tuple[str, ...]
    dtypes: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    contents: tuple[Array, ...]

    @staticmethod
    def of(arrays: Mapping[str, Array], number: int) -> _Stack:
        """The stack of name -> (N, ...), which may hold no name."""
        values = arrays.values()
        return _Stack(
            number,
            tuple(arrays),
            tuple(dtype_name(value.dtype) for value in values),
            tuple(value.shape[1:] for value in values),
            tuple(_bytes_of_rows(value) for value in values),
        )

    def digests(self) -> list[str]:
        """Of each run the SHA-256 over names, types, shapes and bytes, in order of name."""
        order = sorted(range(len(self.names)), key=self.names.__getitem__)
        # Numbers have the shape (1,) there, as in every record so far.
        heads = [f"{self.names[k]}:{self.dtypes[k]}:{self.shapes[k] or (1,)}:".encode() for k in order]
        found = []
        contents = [self.contents[k] for k in order]
        for row in range(self.number):
            digest = hashlib.sha256()
            for head, content in zip(heads, contents, strict=True):
                digest.update(head)
                digest.update(content[row])
            found.append(digest.hexdigest())
        return found


class NewSnapshots:
    """Snapshots in the order in which they were added, each once."""

    def __init__(self) -> None:
        self._places: dict[SnapshotEntry, tuple[_Stack, int]] = {}

    def __len__(self) -> int:
        return len(self._places)

    @property
    def entries(self) -> tuple[SnapshotEntry, ...]:
        """What a record names of them."""
        return tuple(self._places)

    def add(self, run_ids: Sequence[str], steps: Sequence[int], kind: str, arrays: Mapping[str, Array]) -> None:
        """Snapshots of N runs, at a step each, of name -> (N, ...)."""
        stack = _Stack.of(arrays, len(run_ids))
        for row, (run_id, step, digest) in enumerate(zip(run_ids, steps, stack.digests(), strict=True)):
            self._places.setdefault(SnapshotEntry(run_id, step, kind, digest), (stack, row))

    def forget(self, run_id: str, step: int) -> None:
        """Remove those of a run after `step`."""
        for entry in [entry for entry in self._places if entry.run_id == run_id and entry.step > step]:
            del self._places[entry]

    def encoded(self) -> bytes:
        """The file that holds them."""
        names: list[str] = []
        dtypes: list[str] = []
        shapes: list[tuple[int, ...]] = []
        data: list[bytes] = []
        for entry, (stack, row) in self._places.items():
            place = f"{entry.run_id}/{entry.step}/{entry.kind}/"
            names += [place + name for name in stack.names]
            dtypes += stack.dtypes
            shapes += stack.shapes
            data += [content[row].tobytes() for content in stack.contents]
        return encode_rows(names, dtypes, shapes, data)


def arrays_sha256(arrays: Mapping[str, Array]) -> str:
    """SHA-256 over names, types, shapes and bytes of one run's arrays, in order of name."""
    return _Stack.of({name: np.asarray(array)[None] for name, array in arrays.items()}, 1).digests()[0]


def rows_sha256(rows: Array) -> list[str]:
    """SHA-256 over the bytes of each row."""
    return [hashlib.sha256(content).hexdigest() for content in _bytes_of_rows(rows)]


def _bytes_of_rows(values: Array) -> Array:
    """(N, bytes) little-endian, of (N, ...)."""
    rows = np.ascontiguousarray(values).reshape(len(values), math.prod(values.shape[1:]))
    return rows.astype(rows.dtype.newbyteorder("<"), copy=False).view(np.uint8)
