"""A folder of a POSIX file system as the place of files."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path

from pipeline.store.backends.files import Files
from pipeline.store.files import (
    create_exclusively,
    is_shared_folder,
    make_inner_folder,
    read_file,
    sync_folder,
    write_file,
)


class PosixFiles(Files):
    """The files of a folder: temporary files, synced and renamed. Folders that it makes are shared as theirs are."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def address(self) -> str:
        """The path, as it was given."""
        return str(self.folder)

    def inside(self, folder: str) -> PosixFiles:
        """The files of `folder` in this one."""
        return PosixFiles(self.folder / folder)

    def get(self, name: str, sha256: str | None = None) -> bytes:
        """A file's bytes. Raises CorruptFileError where there is no regular file, or if its SHA-256 is another."""
        # As text: of a thousand packs a path for each takes as long as what is read there.
        return read_file(f"{self.folder}/{name}", sha256)

    def put(self, name: str, content: bytes) -> str:
        """Write a file atomically and durably; its SHA-256. Raises FileNotFoundError where the folder is missing."""
        return write_file(self.folder / name, content)

    def put_if_absent(self, name: str, content: bytes) -> bool:
        """Create a file by O_EXCL; of its content nothing is promised after a crash."""
        for folder in (self.folder.parent, self.folder):
            make_inner_folder(folder, is_shared_folder(self.folder.parent))
        return create_exclusively(self.folder / name, content)

    def exists(self, name: str) -> bool:
        """Whether something has that name."""
        return (self.folder / name).exists()

    def names(self) -> list[str]:
        """The names of all that is in the folder, temporary files and folders too."""
        try:
            return os.listdir(self.folder)
        except FileNotFoundError:
            return []

    def delete(self, names: Collection[str], is_durable: bool = False) -> None:
        """Unlink files; with `is_durable` the folder is synced behind them."""
        for name in names:
            (self.folder / name).unlink(missing_ok=True)
        if names and is_durable:
            sync_folder(self.folder)
