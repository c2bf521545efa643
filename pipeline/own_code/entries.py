"""The `imports` of a sweep file: modules of the user's own, imported before the names of the file are looked up."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from pipeline.own_code.imported import entry_of, load, resolved

if TYPE_CHECKING:
    from pipeline.spec.registered import Problem

Imports = Annotated[tuple[Annotated[str, Field(min_length=1, max_length=4096)], ...], Field(strict=False)]


def resolve_imports(data: Any, folder: Path, more: Sequence[str]) -> list[tuple[tuple[str, str | int], str]]:
    """Puts the entries of a sweep file in `folder` in the form that any process can import, and `more` behind them.

    Returns the places of the entries that cannot be, and why; values of other types are left to other checks.
    """
    wrong: list[tuple[tuple[str, str | int], str]] = []
    given = (data.get("imports") or []) if isinstance(data, dict) else None
    if not isinstance(given, list) or not all(isinstance(entry, str) and entry for entry in given):
        return wrong
    for index, entry in enumerate(given):
        try:
            given[index] = resolved(entry, folder)
        except (OSError, RuntimeError, ValueError) as error:
            wrong.append((("imports", index), str(error)))
    for place, named in _named_classes(data):
        try:
            more = [*more, resolved(entry_of(named), folder)]
        except (OSError, RuntimeError, ValueError) as error:
            wrong.append((place, str(error)))
    if given or more:
        data["imports"] = list(dict.fromkeys([*given, *more]))
    return wrong


def _named_classes(data: Any) -> Iterator[tuple[tuple[str, str], str]]:
    """Where the sections of a sweep file name a class of one's own, and its name."""
    for section in ("model", "task"):
        part = data.get(section)
        if isinstance(part, dict) and part.get("name") == "lightning" and isinstance(part.get("module"), str):
            yield (section, "module"), part["module"]


def import_problems(entries: Any) -> Iterator[Problem]:
    """Imports the entries; a problem for each that cannot be. Values of other types are left to other checks."""
    if not isinstance(entries, (list, tuple)):
        return
    for place, entry in enumerate(entries):
        if isinstance(entry, str) and entry:
            try:
                load(resolved(entry, Path.cwd()))
            except (OSError, RuntimeError, ValueError) as error:
                yield ("imports", place), str(error), entry
