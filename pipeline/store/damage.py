"""What is damaged in a results folder, and moving it out of the way, so that it can be computed again."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pipeline.long_loops import loop_over
from pipeline.store.added import ADDED_FOLDER, added_tables, read_added
from pipeline.store.documents import read_document
from pipeline.store.files import CorruptFileError, make_inner_folder, read_file
from pipeline.store.formats.sealed import NewerFormatError, unseal
from pipeline.store.pack_store import RECORD_ENDING, PackStore, StoreError, read_record
from pipeline.store.sweep_store import SweepStore

SET_ASIDE = "set-aside"
_SIDE_FILES = ("forecast.json", "ceiling.json")


@dataclass(frozen=True)
class Damage:
    """A file or folder of a results folder that is not what it should be: where, and in words what is wrong.

    `is_blocking`: nothing stands in for it, so the sweep cannot be read or continued before it is set aside.
    """

    path: Path
    problem: str
    is_blocking: bool


def damages(store: SweepStore) -> list[Damage]:
    """Everything damaged in a results folder, by the checksums of all that its documents and records name.

    Files that nothing names are not damaged, and a pack whose newest record was deleted is merely behind.
    """
    packs = [PackStore(path) for path in sorted((store.folder / "packs").glob("*")) if path.is_dir()]
    in_packs = [damage for pack in loop_over("checking files", packs) for damage in _of_pack(pack)]
    return [*_of_documents(store), *in_packs, *_of_side_files(store)]


def lost_document(store: SweepStore) -> str | None:
    """Why the sweep or its plan cannot be read, neither the document nor its copy; None where both can be."""
    try:
        _ = store.plan
    except StoreError as error:
        return str(error)
    return None


def unreadable(store: SweepStore, is_whole: bool = True) -> str | None:
    """Why a sweep cannot be read: its documents, and if `is_whole` its records, their files and added tables.

    None where it can. Side files that are left out where they are damaged do not count.
    """
    try:
        _ = store.plan
        if is_whole:
            store.newest_records()
            for _ in added_tables(store.folder):
                pass
    except (StoreError, CorruptFileError, NewerFormatError) as error:
        return str(error)
    except OSError as error:
        return f"{error.filename or store.folder}: {error.strerror or error}"
    return None


def documents(store: SweepStore) -> list[Damage]:
    """Both documents and their copies, whatever their state, to be set aside where one kind of them is lost."""
    folders = (store.folder, store.copies)
    paths = [path for folder in folders for path in (folder / "sweep.json", *folder.glob("plan-*.json"))]
    return [Damage(path, f"{path}: stands for a lost document", is_blocking=True) for path in paths]


def set_aside(store: SweepStore, found: list[Damage]) -> list[Path]:
    """Move what is damaged to the folder `set-aside` of the results folder; where each now is. Nothing is deleted."""
    moved = []
    for damage in found:
        if os.path.lexists(damage.path):
            aside = store.folder / SET_ASIDE
            make_inner_folder(aside, is_shared=bool(store.folder.stat().st_mode & 0o020))
            target = _unused(aside / "-".join(damage.path.relative_to(store.folder).parts))
            damage.path.rename(target)
            moved.append(target)
    return moved


def _of_documents(store: SweepStore) -> Iterator[Damage]:
    # Folders of earlier versions have no copies.
    folders = (store.folder, store.copies) if store.copies.is_dir() else (store.folder,)
    for name in ("sweep.json", _plan_name(store)):
        paths = [folder / name for folder in folders] if name else []
        problems = [problem for path in paths if (problem := _document_problem(path)) is not None]
        for path in paths:
            problem = _document_problem(path)
            if problem is not None:
                yield Damage(path, problem, is_blocking=len(problems) == len(paths))


def _plan_name(store: SweepStore) -> str:
    try:
        return str(store.sweep["plan"])
    except StoreError:
        return ""


def _document_problem(path: Path) -> str | None:
    try:
        read_document(path)
    except CorruptFileError as error:
        return str(error)
    return None


def _sealed_problem(path: Path) -> str | None:
    try:
        unseal(read_file(path), path)
    except CorruptFileError as error:
        return str(error)
    return None


def _of_pack(pack: PackStore) -> Iterator[Damage]:
    paths = sorted(pack.folder.glob(f"*{RECORD_ENDING}"))
    problems = {path: problem for path in paths if (problem := _record_problem(pack, path)) is not None}
    if paths and len(problems) == len(paths):
        yield Damage(pack.folder, f"{next(iter(problems.values()))}; no generation is whole", is_blocking=True)
    else:
        for path, problem in problems.items():
            yield Damage(path, f"{problem}; another generation stands in for it", is_blocking=False)


def _record_problem(pack: PackStore, path: Path) -> str | None:
    try:
        for entry in read_record(path).files():
            read_file(pack.folder / entry.name, entry.sha256)
    except CorruptFileError as error:
        return str(error)
    return None


def _of_side_files(store: SweepStore) -> Iterator[Damage]:
    for name in _SIDE_FILES:
        path = store.folder / name
        if path.exists() and (problem := _sealed_problem(path)) is not None:
            yield Damage(path, f"{problem}; its command makes it again", is_blocking=False)
    for path in sorted((store.folder / ADDED_FOLDER).glob("*.json")):
        problem = _added_problem(path)
        if problem is not None:
            yield Damage(path, f"{problem}; `seedbed read` or `look-ahead` makes it again", is_blocking=True)


def _added_problem(path: Path) -> str | None:
    try:
        read_added(path)
    except CorruptFileError as error:
        return str(error)
    return None


def _unused(path: Path) -> Path:
    """`path`, or with a number behind it where it is taken."""
    number, free = 0, path
    while os.path.lexists(free):
        number += 1
        free = path.with_name(f"{path.name}.{number}")
    return free
