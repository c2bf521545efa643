"""Atomic, durable file writes (temporary file, fsync, rename, fsync of the folder), and the formats of what is written.

Every file of a sweep is written through here, once and whole: canonical JSON, or Parquet tables with page checksums;
no pickle anywhere.
"""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import re
import stat
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.arrays import Array, dtype_name
from pipeline.store.columns import blobs, lists, texts

# Files are private unless the spec shares a sweep with the user's group.
PRIVATE_FILE, SHARED_FILE = 0o600, 0o660
PRIVATE_FOLDER, SHARED_FOLDER = 0o700, 0o2770

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

# Of every sealed document: raised when what is written now cannot be read by earlier versions. Those of format 1 do not
# say so.
DOCUMENT_FORMAT = 3
# From so many bytes on a sealed document is one line, its body between these.
_LARGE = 2**14
_HEAD = b'{"body": '
_TAIL = re.compile(rb', "format": ([0-9]{1,9}), "sha256": "([0-9a-f]{64})"\}\n\Z')
_LONGEST_TAIL = 128


class NewerFormatError(Exception):
    """A document was written by a later version of seedbed. The message names it, and both formats."""


class CorruptFileError(Exception):
    """A file's content is not what its record says. The message names the file."""


def write_file(path: Path, content: bytes) -> str:
    """Write `content` atomically: after a crash `path` is either complete or as before. Returns its SHA-256.

    The mode follows the folder's. Raises OSError on disk errors, with `path` unchanged and no temporary file left.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    shared = bool(path.parent.stat().st_mode & 0o020)
    # A link that waits under this name would lead out of the folder.
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, PRIVATE_FILE)
    try:
        with _naming(path), os.fdopen(descriptor, "wb") as stream:
            if shared:
                os.fchmod(descriptor, SHARED_FILE)
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        os.rename(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)
    return hashlib.sha256(content).hexdigest()


@contextmanager
def _naming(path: Path | str) -> Iterator[None]:
    """Errors of the system that name no file, such as a full disk, name this one."""
    try:
        yield
    except OSError as error:
        # That of a descriptor is its number.
        if not isinstance(error.filename, str):
            error.filename = str(path)
        raise


def make_folder(path: Path, is_shared: bool) -> None:
    """Create `path` and its parents durably, its own mode private or shared; existing folders keep theirs."""
    if path.is_dir():
        return
    missing = [parent for parent in path.parents if not parent.is_dir()]
    for parent in reversed(missing):
        parent.mkdir(exist_ok=True)
        sync_folder(parent.parent)
    path.mkdir(mode=SHARED_FOLDER if is_shared else PRIVATE_FOLDER, exist_ok=True)
    if is_shared:
        path.chmod(SHARED_FOLDER)
    sync_folder(path.parent)


def is_shared_folder(path: Path) -> bool:
    """Whether the user's group may write to a folder, so that what is made in it is shared; not if there is none."""
    return path.is_dir() and bool(path.stat().st_mode & 0o020)


def make_inner_folder(path: Path, is_shared: bool) -> None:
    """`make_folder` inside a results folder. Raises OSError for a link, which would lead what is written out of it."""
    if path.is_symlink():
        raise OSError(errno.ELOOP, "is a link, and inside a results folder none is followed: move it away", str(path))
    make_folder(path, is_shared)


def open_lock(path: Path, mode: int = PRIVATE_FILE) -> int:
    """The descriptor of a lock file, made if missing. Raises OSError for a link, which would lead out of the folder."""
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, mode)


def create_exclusively(path: Path, content: bytes = b"") -> bool:
    """Create a file unless it exists: True for exactly one of many concurrent callers.

    Its content is for people: it is not synced, and a crash may leave it empty.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE_FILE)
    except FileExistsError:
        return False
    with _naming(path), os.fdopen(descriptor, "wb") as stream:
        stream.write(content)
    sync_folder(path.parent)
    return True


def sync_folder(path: Path) -> None:
    """Make the names in a folder durable (fsync)."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        with _naming(path):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_file(path: Path | str, sha256: str | None = None) -> bytes:
    """The file's bytes, checked against `sha256` if given.

    Raises CorruptFileError if they differ, or if there is none or another thing than a file. Other disk errors are an
    OSError, which must not be taken as evidence of a corrupt file.
    """
    try:
        # Opening a pipe would wait for a writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise CorruptFileError(f"{path}: is missing") from error
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise CorruptFileError(f"{path}: is not a file")
        with _naming(path):
            content = _rest_of(descriptor, found.st_size)
    finally:
        os.close(descriptor)
    if sha256 is not None and hashlib.sha256(content).hexdigest() != sha256:
        raise CorruptFileError(f"{path}: its content does not have the checksum that its record names")
    return content


def _rest_of(descriptor: int, size: int) -> bytes:
    """What is left to read of a file that had so many bytes a moment ago: in one go, where it still has."""
    content = os.read(descriptor, size + 1)
    if len(content) == size:
        return content
    parts = [content]
    while parts[-1]:
        parts.append(os.read(descriptor, max(size, _LARGE)))
    return b"".join(parts)


def _canonical_bytes(value: Any) -> bytes:
    """Canonical JSON of a value: sorted keys, no spaces, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def seal(body: Mapping[str, Any]) -> bytes:
    """A JSON document that carries its format and its own SHA-256; indented, unless it is too large to be looked at."""
    content = _canonical_bytes(body)
    digest = _digest(content, DOCUMENT_FORMAT)
    if len(content) < _LARGE:
        document = {"format": DOCUMENT_FORMAT, "sha256": digest, "body": body}
        return json.dumps(document, sort_keys=True, indent=1, allow_nan=False).encode()
    return b'{"body": %b, "format": %d, "sha256": "%b"}\n' % (content, DOCUMENT_FORMAT, digest.encode())


def unseal(content: bytes, path: Path | str) -> dict[str, Any]:
    """The body of a sealed document, of this format or an earlier one.

    Raises NewerFormatError for a later one, and CorruptFileError for anything else: a document of this format whose
    number is damaged has the checksum of this format.
    """
    try:
        if (known := _unsealed_at_once(content)) is not None:
            return known
        document = _STRICT.decode(content.decode("utf-8"))
        body, digest, number = document["body"], document["sha256"], document.get("format", 1)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CorruptFileError(f"{path}: is not a sealed record") from error
    formats = range(1, DOCUMENT_FORMAT + 1)
    is_known = type(number) is int and number in formats and not {*document} - {"format", "sha256", "body"}
    canonical = _canonical_bytes(body) if isinstance(body, dict) else b""
    if is_known and isinstance(body, dict) and _digest(canonical, number) == digest:
        return body
    is_ours = isinstance(body, dict) and any(_digest(canonical, format_) == digest for format_ in formats)
    if isinstance(number, int) and number > DOCUMENT_FORMAT and not is_ours:
        raise NewerFormatError(
            f"{path}: was written by a later version of seedbed (format {number}; this one reads up to "
            f"{DOCUMENT_FORMAT})"
        )
    raise CorruptFileError(f"{path}: its checksum does not fit its content")


def _unsealed_at_once(content: bytes) -> dict[str, Any] | None:
    """The body of a document laid out as `seal` does large ones, whose checksum is of the text as it stands; else None.

    Of other layouts the body must be encoded again, which takes longer than reading it.
    """
    tail = _TAIL.search(content, max(0, len(content) - _LONGEST_TAIL))
    if tail is None or not content.startswith(_HEAD) or int(tail[1]) not in range(1, DOCUMENT_FORMAT + 1):
        return None
    text = memoryview(content)[len(_HEAD) : tail.start()]
    if _digest(text, int(tail[1])).encode() != tail[2]:
        return None
    body = _STRICT.decode(str(text, "utf-8"))
    return body if isinstance(body, dict) else None


def _refuse_constant(text: str) -> float:
    raise ValueError(f"{text} is not JSON")


_STRICT = json.JSONDecoder(parse_constant=_refuse_constant)


def _digest(canonical: bytes | memoryview, number: int) -> str:
    """SHA-256 of a body, given as canonical JSON; after format 2, of its format and the body."""
    if number <= 2:
        return hashlib.sha256(canonical).hexdigest()
    found = hashlib.sha256(b"[%d," % number)
    found.update(canonical)
    found.update(b"]")
    return found.hexdigest()


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
