"""Local copies of what an object store has of a sweep, and the documents of a sweep written to one.

What is read often, or by libraries that read files, is copied: documents, code, side files. Packs are read in place by
workers, and copied whole, by their hashes, for analyses.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from pipeline.long_loops import loop_over
from pipeline.store.backends.objects import ObjectFiles
from pipeline.store.driver_lock import DriverLock
from pipeline.store.files import CorruptFileError, make_folder, read_file, write_file
from pipeline.store.formats.sealed import unseal
from pipeline.store.pack_store import PackStore, StoreError
from pipeline.store.records.record import Record
from pipeline.store.sweep_store import SweepStore

_SWEEP, _PACKS, _WORKERS = "sweep.json", "packs/", "workers/"
# Of this machine alone.
_LOCAL = ("driver.lock", "stop", "hangs", "set-aside", "wandb", "report")
# A writer may remove an old generation while it is copied.
_COPY_TRIES = 3


def sweep_on_objects(url: str, folder: Path) -> SweepStore:
    """The sweep at a URL, whose documents, code and side files are copied to `folder`; its packs are read in place.

    Raises StoreError where there is none.
    """
    files = ObjectFiles(url)
    _copy_documents(files, folder)
    return SweepStore(folder, files)


def fetch(url: str, folder: Path) -> int:
    """Copy the sweep at a URL to `folder`, at its newest commits; the number of files of packs that were copied.

    Of an earlier copy in `folder` it takes what has the hash that a record names. Raises StoreError where `folder`
    holds another sweep, or a launch works in it, and where a pack has records and none of them is whole.
    """
    make_folder(folder, is_shared=False)
    with DriverLock(folder):
        local = SweepStore(folder)
        before = local.sweep["sweep_id"] if local.exists() else None
        files = ObjectFiles(url)
        content = _sweep_document(files)
        if before not in (None, unseal(content, files.address_of(_SWEEP))["sweep_id"]):
            raise StoreError(f"{folder}: holds another sweep than {url}; name another folder")
        _copy_documents(files, folder)
        remote = SweepStore(folder, files)
        packs = loop_over("copying packs", remote.pack_ids())
        return sum(_copy_pack(remote.pack(pack_id), local.pack(pack_id)) for pack_id in packs)


def publish(folder: Path, url: str, before: bytes | None) -> None:
    """Write the documents, the code and the parts by pack of the sweep planned in `folder` to a URL, its document last.

    `before` is the sweep document that it continues, None for a new sweep. Raises StoreError where another is there
    now, or where workers are at it.
    """
    files = ObjectFiles(url)
    if before is not None and (workers := files.inside("workers").names()):
        raise StoreError(
            f"{url}: workers are at it ({', '.join(sorted(workers)[:3])}): let them end first, or delete the documents "
            "under workers/ of those that are gone"
        )
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder)
        if path.is_file() and inside.parts[0] not in _LOCAL and str(inside) != _SWEEP and not path.name.startswith("."):
            files.inside_of(inside.parent.parts).put(inside.name, path.read_bytes())
    document = (folder / _SWEEP).read_bytes()
    is_ours = files.put_if_absent(_SWEEP, document) if before is None else files.put_if_equal(_SWEEP, document, before)
    if not is_ours:
        raise StoreError(f"{url}: another launch has changed it since this one was planned; plan again")
    files.delete(["stop"])


def _sweep_document(files: ObjectFiles) -> bytes:
    try:
        return files.get(_SWEEP)
    except CorruptFileError:
        raise StoreError(
            f"{files.address}: holds no sweep; `seedbed launch SPEC --plan-only --results URL` makes one"
        ) from None


def sweep_document(url: str) -> bytes | None:
    """The sweep document at a URL as it stands there; None where there is none."""
    with suppress(StoreError):
        return _sweep_document(ObjectFiles(url))
    return None


def _copy_documents(files: ObjectFiles, folder: Path) -> None:
    """Everything that is not of packs, the sweep document last, since it names the plan."""
    sweep = _sweep_document(files)
    there = {name: at for name, at in files.all_names().items() if not name.startswith(_PACKS)}
    for name, written_at in there.items():
        parts = _parts(name)
        if parts is None or parts[0] in _LOCAL or name == _SWEEP:
            continue
        path = folder.joinpath(*parts)
        with suppress(CorruptFileError):
            # A worker's may be gone again.
            content = files.inside_of(parts[:-1]).get(parts[-1])
            make_folder(path.parent, is_shared=False)
            write_file(path, content)
            os.utime(path, (written_at, written_at))
    for path in (folder / _WORKERS).glob("*.json"):
        if f"{_WORKERS}{path.name}" not in there:
            path.unlink()
    make_folder(folder, is_shared=False)
    write_file(folder / _SWEEP, sweep)


def _parts(name: str) -> tuple[str, ...] | None:
    """The parts of an object's name; None for one that would lead out of a folder, or is of no file."""
    parts = tuple(name.split("/"))
    is_safe = all(part not in ("", ".", "..") and "\\" not in part and "\0" not in part for part in parts)
    return parts if is_safe else None


def _copy_pack(remote: PackStore, local: PackStore) -> int:
    """Copy the newest whole record of a pack and the files that it names; how many were copied."""
    problem = ""
    for _ in range(_COPY_TRIES):
        records = remote.records()
        if not records:
            return 0
        for record in records:
            try:
                return _copy_record(record, remote, local)
            except CorruptFileError as error:
                problem = str(error)
    raise StoreError(f"{problem}; no generation of this pack is whole")


def _copy_record(record: Record, remote: PackStore, local: PackStore) -> int:
    missing = [entry for entry in record.files() if not _is_there(local.folder / entry.name, entry.sha256)]
    make_folder(local.folder, is_shared=False)
    for entry in missing:
        local.files.put(entry.name, remote.files.get(entry.name, entry.sha256))
    name = local.record_path(record.order).name
    local.files.put(name, remote.files.get(name))
    local.remove_unnamed(max(record.attempt, _newest_written(local)), [record])
    return len(missing)


def _is_there(path: Path, sha256: str) -> bool:
    try:
        read_file(path, sha256)
    except CorruptFileError:
        return False
    return True


def _newest_written(local: PackStore) -> int:
    """The highest attempt that the local copy has a record of: what replaced it may have begun anew."""
    return max((record.attempt for record in local.records()), default=0)
