"""C++ that was written from this package's own classes, kept between processes: to trace one takes seconds."""

from __future__ import annotations

import hashlib
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path

import torch

from pipeline.numerics.program_cache import cache_folder, keep, kept_text_at

_PACKAGE = Path(__file__).resolve().parents[1]


def is_ours(part: object) -> bool:
    """Whether a task, model, optimiser or schedule is of a class of this package, without code of a user's own."""
    cls = type(part)
    if not cls.__module__.startswith(f"{_PACKAGE.name}.") or getattr(cls, "own_classes", tuple)():
        return False
    file = getattr(sys.modules.get(cls.__module__), "__file__", None)
    return file is not None and Path(file).resolve().is_relative_to(_PACKAGE)


def kept_text(identity: str, write: Callable[[], str]) -> str:
    """The text of this identity, written if it is new: under another version of torch or of this package's code."""
    key = hashlib.sha256("\0".join([identity, torch.__version__, _code()]).encode()).hexdigest()[:20]
    folder = cache_folder()
    path = folder / f"text-{key}.h"
    text = kept_text_at(path)
    if text is None:
        text = write()
        # Where it cannot be kept, it is written again the next time.
        with suppress(OSError), tempfile.TemporaryDirectory(dir=folder) as scratch:
            new = Path(scratch) / path.name
            new.write_text(text, encoding="utf-8")
            keep(new, path)
    return text


@cache
def _code() -> str:
    """Hash of every file of this package in Python."""
    found = hashlib.sha256()
    for path in sorted(_PACKAGE.glob("**/*.py")):
        found.update(str(path.relative_to(_PACKAGE)).encode() + b"\0" + path.read_bytes() + b"\0")
    return found.hexdigest()
