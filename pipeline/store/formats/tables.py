"""Parquet tables with page checksums, and named arrays as such a table; no pickle."""

from __future__ import annotations

import io
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.arrays import Array, dtype_name
from pipeline.store.files import CorruptFileError
from pipeline.store.formats.columns import blobs, lists, texts

_ARRAY_SCHEMA = pa.schema(
    [
        ("name", pa.string()),
        ("dtype", pa.string()),
        ("shape", pa.list_(pa.int64())),
        ("data", pa.binary()),
    ]
)
# Types of arrays: of weights, states and attention maps.
_DTYPES = ("bool", "int32", "int64", "uint32", "uint64", "uint8", "float16", "float32", "float64")
# A table of this size is read in any case; of larger ones, so many bytes for a byte of the file.
_MOST_UNPACKED, _MOST_RATIO = 2**27, 200


def encode_table(table: pa.Table) -> bytes:
    """Parquet, zstd, page checksums. Statistics are left out: NaN bounds confuse readers."""
    sink = io.BytesIO()
    # Bytes of equal weight side by side: what was computed in single precision ends in zeros, which then cost nothing.
    split = {name: "BYTE_STREAM_SPLIT" for name, kind in _kinds(table) if kind == pa.float64()}
    repeated = [name for name, kind in _kinds(table) if name == "dtype" or pa.types.is_dictionary(kind)]
    pq.write_table(
        table,
        sink,
        compression="zstd",
        use_dictionary=repeated,
        column_encoding=split,
        write_page_checksum=True,
        write_statistics=False,
    )
    return sink.getvalue()


def _kinds(table: pa.Table) -> Iterator[tuple[str, pa.DataType]]:
    return zip(table.column_names, table.schema.types, strict=True)


def decode_table(content: bytes, path: Path | str, columns: Collection[str] | None = None) -> pa.Table:
    """The inverse of `encode_table`, of these columns of those that it has (None: all). Raises CorruptFileError."""
    try:
        file = pq.ParquetFile(io.BytesIO(content), page_checksum_verification=True)
        _refuse_bomb(file.metadata, len(content), path)
        # Arrow's threads, once started, may end a process by SIGABRT when it exits on a busy machine.
        names = None if columns is None else [name for name in file.schema_arrow.names if name in {*columns}]
        return file.read(names, use_threads=False)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise CorruptFileError(f"{path}: is not a whole Parquet file: {error}") from error


def _refuse_bomb(metadata: pq.FileMetaData, size: int, path: Path | str) -> None:
    """Refuse a table that would take far more memory than its file: values of eight bytes at least, as declared."""
    packed = sum(metadata.row_group(index).total_byte_size for index in range(metadata.num_row_groups))
    needed, most = max(packed, 8 * metadata.num_rows * metadata.num_columns), max(_MOST_UNPACKED, _MOST_RATIO * size)
    if needed > most:
        raise CorruptFileError(
            f"{path}: would take {needed / 2**20:,.0f} MiB of memory, and {most / 2**20:,.0f} MiB is the most for a "
            f"file of {size:,} bytes"
        )


def rows_misfit(table: pa.Table) -> str | None:
    """Why a table is not one of runs, steps and metrics (text, int64, float64), in a clause; None where it is."""
    names, types = table.column_names, table.schema.types
    if names[:2] != ["run_id", "step"] or len({*names}) < len(names):
        return "its columns must be run_id, step and metrics, each once"
    text = (pa.string(), pa.dictionary(pa.int32(), pa.string()))
    if types[0] not in text or types[1] != pa.int64() or any(kind != pa.float64() for kind in types[2:]):
        return "run_id must be text, step int64 and metrics float64"
    if table["run_id"].null_count or table["step"].null_count:
        return "run_id and step must be given in every row"
    low = pc.min(table["step"]).as_py()
    return f"step {low} is below 0" if low is not None and low < 0 else None


def encode_arrays(arrays: Mapping[str, Array]) -> bytes:
    """Named arrays as a Parquet table of name, dtype, shape and little-endian bytes."""
    values = [np.asarray(array) for array in arrays.values()]
    dtypes, shapes = [dtype_name(value.dtype) for value in values], [value.shape for value in values]
    return encode_rows(list(arrays), dtypes, shapes, [_little(value).tobytes() for value in values])


def encode_rows(
    names: Sequence[str], dtypes: Sequence[str], shapes: Sequence[tuple[int, ...]], data: Sequence[bytes]
) -> bytes:
    """The same, given as the columns of that table."""
    columns = {"name": texts(names), "dtype": texts(dtypes), "shape": lists(shapes), "data": blobs(data)}
    return encode_table(pa.table(columns, _ARRAY_SCHEMA))


def decode_arrays(content: bytes, path: Path | str, ending: str = "") -> dict[str, Array]:
    """The inverse of `encode_arrays`, of the arrays whose names end so."""
    table = decode_table(content, path)
    if table.column_names != _ARRAY_SCHEMA.names or table.schema.types != _ARRAY_SCHEMA.types:
        raise CorruptFileError(f"{path}: is no table of arrays: its columns must be {', '.join(_ARRAY_SCHEMA.names)}")
    rows = (table.filter(pc.ends_with(table["name"], ending)) if ending else table).to_pylist()
    try:
        return {row["name"]: _array(row) for row in rows}
    except (ValueError, TypeError) as error:
        raise CorruptFileError(f"{path}: holds something that is no array: {error}") from error


def _array(row: Mapping[str, Any]) -> Array:
    if row["dtype"] not in _DTYPES or row["name"] is None:
        raise ValueError(f"its type {row['dtype']!r} is none of {', '.join(_DTYPES)}")
    return np.frombuffer(row["data"], np.dtype(row["dtype"]).newbyteorder("<")).reshape(row["shape"])


def _little(value: Array) -> Array:
    is_little = value.dtype.isnative and sys.byteorder == "little"
    return value if is_little else value.astype(value.dtype.newbyteorder("<"))
