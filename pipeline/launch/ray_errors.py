"""The line of a long error message of Ray that tells what happened."""

from __future__ import annotations

import re


def first_line(error: BaseException) -> str:
    """The first line with words in it; the name of the class where there is none."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


def cause(error: BaseException) -> str:
    """The line of Ray's error message that names the exception of a failed trial."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    named = [line for line in lines if re.match(r"[\w.]*(Error|Exception|Exit)(\(\w+\))?: ", line)]
    return (named or lines or [type(error).__name__])[-1]
