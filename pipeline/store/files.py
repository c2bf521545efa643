"""Atomic, durable file writes: temporary file, fsync, rename, fsync of the folder.

Every file of a sweep is written through here, once and whole; `formats` makes what it holds.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# Files are private unless the spec shares a sweep with the user's group.
PRIVATE_FILE, SHARED_FILE = 0o600, 0o660
PRIVATE_FOLDER, SHARED_FOLDER = 0o700, 0o2770
# Bytes that are asked for at once of a file that has grown.
_LEAST_READ = 2**14


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
        parts.append(os.read(descriptor, max(size, _LEAST_READ)))
    return b"".join(parts)
