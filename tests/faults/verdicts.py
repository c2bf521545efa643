"""The file of verdicts: a line of JSON for each try, appended as it ends, so that a run of faults can be continued."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def append(path: Path, verdict: Mapping[str, Any]) -> None:
    """Add one, in a single write, so that several processes may share the file."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        os.write(descriptor, f"{json.dumps(verdict)}\n".encode())
    finally:
        os.close(descriptor)


def read(path: Path) -> list[dict[str, Any]]:
    """All of them; none where there is no such file. A last line that was cut is left out."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")]


def tried_before(path: Path, seed: int) -> set[tuple[str, int]]:
    """(part, index) of the tries of this seed that the file has."""
    return {(verdict["part"], verdict["index"]) for verdict in read(path) if verdict["seed"] == seed}
