"""The verdicts on faults: a file with a line of JSON for each, appended as its try ends, so that a run of faults can be
continued; and the tables of them, with their place between the markers of docs/reliability.md."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.bench import between
from tests.faults.shim import KINDS

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reliability.md"
MARKERS = ("<!-- faults: begin -->", "<!-- faults: end -->")
COUNTS = ("lost", "twice", "wrong", "silent", "hung")
# The parts whose tries are of single calls of a command, which stands at the start of their place.
_OF_CALLS = ("launches", "commands", "twice")
Verdicts = Sequence[Mapping[str, Any]]


def lines(verdicts: Verdicts) -> list[str]:
    """What was tried, in sentences; a table with a row for each kind of fault, their sum last; one by command."""
    told = [_told(verdicts), "", *table_of(verdicts)]
    commands = _by_command(verdicts)
    if commands:
        head = ("command", "calls that met one", "tried", "survived")
        told += [
            "",
            "The faults at single calls, by the command that met them:",
            "",
            table_row(head),
            _rule(head),
            *commands,
        ]
    return told


def table_of(verdicts: Verdicts) -> list[str]:
    """A table with a row for each kind of fault, their sum last."""
    head = ("fault", "tried", "survived", *COUNTS, "left over")
    return [table_row(head), _rule(head), *_rows(verdicts)]


def _told(verdicts: Verdicts) -> str:
    seeds = ", ".join(map(str, sorted({verdict["seed"] for verdict in verdicts})))
    cpu_s = sum(verdict["cpu_s"] for verdict in verdicts) / max(len(verdicts), 1)
    return (
        f"{len(verdicts):,} faults (seed {seeds}), {cpu_s:.2f} CPU seconds each, on {os.cpu_count()} processors; "
        f"{sum('power loss' in verdict['kind'] for verdict in verdicts):,} of them are losses of power. "
        f"{bound(verdicts)}"
    )


def bound(verdicts: Verdicts) -> str:
    """The most, at 95%, that such faults may go wrong where none was seen to (Clopper and Pearson, 1934), in words."""
    num_failed = sum(not verdict["survived"] for verdict in verdicts)
    if num_failed or not verdicts:
        return f"{num_failed} {'was' if num_failed == 1 else 'were'} not survived."
    return (
        f"All were survived: at most {1 - 0.05 ** (1 / len(verdicts)):.2%} of such faults are not, with 95% confidence."
    )


def _rows(verdicts: Verdicts) -> Iterator[str]:
    for kind in dict.fromkeys(verdict["kind"] for verdict in _in_order(verdicts)):
        yield table_row([kind, *_numbers([verdict for verdict in verdicts if verdict["kind"] == kind])])
    yield table_row(["all", *_numbers(verdicts)])


def _in_order(verdicts: Verdicts) -> list[Mapping[str, Any]]:
    """Failing calls first, in the order of their kinds, then the others by part and name."""
    order = {kind: number for number, kind in enumerate(KINDS)}
    return sorted(
        verdicts, key=lambda found: (order.get(found["kind"], len(order)), found.get("part", ""), found["kind"])
    )


def _numbers(verdicts: Verdicts) -> list[int]:
    """Tries, tries that were survived, tries with each failing, and the files that were left over in all."""
    failing = [sum(bool(verdict[count]) for verdict in verdicts) for count in COUNTS]
    survived = sum(verdict["survived"] for verdict in verdicts)
    return [len(verdicts), survived, *failing, sum(verdict["leftovers"] for verdict in verdicts)]


def _by_command(verdicts: Verdicts) -> list[str]:
    of_calls = [verdict for verdict in verdicts if verdict["part"] in _OF_CALLS]
    found: dict[str, list[Mapping[str, Any]]] = {}
    for verdict in of_calls:
        twice = ", and again while it is completed" if verdict["part"] == "twice" else ""
        found.setdefault(verdict["place"].partition(", call ")[0] + twice, []).append(verdict)
    return [
        table_row([command, _num_calls(tries), len(tries), sum(verdict["survived"] for verdict in tries)])
        for command, tries in sorted(found.items())
    ]


def _num_calls(tries: Verdicts) -> int:
    return len({verdict["place"].partition(", then ")[0] for verdict in tries})


def table_row(cells: Sequence[object]) -> str:
    """A row of a table, in Markdown."""
    return "| " + " | ".join(map(str, cells)) + " |"


def _rule(head: Sequence[str]) -> str:
    return table_row(["---", *["---:"] * (len(head) - 1)])


def write(verdicts: Verdicts) -> str | None:
    """Put the tables of these verdicts in the place of those in docs/reliability.md.

    Tables of more faults are kept. Returns a sentence that says so, else None.
    """
    page = PAGE.read_text(encoding="utf-8")
    shown = re.search(r"^([\d,]+) faults \(seed", page, re.M)
    if shown is not None and int(shown[1].replace(",", "")) > len(verdicts):
        return f"{PAGE} keeps its tables, which are of {shown[1]} faults; these are {len(verdicts):,}"
    PAGE.write_text(between(page, MARKERS, lines(verdicts)))
    return None


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
