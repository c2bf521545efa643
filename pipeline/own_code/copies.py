"""Copies of code of one's own in a results folder, for workers on computers that lack the files.

A copy is imported only where its content is allowed, as the files themselves are, and never from the results folder:
what is imported is a copy of the copy in a private folder, which holds nothing else.
"""

from __future__ import annotations

import atexit
import hashlib
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from pipeline.own_code.imported import files_of, is_here, use_copy

COPIES = "sources"
_in_worker: list[bool] = []


def work_from_copies() -> None:
    """From now on this process, a worker, takes copies also where files are here that differ from the driver's."""
    _in_worker[:] = [True]


def is_worker() -> bool:
    """Whether this process is one."""
    return bool(_in_worker)


def copied(folder: Path, entries: Iterable[str]) -> Iterator[tuple[Path, bytes]]:
    """Path in the results folder and content, for each file of the entries. Nothing of modules that are installed."""
    for entry in entries:
        if is_copied(entry):
            yield from ((_copy_of(entry, folder) / name, file.read_bytes()) for name, file in files_of(entry).items())


def is_copied(entry: str) -> bool:
    """Whether an entry is a file, or a module of a folder, and not one that is installed."""
    return "/" in entry


def fall_back(entries: Iterable[str], folder: Path) -> None:
    """Takes the copies in a results folder of entries whose files are not here, where their content is allowed."""
    for entry in entries:
        copy = _copy_of(entry, folder)
        if is_copied(entry) and copy.is_dir() and not is_here(entry, may_differ=not is_worker()):
            private = Path(tempfile.mkdtemp(prefix="seedbed-sources-"))
            atexit.register(shutil.rmtree, private, ignore_errors=True)
            for file in sorted(path for path in copy.rglob("*.py") if path.is_file()):
                to = private / file.relative_to(copy)
                to.parent.mkdir(parents=True, exist_ok=True)
                to.write_bytes(file.read_bytes())
            if use_copy(entry, private):
                _leave_only(set(files_of(entry).values()), private)
            else:
                shutil.rmtree(private, ignore_errors=True)


def _leave_only(files: set[Path], folder: Path) -> None:
    """Removes what was not hashed, so that it cannot be imported."""
    for file in folder.rglob("*.py"):
        if file not in files:
            file.unlink()


def _copy_of(entry: str, folder: Path) -> Path:
    return folder / COPIES / hashlib.sha256(entry.encode()).hexdigest()[:16]
