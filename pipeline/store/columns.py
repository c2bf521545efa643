"""Columns of Arrow tables, straight from memory: `pyarrow.array` imports pandas, which takes half a second."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from pipeline.arrays import Array, Bools

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
