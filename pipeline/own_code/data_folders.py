"""Where data that a sweep file names are looked for: beside that file, and in the working directory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

_beside: ContextVar[tuple[Path, ...]] = ContextVar("_beside", default=())


@contextmanager
def data_beside(folder: Path) -> Iterator[None]:
    """In this context `folder`, a sweep file's, is searched first."""
    token = _beside.set((folder,))
    try:
        yield
    finally:
        _beside.reset(token)


def data_folders() -> tuple[Path, ...]:
    """The folders that are searched, in that order."""
    return tuple(dict.fromkeys((*_beside.get(), Path.cwd())))
