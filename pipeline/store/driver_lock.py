"""The lock that the one driver of a sweep holds, or its workers together: an empty file in its folder."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from pipeline.store.files import PRIVATE_FILE, SHARED_FILE, open_lock
from pipeline.store.pack_store import StoreError


class DriverLock:
    """Held by the one driver of a sweep for as long as its process lives; a second one is refused at once.

    With `is_worker` it is held beside other workers (`seedbed work`), and no driver.
    """

    def __init__(self, folder: Path, is_worker: bool = False) -> None:
        self._path, self._is_worker = folder / "driver.lock", is_worker
        self._descriptor: int | None = None

    def __enter__(self) -> DriverLock:
        is_shared = bool(self._path.parent.stat().st_mode & 0o020)
        self._descriptor = open_lock(self._path, SHARED_FILE if is_shared else PRIVATE_FILE)
        if is_shared and os.fstat(self._descriptor).st_uid == os.getuid():
            os.fchmod(self._descriptor, SHARED_FILE)
        try:
            fcntl.flock(self._descriptor, (fcntl.LOCK_SH if self._is_worker else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._descriptor)
            others = "" if self._is_worker else ", or workers (`seedbed work`) are"
            raise StoreError(
                f"{self._path.parent}: another `seedbed launch` or `resume` is working on it{others}"
            ) from None
        return self

    def __exit__(self, *_: object) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
