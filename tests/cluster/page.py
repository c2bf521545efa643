"""The tables of docs/reliability.md that `tests.cluster.run` writes: kills, nodes and races, and what they cost."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.bench import between
from tests.cluster.bars import SIGNAL_S, figures
from tests.cluster.races import REFUSED_S
from tests.faults.table import PAGE, bound, table_of, table_row

MARKERS = ("<!-- cluster: begin -->", "<!-- cluster: end -->")
LOST = "training thrown away by `kill -9`, in seconds of it"
INLINE = "CPU until training goes on after `resume --inline`"
UNDER_RAY = "CPU until training goes on after `resume`: the command and a worker"
ALL_OF_RAY = "the same with all of Ray's own processes"
SIGNALLED = "from SIGTERM or SIGINT under Ray until the command has ended"
REFUSED = "until a second launch is refused"
# What is aimed at, in seconds. Commits are a minute apart.
BARS_S = {LOST: 60.0, INLINE: 5.0, UNDER_RAY: 5.0, ALL_OF_RAY: 5.0, SIGNALLED: SIGNAL_S, REFUSED: REFUSED_S}


def read(path: Path) -> list[dict[str, Any]]:
    """The lines of a file of verdicts and figures."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def lines(tried: Sequence[Mapping[str, Any]]) -> list[str]:
    """How many tries were survived, the table of tries by what happened, and the table of seconds."""
    verdicts = [line for line in tried if "kind" in line]
    measured = {
        name: (bar_s, [line["seconds"] for line in tried if line.get("figure") == name])
        for name, bar_s in BARS_S.items()
    }
    rows = [table_row(figure.row()) for figure in figures(measured)]
    head = ("seconds", "aim, at most", "tries", "least", "median", "most")
    costs = [table_row(head), table_row(["---", *["---:"] * (len(head) - 1)]), *rows]
    return [f"{len(verdicts)} tries. {bound(verdicts)}", "", *table_of(verdicts), "", *costs]


def write(tried: Sequence[Mapping[str, Any]]) -> None:
    """Put the tables in the place of those in docs/reliability.md."""
    PAGE.write_text(between(PAGE.read_text(encoding="utf-8"), MARKERS, lines(tried)))
