"""SpecError: every mistake of a sweep file with its line; values and paths formatted on one line."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

Place = tuple[str | int, ...]

_SIMPLE_KEY = re.compile(r"[A-Za-z0-9_./+-]{1,80}", re.ASCII)


@dataclass(frozen=True)
class Mistake:
    """One thing to correct: `where` is path:line or the override, `field` a dotted path or ""."""

    where: str
    field: str
    message: str

    def __str__(self) -> str:
        return ": ".join(part for part in (self.where, self.field, self.message) if part)


class SpecError(ValueError):
    """All mistakes of one spec, a line each."""

    def __init__(self, mistakes: Sequence[Mistake]) -> None:
        self.mistakes = tuple(mistakes)
        super().__init__("\n".join(map(str, self.mistakes)))


def shown(value: Any) -> str:
    """`value` as a spec would write it, on one line and cut to 60 characters."""
    names = {None: "null", True: "true", False: "false"}
    text = names[value] if value is None or isinstance(value, bool) else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def shown_key(key: str | int) -> str:
    """`key` as a part of a dotted path; anything unusual is quoted."""
    text = str(key)
    return text if _SIMPLE_KEY.fullmatch(text) else shown(text)


def dotted(path: Place) -> str:
    """("vary", 0, "model.width") as vary[0].model.width"""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{shown_key(part)}" for part in path)
    return text.removeprefix(".")
