"""Reading a sweep's two documents: sealed, and of the shape that seedbed writes."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from pipeline.store.files import CorruptFileError, read_file, unseal
from pipeline.store.shapes import SWEEP, misfit, plan_misfit

# Documents that were found to be in order, by the SHA-256 of their files: a plan of 10,000 runs is read many times.
_CHECKED: dict[Path, bytes] = {}


def read_document(path: Path) -> dict[str, Any]:
    """The body of a sweep's document or its plan, by the name of the file. Raises CorruptFileError for another."""
    content = read_file(path)
    body, seen = unseal(content, path), hashlib.sha256(content).digest()
    if _CHECKED.get(path) != seen:
        problem = misfit(body, SWEEP) if path.name == "sweep.json" else plan_misfit(body)
        if problem is not None:
            raise CorruptFileError(f"{path}: is not what seedbed writes: {problem}")
        _CHECKED[path] = seen
    return body
