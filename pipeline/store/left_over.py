"""Files that crashes and repairs left in a sweep's folder: of seedbed's own naming, and named by nothing.

Readers ignore them. The next attempt at a pack removes those of that pack; these are of packs that need none.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Collection, Iterator
from pathlib import Path

from pipeline.store.added import ADDED_FOLDER
from pipeline.store.pack_store import PackStore
from pipeline.store.sweep_store import SweepStore

_DATA = r"[0-9]{4,}-[0-9]{6,}\.(?:checkpoint|history|snapshots)\.parquet"
_COMMITTED = rf"{_DATA}|[0-9]{{4,}}-[0-9]{{6,}}\.record\.json|runs\.json"
_DOCUMENTS = r"sweep\.json|plan-[0-9a-f]{16}\.json|(?:forecast|ceiling|analysis)\.json"
_TABLES = r"[A-Za-z0-9_][A-Za-z0-9._-]{0,63}\.json|[A-Za-z0-9_][A-Za-z0-9._-]{0,63}-[0-9a-f]{16}\.parquet"
# Folder, by its pattern -> what `write_file` writes there.
_WRITTEN = {
    ".": _DOCUMENTS,
    "copies": _DOCUMENTS,
    "budget-*": _DOCUMENTS,
    ADDED_FOLDER: _TABLES,
    "packs/*": _COMMITTED,
    "wandb": r"mirrored\.json",
    "workers": r"[A-Za-z0-9-]{1,60}\.json",
}


def remove_left_over(store: SweepStore, finished: Collection[str]) -> list[Path]:
    """Remove files of the `finished` packs that no intact record names, and temporary files of processes that are gone.

    Only what has a name that seedbed gives, and only regular files; damaged records stay, for `seedbed verify` to name.
    A file that cannot be removed stays too. Needs the driver's lock. Returns what was removed.
    """
    candidates = [path for pack_id in finished for path in _unnamed(store.pack(pack_id))]
    candidates += [path for pattern, names in _WRITTEN.items() for path in _temporary(store.folder, pattern, names)]
    removed = []
    for path in candidates:
        if path.is_file() and not path.is_symlink():
            # Nothing rests on its removal: a disk that refuses it now may allow it the next time.
            with contextlib.suppress(OSError):
                path.unlink()
                removed.append(path)
    return removed


def _unnamed(pack: PackStore) -> Iterator[Path]:
    """The data files that no record names; none where no record is intact, since then they may still be needed."""
    records = pack.records()
    named = {entry.name for record in records for entry in record.files()}
    for path in sorted(pack.folder.glob("*.parquet")) if records else ():
        if re.fullmatch(_DATA, path.name) and path.name not in named:
            yield path


def _temporary(folder: Path, pattern: str, names: str) -> Iterator[Path]:
    """Temporary files of `write_file` whose process is gone from this machine."""
    for inside in [folder] if pattern == "." else sorted(folder.glob(pattern)):
        for path in sorted(inside.glob(".*.tmp")):
            found = re.fullmatch(rf"\.(?:{names})\.([0-9]+)\.tmp", path.name)
            if found is not None and not _is_running(int(found[1])):
                yield path


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return process != os.getpid()
