"""Odd values: of arguments, of paths, and of what stands in documents."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

TEXTS = (
    "",
    " ",
    "-",
    "--",
    "-1",
    "0",
    "1e-3",
    "1e309",
    "nan",
    "-inf",
    "9" * 400,
    "2**70",
    "true",
    "null",
    "[/x]",
    "[red]bold[/red]",
    "{0}",
    "%s%n",
    "$(id)",
    "`id`",
    "a;b",
    "näme",
    "\u202eabc",
    "日本語",
    "\U0001f600",
    "\x1b[31mred\x1b[0m",
    "\x1b]0;title\x07",
    "a\nb",
    "a\tb",
    "\udcff",
    "x" * 300,
    "../" * 40,
    "~",
    "con",
    "<script>alert(1)</script>",
    "'\"",
    "\\",
    "0.1,0.25",
    "0,0,0",
    "1,2,",
    "adamw",
)
# What cannot be an argument of a process cannot be tried as one.
ARGUMENTS = tuple(text for text in TEXTS if "\0" not in text)

INTEGERS = (0, -1, 1, 2, 3, 7, 10**6, 2**31, 2**40, 2**63 - 1, 2**63, -(2**63) - 1, 2**70, 10**400)
FLOATS = (0.0, -0.0, 0.5, 1e-3, 1e300, 5e-324, float("nan"), float("inf"), -float("inf"))


def json_value(chance: random.Random, depth: int = 2) -> Any:
    """An odd value of JSON or YAML; those that are not finite among them."""
    kind = chance.randrange(8 if depth else 5)
    if kind == 0:
        return chance.choice((None, True, False))
    if kind == 1:
        return chance.choice(INTEGERS)
    if kind == 2:
        return chance.choice(FLOATS)
    if kind < 5:
        return chance.choice(TEXTS)
    if kind == 5:
        return [json_value(chance, depth - 1) for _ in range(chance.randrange(4))]
    if kind == 6:
        return {chance.choice(TEXTS): json_value(chance, depth - 1) for _ in range(chance.randrange(4))}
    value: Any = chance.choice((1, "x", None))
    for _ in range(chance.choice((3, 60, 120))):
        value = [value]
    return value


def places(value: Any, prefix: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths of everything inside a value, itself first."""
    found = [prefix]
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        found += places(item, (*prefix, key))
    return found


def mutated(value: Any, chance: random.Random, number: int = 1) -> Any:
    """A copy with so many places deleted, doubled, retyped, wrapped, given a neighbour, or exchanged."""
    for _ in range(number):
        value = _edited(value, chance.choice(places(value)), chance)
    return value


def _edited(value: Any, place: tuple[Any, ...], chance: random.Random) -> Any:
    if not place:
        return value if chance.random() < 0.7 else json_value(chance)
    head, *rest = place
    copy = dict(value) if isinstance(value, dict) else list(value)
    if rest:
        copy[head] = _edited(copy[head], tuple(rest), chance)
        return copy
    how, old = chance.randrange(9), copy[head]
    if how == 0:
        del copy[head]
    elif how == 1 and isinstance(copy, list):
        copy.insert(head, old)
    elif how == 2:
        copy[head] = [old]
    elif how == 3:
        copy[head] = {"value": old}
    elif how == 4 and isinstance(copy, dict):
        copy[chance.choice((*TEXTS, f"{head}x", str(head).upper()))] = json_value(chance)
    elif how == 5:
        copy[head] = str(old)
    elif how == 6 and isinstance(old, int | float) and not isinstance(old, bool):
        copy[head] = chance.choice((old + 1, -old, old * 1000, old * 10**9, old / 3, float(old)))
    elif how == 7 and isinstance(old, list):
        copy[head] = old * chance.choice((0, 2, 100))
    else:
        copy[head] = json_value(chance)
    return copy


def _symlink_loop(path: Path) -> None:
    path.symlink_to(path.name)


def _fifo(path: Path) -> None:
    os.mkfifo(path)


def _folder(path: Path) -> None:
    path.mkdir()


def _empty(path: Path) -> None:
    path.touch()


def _binary(path: Path) -> None:
    path.write_bytes(bytes(range(256)) * 16)


def _unreadable(path: Path) -> None:
    path.write_text("{}")
    path.chmod(0)


def _closed_folder(path: Path) -> None:
    path.mkdir()
    (path / "sweep.json").write_text("{}")
    path.chmod(0)


def _read_only_folder(path: Path) -> None:
    path.mkdir()
    path.chmod(0o500)


def _dangling(path: Path) -> None:
    path.symlink_to("nowhere/at/all")


def _device(path: Path) -> None:
    path.symlink_to("/dev/zero")


# Things that may stand where a file or a folder is asked for.
THINGS: dict[str, Callable[[Path], None]] = {
    "loop": _symlink_loop,
    "pipe": _fifo,
    "folder": _folder,
    "empty": _empty,
    "binary": _binary,
    "unreadable": _unreadable,
    "closed-folder": _closed_folder,
    "read-only-folder": _read_only_folder,
    "dangling": _dangling,
    "device": _device,
}


def put_things(work: Path) -> None:
    """One of each thing, by its name."""
    for name, make in THINGS.items():
        make(work / name)


# Where nothing is, or nothing that is asked for.
PATHS = (*THINGS, "absent", "absent/below", "empty/below", "/", "/proc/self/mem", "/dev/null", ".", "..", *ARGUMENTS)
