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


def data_places(name: str) -> list[Path]:
    """The paths at which a file of this name is looked for, in that order; one for an absolute name."""
    try:
        given = Path(name).expanduser()
    except RuntimeError:
        # There is no user of that name: it may be a file's own.
        given = Path(name)
    return [given] if given.is_absolute() else [folder / given for folder in _folders()]


def _folders() -> tuple[Path, ...]:
    return tuple(dict.fromkeys((*_beside.get(), Path.cwd())))
