"""Where code of the user's own raised an error, as FILE:LINE."""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any


def place_in_file(file: Path, error: BaseException, otherwise: int = 1) -> str:
    """FILE:LINE of the last line of this file that an error came through; else of the line `otherwise`."""
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if Path(frame.filename) == file]
    return f"{file}:{lines[-1] if lines else otherwise}"


def place_of(definition: type | Callable[..., Any], error: BaseException) -> str:
    """The same of the file of a class or function, else of where that begins; the module's name without one."""
    try:
        return place_in_file(
            Path(inspect.getsourcefile(definition) or ""), error, inspect.getsourcelines(definition)[1]
        )
    except (OSError, TypeError):
        return definition.__module__
