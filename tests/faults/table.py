"""The table of a run of faults, and its place between the markers of docs/reliability.md."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.bench import between
from tests.faults.shim import KINDS

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reliability.md"
MARKERS = ("<!-- faults: begin -->", "<!-- faults: end -->")
COUNTS = ("lost", "twice", "wrong", "silent", "hung")
Verdicts = Sequence[Mapping[str, Any]]


def lines(verdicts: Verdicts, num_calls: int, seed: int) -> list[str]:
    """What was tried, in a sentence, and a table with a row for each kind of fault, their sum last."""
    numbers = {verdict["place"] for verdict in verdicts if verdict["kind"] in KINDS}
    told = (
        f"{len(verdicts)} faults, seed {seed}. One launch makes {num_calls} calls on files of its folder; "
        f"{len(numbers)} of them met at least one fault. {_bound(verdicts)}"
    )
    head = ("fault", "tried", "survived", *COUNTS, "left over")
    return [told, "", _row(head), _row(["---", *["---:"] * (len(head) - 1)]), *_rows(verdicts)]


def _bound(verdicts: Verdicts) -> str:
    """The most, at 95%, that such faults may go wrong where none was seen to (Clopper and Pearson, 1934), in words."""
    if not verdicts or not all(verdict["survived"] for verdict in verdicts):
        return "Some were not survived."
    return (
        f"All were survived: at most {1 - 0.05 ** (1 / len(verdicts)):.1%} of such faults are not, with 95% confidence."
    )


def _rows(verdicts: Verdicts) -> Iterator[str]:
    for kind in dict.fromkeys(verdict["kind"] for verdict in _in_order(verdicts)):
        yield _row([kind, *_numbers([verdict for verdict in verdicts if verdict["kind"] == kind])])
    yield _row(["all", *_numbers(verdicts)])


def _in_order(verdicts: Verdicts) -> list[Mapping[str, Any]]:
    """Failing calls first, in the order of their kinds, then damaged files by name, then signals at random moments."""
    order = {kind: number for number, kind in enumerate(KINDS)}

    def place(verdict: Mapping[str, Any]) -> tuple[int, bool, str]:
        kind = verdict["kind"]
        return order.get(kind, len(order)), kind.endswith("random moment"), kind

    return sorted(verdicts, key=place)


def _numbers(verdicts: Verdicts) -> list[int]:
    """Tries, tries that were survived, tries with each failing, and the files that were left over in all."""
    failing = [sum(bool(verdict[count]) for verdict in verdicts) for count in COUNTS]
    survived = sum(verdict["survived"] for verdict in verdicts)
    return [len(verdicts), survived, *failing, sum(verdict["leftovers"] for verdict in verdicts)]


def _row(cells: Sequence[object]) -> str:
    return "| " + " | ".join(map(str, cells)) + " |"


def write(verdicts: Verdicts, num_calls: int, seed: int) -> None:
    """Put the table of these verdicts in the place of the one in docs/reliability.md."""
    PAGE.write_text(between(PAGE.read_text(encoding="utf-8"), MARKERS, lines(verdicts, num_calls, seed)))
