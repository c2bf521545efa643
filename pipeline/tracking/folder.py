"""The folder in which a sweep is mirrored, and the process that mirrors it: private, at low priority, steered by none.

Below RESULTS/wandb:

    mirrored.json        ledger: how far each tracked run is written, and in which folders; sealed
    mirror.log           standard error of the mirrors that drivers started
    mirror.lock          held by the one mirror; empty
    offline-run-*/       wandb's own files, a folder for each mirror that wrote to a tracked run; run-* if online,
                         without rows, which the server has
    set-aside/           folders of mirrors that were killed, whose rows stand elsewhere; safe to delete
    cache/               wandb's own log, and copies of files that are uploaded
"""

from __future__ import annotations

import fcntl
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.spec.sections import Tracking
from pipeline.store.files import make_folder, open_lock
from pipeline.store.pack_store import StoreError
from pipeline.store.sweep_store import SweepStore

LEDGER_FILE = "mirrored.json"
_NICENESS = 10
# wandb's file of a run: a header, then records in chunks of LevelDB's log format, none of which crosses a block's end.
_FILE_HEADER_BYTES, _BLOCK_BYTES, _CHUNK_HEADER = 7, 32768, struct.Struct("<IHB")
_WHOLE, _LAST = 1, 4
# Fields of `Record` in wandb's protocol: a row, and the end of the run.
_ROW, _EXIT = 2, 18
# What of a field follows its key: its wire type -> bytes; a varint (0) and what names its length (2) are read.
_FIXED_BYTES = {1: 8, 5: 4}
# The WANDB_* variables that are kept: account and server. Modes, names and ids come from the spec.
_KEPT_VARIABLES = ("API_KEY", "BASE_URL", "ENTITY", "IDENTITY_TOKEN_FILE", "CREDENTIALS_FILE", "CONFIG_DIR")


def tracking_of(store: SweepStore) -> Tracking:
    """How the sweep of a folder is to be tracked."""
    return Tracking.model_validate(store.sweep["spec"]["tracking"])


def wandb_folder(folder: Path) -> Path:
    """The folder `wandb` of a results folder, made if missing. Raises StoreError if it is a link."""
    if (folder / "wandb").is_symlink():
        raise StoreError(f"{folder / 'wandb'} is a link, and the mirror follows none: move it away")
    make_folder(folder / "wandb", is_shared(folder))
    return folder / "wandb"


def is_shared(folder: Path) -> bool:
    """Whether a results folder is shared with the user's group."""
    return bool(folder.stat().st_mode & 0o020)


@contextmanager
def mirror_lock(folder: Path, waits: bool) -> Iterator[None]:
    """In this context this process is the one mirror of a results folder. Raises StoreError if another is, or waits."""
    with os.fdopen(open_lock(wandb_folder(folder) / "mirror.lock"), "wb") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | (0 if waits else fcntl.LOCK_NB))
        except BlockingIOError:
            raise StoreError(f"{folder}: another mirror is at work on it") from None
        yield


def prepare_process(folder: Path) -> None:
    """Lower the priority, match the umask to the folder, and drop WANDB_* variables that would override the spec."""
    os.nice(_NICENESS)
    os.umask(0o007 if is_shared(folder) else 0o077)
    kept = {f"WANDB_{name}" for name in _KEPT_VARIABLES}
    for name in [name for name in os.environ if name.startswith("WANDB_") and name not in kept]:
        del os.environ[name]
    cache = wandb_folder(folder) / "cache"
    os.environ["WANDB_ERROR_REPORTING"] = "false"
    os.environ["WANDB_CACHE_DIR"] = os.environ["WANDB_DATA_DIR"] = str(cache)


def rows_written(path: Path) -> int | None:
    """How many rows wandb's file of an offline run holds; None where it is missing, is cut, or lacks the run's end.

    wandb goes on where it cannot write to this file, and says so in a log at most, which may lie on the same full disk.
    """
    try:
        kinds = [kind for record in _records(path.read_bytes()) for kind in _fields(record)]
    except (OSError, IndexError, KeyError, struct.error):
        return None
    return kinds.count(_ROW) if _EXIT in kinds else None


def _records(content: bytes) -> Iterator[bytes]:
    place, parts = _FILE_HEADER_BYTES, b""
    while place < len(content):
        if (left := _BLOCK_BYTES - place % _BLOCK_BYTES) < _CHUNK_HEADER.size:
            place += left
            continue
        _, length, kind = _CHUNK_HEADER.unpack_from(content, place)
        place += _CHUNK_HEADER.size + length
        if place > len(content):
            raise IndexError("cut")
        parts += content[place - length : place]
        if kind in (_WHOLE, _LAST):
            yield parts
            parts = b""


def _fields(record: bytes) -> Iterator[int]:
    """The numbers of the fields of a protocol buffer, in order."""
    place = 0
    while place < len(record):
        key, place = _varint(record, place)
        if key & 7 == 0:
            _, place = _varint(record, place)
        elif key & 7 == 2:
            length, place = _varint(record, place)
            place += length
        else:
            place += _FIXED_BYTES[key & 7]
        yield key >> 3


def _varint(record: bytes, place: int) -> tuple[int, int]:
    """The number that begins at a place, and the place behind it."""
    value = shift = 0
    while True:
        byte = record[place]
        value, shift, place = value | (byte & 127) << shift, shift + 7, place + 1
        if byte < 128:
            return value, place
