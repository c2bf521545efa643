"""Rows of the benchmark table: a measured value and its target."""

from __future__ import annotations

import statistics
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from benchmarks.measure import Pairs


@dataclass(frozen=True)
class Row:
    """`value` is judged against `target`: at least it, or at most where `is_limit`. NaN means not measured.

    `low` and `high` are a 95% interval of `value` over repetitions, if any. `details` are the underlying
    figures, `note` states what they do not cover.
    """

    name: str
    what: str
    target: float
    value: float
    low: float = float("nan")
    high: float = float("nan")
    is_limit: bool = False
    unit: str = "x"
    note: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def holds(self) -> bool:
        """Whether the value meets its target; False where it is NaN."""
        return self.value <= self.target if self.is_limit else self.value >= self.target

    def document(self) -> dict[str, Any]:
        """The row as JSON has it."""
        return {**asdict(self), "holds": self.holds}


def paired(name: str, what: str, target: float, pairs: Pairs, **details: Any) -> Row:
    """How many times as fast the first side of `pairs` is."""
    low, high = pairs.interval()
    first, second = pairs.medians
    figures = {"ours_run_steps_per_s": first, "theirs_run_steps_per_s": second, "num_pairs": len(pairs.first_N)}
    return Row(name, what, target, pairs.ratio, low, high, details={**figures, **details})


def table(documents: Iterable[Mapping[str, Any]]) -> list[str]:
    """Lines of a Markdown table."""
    lines = ["| | measured | target | found | |", "|---|---|---|---|---|"]
    for row in documents:
        unit = row["unit"]
        is_measured = row["value"] == row["value"]
        shown = _number(row["value"], unit) if is_measured else "not measured"
        if row["low"] == row["low"]:
            shown += f" ({_number(row['low'], unit)} to {_number(row['high'], unit)})"
        sign = "at most " if row["is_limit"] else "at least "
        verdict = "open" if not is_measured else "holds" if row["holds"] else "missed"
        note = f"; {row['note']}" if row["note"] else ""
        target = sign + (f"{row['target']:.0%}" if unit == "%" else f"{row['target']:g}{unit}")
        lines.append(f"| {row['name']} | {row['what']} | {target} | {shown}{note} | {verdict} |")
    return lines


def _number(value: float, unit: str) -> str:
    if unit == "%":
        return f"{100 * value:.1f}%"
    return f"{value:#.3g}".rstrip(".") + unit


def modules_lines(documents: Sequence[Mapping[str, Any]]) -> list[str]:
    """What docs/speed.md says of programs written from torch modules, measured on each machine by benchmarks.zoo."""
    paragraphs = []
    for document in documents:
        rows = sorted(document["rows"], key=lambda row: float(row["ratio"]))
        compile_s = [row["compile_s"] for row in rows]
        told = (
            f"{len(rows)} modules train {_ratio(rows[0])} to {_ratio(rows[-1])} times as fast by their programs as in "
            f"the loop, at the median {statistics.median(row['ratio'] for row in rows):.1f} times. A program is "
            f"compiled in {min(compile_s):.0f} to {max(compile_s):.0f} s."
        )
        paragraphs += [*textwrap.wrap(f"{told} {document['about']}", 120), ""]
    return paragraphs[:-1]


def _ratio(row: Mapping[str, Any]) -> str:
    return f"{row['ratio']:.1f} ({row['name']}; {row['low']:.1f} to {row['high']:.1f})"
