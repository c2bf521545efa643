"""Where code of the user's own raised an error, as FILE:LINE."""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

_OURS = [Path(__file__).resolve().parents[2] / room for room in ("pipeline", "analysis", "sweeps")]


def place_in_file(file: Path, error: BaseException, otherwise: int = 1) -> str:
    """FILE:LINE of the last line of this file that an error came through; else of the line `otherwise`."""
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if Path(frame.filename) == file]
    return f"{file}:{lines[-1] if lines else otherwise}"


def place_of(definition: type | Callable[..., Any], error: BaseException) -> str:
    """FILE:LINE of the last line that an error came through in the file of a class or function, or in one beside it.

    Else of where the definition begins; the module's name where that has no file.
    """
    try:
        file, first = Path(inspect.getsourcefile(definition) or ""), inspect.getsourcelines(definition)[1]
    except (OSError, TypeError):
        return definition.__module__
    frames = traceback.extract_tb(error.__traceback__)
    beside = [frame for frame in frames if Path(frame.filename) == file or _is_beside(Path(frame.filename), file)]
    return f"{beside[-1].filename}:{beside[-1].lineno}" if beside else f"{file}:{first}"


def _is_beside(found: Path, file: Path) -> bool:
    """Whether a file is in the folder of another or below it, but neither seedbed's own nor installed there."""
    if not found.is_relative_to(file.parent) or any(found.is_relative_to(folder) for folder in _OURS):
        return False
    return "site-packages" not in found.relative_to(file.parent).parts
