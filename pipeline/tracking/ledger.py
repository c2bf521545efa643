"""The ledger of what the mirrors of a folder have written to wandb."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import asdict, dataclass, field
from pathlib import Path

from pipeline.store.files import CorruptFileError, make_inner_folder, read_file, write_file
from pipeline.store.formats.sealed import seal, unseal
from pipeline.store.pack_store import StoreError
from pipeline.store.shapes import LEDGER, misfit
from pipeline.tracking.progress import CommittedProgress

# The reason of an entry without folders: a mirror began to write this fork and none has closed it, so that the server
# may have it or not.
BEGUN = "begun"


@dataclass(frozen=True)
class Entry:
    """Progress of writing a tracked run: rows up to `step`, with the `reason` of its progress, in `folders`.

    `step` is -1 where there are no rows.
    """

    step: int
    reason: str
    folders: tuple[str, ...] = ()

    def holds(self, progress: CommittedProgress) -> bool:
        """Whether all of a tracked run that has come so far is written."""
        return progress.step <= self.step and progress.reason == self.reason


# Of a tracked run that no mirror has written to.
NOTHING = Entry(-1, "")


@dataclass
class Ledger:
    """The ledger of what the mirrors of a folder have written. Raises StoreError if the file is damaged."""

    path: Path
    entries: dict[str, Entry] = field(default_factory=dict)

    @staticmethod
    def read(path: Path) -> Ledger:
        """The ledger at `path`; an empty one if it does not exist yet."""
        if not path.exists():
            return Ledger(path)
        try:
            body = unseal(read_file(path), path)
        except CorruptFileError as error:
            raise StoreError(f"{error}; delete {path.parent} to mirror the sweep anew") from error
        if (problem := misfit(body, LEDGER)) is not None:
            raise StoreError(f"{path}: is no ledger: {problem}; delete {path.parent} to mirror the sweep anew")
        items = body["entries"].items()
        return Ledger(path, {key: Entry(e["step"], e["reason"], tuple(e["folders"])) for key, e in items})

    def write(self) -> None:
        """Replace the file atomically, sealed."""
        write_file(self.path, seal({"entries": {key: asdict(entry) for key, entry in self.entries.items()}}))

    def set_begun(self, tracked_id: str) -> None:
        """A mirror began to write this fork; without effect where one has closed it."""
        self.entries.setdefault(tracked_id, Entry(-1, BEGUN))

    def set_aside_unnamed(self, sweep_id: str, forks: Collection[str] = ()) -> None:
        """Move what a killed mirror of this sweep left behind to the folder `set-aside`; nothing else is touched.

        wandb names a folder by the time and the id of its run, which begins with `sweep_id`. Tracked ids in `forks`
        that have such a folder are begun.
        """
        own = re.compile(rf"(offline-)?run-[0-9_]+-{re.escape(sweep_id)}-.+")
        named = {name for entry in self.entries.values() for name in entry.folders}
        left = [path.name for path in self.path.parent.iterdir() if own.fullmatch(path.name) and path.name not in named]
        begun = [key for key in forks if any(key in name for name in left)]
        for key in begun:
            self.set_begun(key)
        if begun:
            self.write()
        for name in left:
            self.set_aside(name)

    def set_aside(self, name: str) -> None:
        """Move a folder that is not named to the folder `set-aside`; a link, or what is no folder, stays."""
        found, aside = self.path.parent / name, self.path.parent / "set-aside"
        if found.is_dir() and not found.is_symlink():
            make_inner_folder(aside, is_shared=bool(self.path.parent.stat().st_mode & 0o020))
            found.rename(aside / found.name)
