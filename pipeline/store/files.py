"""Atomic, durable file writes (temporary file, fsync, rename, fsync of the folder), and the formats of what is written.

Every file of a sweep is written through here, once and whole: canonical JSON, or Parquet tables with page checksums;
no pickle anywhere.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.arrays import Array

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


# Of every sealed document: raised when what is written now cannot be read by earlier versions. Those of format 1 do not
# say so.
DOCUMENT_FORMAT = 2


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
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, PRIVATE_FILE)
    try:
        with os.fdopen(descriptor, "wb") as stream:
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


def make_folder(path: Path, is_shared: bool) -> None:
    """Create `path` and its parents, its own mode private or shared; existing folders keep theirs."""
    if path.is_dir():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    path.mkdir(mode=SHARED_FOLDER if is_shared else PRIVATE_FOLDER, exist_ok=True)
    if is_shared:
        path.chmod(SHARED_FOLDER)
    sync_folder(path.parent)


def create_exclusively(path: Path) -> bool:
    """Create an empty file unless it exists: True for exactly one of many concurrent callers."""
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE_FILE))
    except FileExistsError:
        return False
    sync_folder(path.parent)
    return True


def sync_folder(path: Path) -> None:
    """Make the names in a folder durable (fsync)."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_file(path: Path, sha256: str | None = None) -> bytes:
    """The file's bytes, checked against `sha256` if given.

    Raises CorruptFileError if they differ, or if there is none or another thing than a file. Other disk errors are an
    OSError, which must not be taken as evidence of a corrupt file.
    """
    try:
        # Opening a pipe would wait for a writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise CorruptFileError(f"{path}: is missing") from error
    with os.fdopen(descriptor, "rb") as stream:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise CorruptFileError(f"{path}: is not a file")
        content = stream.read()
    if sha256 is not None and hashlib.sha256(content).hexdigest() != sha256:
        raise CorruptFileError(f"{path}: its content does not have the checksum that its record names")
    return content


def _canonical_bytes(value: Any) -> bytes:
    """Canonical JSON of a value: sorted keys, no spaces, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def seal(body: Mapping[str, Any]) -> bytes:
    """A JSON document that carries its format and its own SHA-256."""
    document = {"format": DOCUMENT_FORMAT, "sha256": _digest(body, DOCUMENT_FORMAT), "body": body}
    return json.dumps(document, sort_keys=True, indent=1, allow_nan=False).encode()


def unseal(content: bytes, path: Path) -> dict[str, Any]:
    """The body of a sealed document, of this format or an earlier one.

    Raises NewerFormatError for a later one, and CorruptFileError for anything else: a document of this format whose
    number is damaged has the checksum of this format.
    """
    try:
        document = json.loads(content)
        body, digest, number = document["body"], document["sha256"], document.get("format", 1)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CorruptFileError(f"{path}: is not a sealed record") from error
    known = range(1, DOCUMENT_FORMAT + 1)
    if number in known and isinstance(body, dict) and _digest(body, number) == digest:
        return body
    is_ours = isinstance(body, dict) and any(_digest(body, format_) == digest for format_ in known)
    if isinstance(number, int) and number > DOCUMENT_FORMAT and not is_ours:
        raise NewerFormatError(
            f"{path}: was written by a later version of seedbed (format {number}; this one reads up to "
            f"{DOCUMENT_FORMAT})"
        )
    raise CorruptFileError(f"{path}: its checksum does not fit its content")


def _digest(body: Mapping[str, Any], number: int) -> str:
    """SHA-256 of a body; after format 2, of its format and the body."""
    return hashlib.sha256(_canonical_bytes(body if number <= 2 else [number, body])).hexdigest()


def encode_table(table: pa.Table) -> bytes:
    """Parquet, zstd, page checksums. Statistics are left out: NaN bounds confuse readers."""
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd", write_page_checksum=True, write_statistics=False)
    return sink.getvalue()


def decode_table(content: bytes, path: Path) -> pa.Table:
    """The inverse of `encode_table`. Raises CorruptFileError."""
    try:
        # Arrow's threads, once started, may end a process by SIGABRT when it exits on a busy machine.
        return pq.ParquetFile(io.BytesIO(content), page_checksum_verification=True).read(use_threads=False)
    except (pa.ArrowException, OSError) as error:
        raise CorruptFileError(f"{path}: is not a whole Parquet file: {error}") from error


def encode_arrays(arrays: Mapping[str, Array]) -> bytes:
    """Named arrays as a Parquet table of name, dtype, shape and little-endian bytes."""
    values = {name: np.asarray(array) for name, array in arrays.items()}
    rows = [
        {"name": name, "dtype": value.dtype.name, "shape": list(value.shape), "data": _little(value).tobytes()}
        for name, value in values.items()
    ]
    return encode_table(pa.Table.from_pylist(rows, _ARRAY_SCHEMA))


def decode_arrays(content: bytes, path: Path, ending: str = "") -> dict[str, Array]:
    """The inverse of `encode_arrays`, of the arrays whose names end so."""
    table = decode_table(content, path)
    rows = (table.filter(pc.ends_with(table["name"], ending)) if ending else table).to_pylist()
    return {
        row["name"]: np.frombuffer(row["data"], np.dtype(row["dtype"]).newbyteorder("<")).reshape(row["shape"])
        for row in rows
    }


def _little(value: Array) -> Array:
    return value.astype(value.dtype.newbyteorder("<"), copy=False)
