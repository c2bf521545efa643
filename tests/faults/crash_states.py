"""The folders that a loss of power may leave: what was not synced is missing, torn or in another order.

After ALICE (Pillai and others, 2014), in a model of a file system that promises what POSIX does and no more: what was
written to a file is sure to be there once the file was synced, and a name that was made, moved or removed in a folder
once the folder was synced. All else may have happened or not, in any combination, at any time. So from the trace of
commands (`FAULT_TRACE`) come, for a crash after each of their operations, the state in which all of them have happened,
that in which only the sure ones have, and any number of random ones between.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath


@dataclass(frozen=True)
class Operation:
    """One entry of a trace: `call` on `path`; `other` is what was renamed to it, `data` what was written."""

    call: str
    path: str
    other: str = ""
    data: bytes = b""


def read_trace(content: bytes) -> list[Operation]:
    """The operations of a trace, in order."""
    found, place = [], 0
    while place < len(content):
        end = content.index(b"\n", place)
        call, size, path, other = content[place:end].decode().split("\t")
        found.append(Operation(call, path, other, content[end + 1 : end + 1 + int(size)]))
        place = end + 1 + int(size)
    return found


@dataclass
class _File:
    """A file or folder: what was written to it and how much of that was synced, or, of a folder, its pending names."""

    is_folder: bool = False
    data: bytes = b""
    synced: bytes | None = None


@dataclass(frozen=True)
class _Naming:
    """A change of the names in a folder, in terms of files: `adds` and `removes` are (name, file)."""

    folder: int
    adds: tuple[tuple[str, int], ...] = ()
    removes: tuple[str, ...] = ()


@dataclass
class _Disk:
    """What has been asked of a file system so far. Files are known by number; 0 is the root, which is sure to exist."""

    files: list[_File] = field(default_factory=lambda: [_File(is_folder=True)])
    # The names as a process sees them, and the changes of them that are not sure, in order.
    names: dict[str, int] = field(default_factory=dict)
    pending: list[_Naming] = field(default_factory=list)
    sure: dict[int, dict[str, int]] = field(default_factory=lambda: {0: {}})

    def apply(self, done: Operation) -> None:
        """Take one operation. Files that stood there before the trace began are not known, and never touched."""
        number = self.names.get(done.path)
        if done.call in ("create", "mkdir") and number is None:
            self._make(done.path, is_folder=done.call == "mkdir")
        elif done.call == "truncate" and number is not None:
            self.files[number].data = b""
        elif done.call == "write" and number is not None:
            self.files[number].data += done.data
        elif done.call == "fsync":
            self._sync(done.path, number)
        elif done.call == "rename":
            self._rename(done.other, done.path)
        elif done.call == "unlink" and number is not None:
            folder, name = self._place(done.path)
            del self.names[done.path]
            self.pending.append(_Naming(folder, removes=(name,)))

    def _make(self, path: str, is_folder: bool) -> None:
        folder, name = self._place(path)
        self.files.append(_File(is_folder))
        number = len(self.files) - 1
        self.names[path] = number
        if is_folder:
            self.sure[number] = {}
        self.pending.append(_Naming(folder, adds=((name, number),)))

    def _rename(self, source: str, target: str) -> None:
        folder, name = self._place(target)
        old_folder, old_name = self._place(source)
        number = self.names.pop(source)
        self.names[target] = number
        for path in [path for path in self.names if path.startswith(f"{source}/")]:
            self.names[target + path.removeprefix(source)] = self.names.pop(path)
        # One change: a file system never shows half of a rename inside a folder.
        removes = (old_name,) if old_folder == folder else ()
        self.pending.append(_Naming(folder, adds=((name, number),), removes=removes))
        if old_folder != folder:
            self.pending.append(_Naming(old_folder, removes=(old_name,)))

    def _sync(self, path: str, number: int | None) -> None:
        number = self._folder(path) if number is None else number
        if not self.files[number].is_folder:
            self.files[number].synced = self.files[number].data
            return
        for change in [change for change in self.pending if change.folder == number]:
            _apply(self.sure[number], change)
            self.pending.remove(change)

    def _place(self, path: str) -> tuple[int, str]:
        return self._folder(str(PurePosixPath(path).parent)), PurePosixPath(path).name

    def _folder(self, path: str) -> int:
        return self.names.get(path, 0)

    def state(self, kept: Sequence[bool], torn: Mapping[int, bytes]) -> dict[str, bytes | None]:
        """Path below the root -> content (None: a folder), where these pending changes happened, in their order.

        `torn`: the content of files that were not synced since they were written.
        """
        names = {number: dict(found) for number, found in self.sure.items()}
        for change, is_kept in zip(self.pending, kept, strict=True):
            if is_kept:
                _apply(names[change.folder], change)
        return dict(self._below(0, PurePosixPath(), names, torn))

    def _below(
        self, folder: int, path: PurePosixPath, names: Mapping[int, Mapping[str, int]], torn: Mapping[int, bytes]
    ) -> Iterator[tuple[str, bytes | None]]:
        for name, number in names[folder].items():
            if self.files[number].is_folder:
                yield str(path / name), None
                yield from self._below(number, path / name, names, torn)
            else:
                yield str(path / name), torn.get(number, self.files[number].data)

    def unsynced(self) -> list[int]:
        """The files of which something was written since they were synced."""
        return [number for number, file in enumerate(self.files) if not file.is_folder and file.synced != file.data]


def _apply(names: dict[str, int], change: _Naming) -> None:
    for name in change.removes:
        names.pop(name, None)
    names.update(change.adds)


def _tearings(file: _File, chance: random.Random) -> bytes:
    """What a file may hold of which not all was synced: what was, nothing, a part, zeros or noise in place of it."""
    data, synced = file.data, file.synced or b""
    part = data[: chance.randrange(len(data) + 1)]
    noise = data[: len(data) // 2] + chance.randbytes(len(data) - len(data) // 2)
    return chance.choice([synced, b"", part, bytes(len(data)), part + bytes(len(data) - len(part)), noise, data])


def crash_states(
    operations: Sequence[Operation], root: str, num_random: int, chance: random.Random
) -> Iterator[tuple[int, str, dict[str, bytes | None]]]:
    """(operations before the crash, what is missing in words, path below `root` -> content; None for a folder).

    For each number of operations: all have happened; all have but what was written is torn; only the sure ones; and
    `num_random` random combinations.
    """
    disk = _Disk(names={root: 0})
    for number in range(len(operations) + 1):
        if number:
            disk.apply(operations[number - 1])
        everything, nothing = [True] * len(disk.pending), [False] * len(disk.pending)
        yield number, "nothing", disk.state(everything, {})
        yield number, "all that is not sure", disk.state(nothing, _torn(disk, chance))
        for _ in range(num_random):
            kept = [chance.random() < 0.5 for _ in disk.pending]
            what = f"{kept.count(False)} of {len(kept)} changes of names"
            yield number, what, disk.state(kept, _torn(disk, chance))


def _torn(disk: _Disk, chance: random.Random) -> dict[int, bytes]:
    return {number: _tearings(disk.files[number], chance) for number in disk.unsynced()}


def lay_out(state: Mapping[str, bytes | None], folder: Path) -> None:
    """Make these files and folders below `folder`, which exists."""
    for path, content in state.items():
        if content is None:
            (folder / path).mkdir(mode=0o700, exist_ok=True)
        else:
            (folder / path).write_bytes(content)
