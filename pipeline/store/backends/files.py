"""What the store asks of the place where its files are kept."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection


class Files(ABC):
    """The files of one folder, each written whole. Names have no slash; folders inside are had by `inside`.

    1. `put` replaces a file atomically and durably: a reader gets what was there before, or all of the new content.
    2. Of any number of callers of `put_if_absent` under one name, whose contents differ, exactly one gets True, even
       where a reply is lost and the call is repeated underneath.
    3. After a `put`, `put_if_absent` or `delete` has returned, `get` and `exists` see it, from anywhere.
    4. `names` may be late: nothing that is true may rest on it alone.
    5. A call that raises OSError may have taken effect, at once or later, or not.
    """

    @property
    @abstractmethod
    def address(self) -> str:
        """What messages call the folder: its path or its URL."""

    @abstractmethod
    def inside(self, folder: str) -> Files:
        """The files of a folder inside this one, which need not exist."""

    @abstractmethod
    def get(self, name: str, sha256: str | None = None) -> bytes:
        """A file's bytes. Raises CorruptFileError where there is none, or if it does not have this SHA-256."""

    @abstractmethod
    def put(self, name: str, content: bytes) -> str:
        """Write a file, in the place of one of that name; its SHA-256. Raises OSError."""

    @abstractmethod
    def put_if_absent(self, name: str, content: bytes) -> bool:
        """Write a file unless there is one of that name; whether this call did. Makes the folder if it is missing."""

    @abstractmethod
    def exists(self, name: str) -> bool:
        """Whether there is a file of that name."""

    @abstractmethod
    def names(self) -> list[str]:
        """The names of the files in this folder, in any order; none where there is no folder."""

    @abstractmethod
    def delete(self, names: Collection[str], is_durable: bool = False) -> None:
        """Delete those of these files that are there; with `is_durable` they stay deleted after a crash."""

    def address_of(self, name: str) -> str:
        """What messages call a file of this folder."""
        return f"{self.address}/{name}"
