"""The user's cache folder of compiled programs: private to the user, each program sealed with a checksum.

A program runs as the user does, and one wrong bit of it gives wrong results. So the folder is used only if nobody else
can write to it, and a program only if it ends in the SHA-256 of all that precedes it; the loader ignores what stands
behind a library's sections.
"""

from __future__ import annotations

import atexit
import ctypes
import hashlib
import os
import shutil
import stat
import sys
import tempfile
from functools import cache
from pathlib import Path

_MARK = b"seedbed-sha256:"
_SEAL_BYTES = len(_MARK) + hashlib.sha256().digest_size
_OTHERS = stat.S_IWOTH
_OTHERS_AND_GROUP = stat.S_IWGRP | stat.S_IWOTH


def cache_folder() -> Path:
    """The folder that holds compiled programs and measured speeds; it exists and only this user can write to it.

    Below XDG_CACHE_HOME if that is an absolute path, else below ~/.cache. Where that folder cannot be used, standard
    error says why, once, and the folder is a temporary one that ends with this process.
    """
    wanted = _wanted_folder()
    if wanted is None:
        return _temporary_folder("the user has no home folder")
    try:
        wanted.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        return _temporary_folder(f"{wanted}: {error.strerror}")
    problem = why_not_private(wanted)
    return wanted if problem is None else _temporary_folder(problem)


def why_not_private(folder: Path) -> str | None:
    """Why others could change what is in `folder`, in a sentence; None if they cannot.

    The folder must belong to this user and be writable by nobody else. Each folder above it must belong to this user
    or to root, and be writable by all only with the sticky bit. Raises OSError if there is no such folder.
    """
    folder = folder.resolve()
    found = folder.stat()
    if found.st_uid != os.geteuid():
        return f"{folder} belongs to another user"
    if found.st_mode & _OTHERS_AND_GROUP:
        return f"{folder} can be written by others (chmod 700 it, after removing what is in it)"
    for above in folder.parents:
        found = above.stat()
        if found.st_uid not in {os.geteuid(), 0}:
            return f"{above} belongs to another user"
        if found.st_mode & _OTHERS and not found.st_mode & stat.S_ISVTX:
            return f"{above} can be written by everybody"
    return None


def kept_program(path: Path) -> bytes | None:
    """The whole program at `path`; None unless it is a file of this user, that nobody else can write, and sealed."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    with os.fdopen(descriptor, "rb") as stream:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & _OTHERS_AND_GROUP:
            return None
        content = stream.read()
    return content if content[-_SEAL_BYTES:] == _seal(content[:-_SEAL_BYTES]) else None


def kept_text_at(path: Path) -> str | None:
    """The text that `keep` moved to `path`, under the same conditions as a program."""
    content = kept_program(path)
    return None if content is None else content[:-_SEAL_BYTES].decode()


def load_program(content: bytes, path: Path) -> ctypes.CDLL:
    """The library with this content, which `path` had when it was checked: loaded from memory where Linux can."""
    if not hasattr(os, "memfd_create"):
        return ctypes.CDLL(str(path))
    # Never closed: the loader takes a library of a name that it knows for the one that had it before.
    descriptor = os.memfd_create(path.name)
    with os.fdopen(descriptor, "wb", closefd=False) as stream:
        stream.write(content)
    library = ctypes.CDLL(f"/proc/self/fd/{descriptor}")
    library._name = str(path)
    return library


def keep(built: Path, path: Path) -> None:
    """Seal the library or text `built` and move it to `path`, in the same folder or one below, durably and at once."""
    content = built.read_bytes()
    with open(built, "wb") as stream:
        os.fchmod(stream.fileno(), 0o700)
        stream.write(content + _seal(content))
        stream.flush()
        os.fsync(stream.fileno())
    built.rename(path)


def _seal(content: bytes) -> bytes:
    return _MARK + hashlib.sha256(content).digest()


def _wanted_folder() -> Path | None:
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if base.is_absolute():
        return base / "seedbed"
    try:
        return Path.home() / ".cache" / "seedbed"
    except RuntimeError:
        return None


@cache
def _temporary_folder(problem: str) -> Path:
    print(f"seedbed: compiled programs are not kept: {problem}", file=sys.stderr)
    folder = tempfile.mkdtemp(prefix="seedbed-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)
