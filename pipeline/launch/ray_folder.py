"""The private folder of a local Ray: its session and Tune's scratch, removed with the launch."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

_PREFIX, _LOCK = "seedbed-ray-", "lock"
# Ray puts sockets below it, whose paths the system limits to 107 bytes.
_LONGEST = 107 - len("/r/session_2026-01-01_00-00-00_000000_4194304/sockets/plasma_store")


@contextlib.contextmanager
def private_folder() -> Iterator[Path]:
    """A new folder that this user alone can enter, removed at the end; what killed launches left is removed before.

    In the system's folder for temporary files, or in /tmp where that has too long a name.
    """
    base = Path(tempfile.gettempdir())
    if len(os.fsencode(base / f"{_PREFIX}12345678")) > _LONGEST:
        base = Path("/tmp")
    for left in leftovers(base):
        shutil.rmtree(left, ignore_errors=True)
    # Ray opens the folder that it is given to everybody, so it gets one inside.
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=base))
    descriptor = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        yield folder
    finally:
        os.close(descriptor)
        shutil.rmtree(folder, ignore_errors=True)


def leftovers(base: Path) -> list[Path]:
    """The private folders of this user in `base` whose launch has ended without removing them."""
    return [path for path in sorted(base.glob(f"{_PREFIX}*")) if _is_left(path)]


def _is_left(path: Path) -> bool:
    try:
        if path.is_symlink() or path.stat().st_uid != os.geteuid():
            return False
        descriptor = os.open(path / _LOCK, os.O_RDWR | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True
