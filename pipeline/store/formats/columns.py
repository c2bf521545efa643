"""Columns of Arrow tables, straight from memory: `pyarrow.array` imports pandas, which takes half a second."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import DTypeLike

from pipeline.arrays import Array, Bools, Floats, Ints

_MOST_BYTES = 2**31 - 1


def numbers(values_N: Array, is_null_N: Bools | None = None) -> pa.Array:
    """A column of the array's own type, null where `is_null_N`; NaN is a value."""
    content_N = np.ascontiguousarray(values_N)
    validity = None
    if is_null_N is not None and is_null_N.any():
        validity = pa.py_buffer(np.packbits(~is_null_N, bitorder="little"))
    kind = pa.from_numpy_dtype(content_N.dtype)
    return pa.Array.from_buffers(kind, len(content_N), [validity, pa.py_buffer(content_N)])


def texts(values: Sequence[str]) -> pa.Array:
    """A column of text."""
    return _joined(pa.string(), [value.encode() for value in values])


def blobs(values: Sequence[bytes]) -> pa.Array | pa.ChunkedArray:
    """A column of bytes, in chunks where they are more than 2 GiB together."""
    return _joined(pa.binary(), values)


def lists(values: Sequence[Sequence[int]]) -> pa.Array:
    """A column of lists of whole numbers."""
    whole = np.array([number for each in values for number in each], np.int64)
    return pa.ListArray.from_arrays(numbers(_offsets([len(each) for each in values])), numbers(whole))


def _joined(kind: pa.DataType, values: Sequence[bytes]) -> pa.Array | pa.ChunkedArray:
    lengths = [len(value) for value in values]
    if sum(lengths) > _MOST_BYTES:
        return pa.array(values, kind)
    content = [None, pa.py_buffer(_offsets(lengths)), pa.py_buffer(b"".join(values))]
    return pa.Array.from_buffers(kind, len(lengths), content)


def _offsets(lengths: Sequence[int]) -> Array:
    return np.cumsum([0, *lengths], dtype=np.int32)


class Pivot:
    """Metric -> (R, T) values of runs over `steps_T`, put together from tables of run_id, step and metrics.

    NaN where there is none. With `steps` no others are taken. Needs hardly more memory than its arrays, of `dtype`.
    """

    def __init__(
        self, run_ids: Sequence[str], steps: Collection[int] | None = None, dtype: DTypeLike = np.float64
    ) -> None:
        self.row_of = {run_id: row for row, run_id in enumerate(run_ids)}
        self.steps_T: Ints = np.empty(0, np.int64)
        self.values: dict[str, Floats] = {}
        self._wanted = None if steps is None else np.array(sorted(steps), np.int64)
        self._dtype = dtype

    def add(self, table: pa.Table) -> Ints:
        """Take in what a table has of these runs; the rows of the runs that it is about, some of them repeatedly."""
        row_N, step_N = _places(table["run_id"], self.row_of), table["step"].to_numpy()
        own_N = row_N >= 0
        if self._wanted is not None:
            own_N &= np.isin(step_N, self._wanted)
        row_N, step_N = row_N[own_N], step_N[own_N]
        self._widen(np.unique(step_N))
        column_N = np.searchsorted(self.steps_T, step_N)
        for name in table.column_names[2:]:
            valid_N = table[name].is_valid().to_numpy()[own_N]
            if valid_N.any():
                if name not in self.values:
                    self.values[name] = self._nothing(len(self.steps_T))
                found_N = table[name].to_numpy(zero_copy_only=False)[own_N]
                self.values[name][row_N[valid_N], column_N[valid_N]] = found_N[valid_N]
        return row_N

    def forget(self, run_ids: Iterable[str]) -> None:
        """Take out what was added of these runs, and the metrics and steps of which nothing is left."""
        rows = np.array(sorted(self.row_of[run_id] for run_id in run_ids if run_id in self.row_of), np.int64)
        kept_by = {}
        for name, values_RT in self.values.items():
            values_RT[rows] = np.nan
            kept_by[name] = ~np.all(np.isnan(values_RT), axis=0)
        kept_T = np.any([*kept_by.values()], axis=0) if kept_by else np.zeros(len(self.steps_T), bool)
        self.steps_T = self.steps_T[kept_T]
        self.values = {name: self.values[name][:, kept_T] for name, kept in kept_by.items() if kept.any()}

    def _widen(self, steps: Ints) -> None:
        """Room for steps at which nothing was recorded before."""
        merged_T = np.union1d(self.steps_T, steps)
        if len(merged_T) == len(self.steps_T):
            return
        kept_T = np.searchsorted(merged_T, self.steps_T)
        for name, old_RT in self.values.items():
            self.values[name] = self._nothing(len(merged_T))
            self.values[name][:, kept_T] = old_RT
        self.steps_T = merged_T

    def _nothing(self, num_steps: int) -> Floats:
        return np.full((len(self.row_of), num_steps), np.nan, self._dtype)


def _places(column: pa.ChunkedArray, place_of: Mapping[str, int]) -> Ints:
    """(N,) the place of each text of a column, -1 where it has none; each distinct text is looked up once."""
    encoded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
    parts = []
    for chunk in encoded.chunks:
        places = np.array([place_of.get(text, -1) for text in chunk.dictionary.to_pylist()], np.int64)
        parts.append(places[chunk.indices.to_numpy(zero_copy_only=False)])
    return np.concatenate(parts) if parts else np.empty(0, np.int64)
