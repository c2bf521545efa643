"""The table of a run of odd inputs, and its place between the markers of docs/reliability.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from analysis.uncertainty.exact import clopper_pearson_upper
from analysis.uncertainty.intervals import wilson
from benchmarks.bench import between

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reliability.md"
MARKERS = ("<!-- inputs: begin -->", "<!-- inputs: end -->")
_SIGNS = (
    ("unforeseen", ("traceback", "not foreseen")),
    ("late", ("late",)),
    ("memory", ("memory",)),
    ("silent", ("exit code", "nothing on")),
    ("nameless", ("names no file",)),
    ("control", ("prints a control",)),
    ("elsewhere", ("writes",)),
)
Documents = Sequence[Mapping[str, Any]]


def lines(documents: Documents, seed: int) -> list[str]:
    """What was tried, in a sentence, and a table with a row for each kind of input, their sum last."""
    kinds = sorted({_kind(document) for document in documents})
    head = ("input", "tried", "answered well", *(name for name, _ in _SIGNS), "most seconds", "most MiB")
    rows = [_row([kind, *_numbers([d for d in documents if _kind(d) == kind])]) for kind in kinds]
    told = f"{len(documents):,} inputs, seed {seed}. {_bound(documents)}"
    return [
        told,
        "",
        _row(head),
        _row(["---", *["---:"] * (len(head) - 1)]),
        *rows,
        _row(["all", *_numbers(documents)]),
    ]


def _kind(document: Mapping[str, Any]) -> str:
    return str(document["kind"]).partition(":")[0] if document["kind"].startswith("command") else document["kind"]


def _bound(documents: Documents) -> str:
    """How many such inputs may be answered badly, in words: those that were when first tried, with a 95% interval."""
    if not documents or any(document["problems"] for document in documents):
        return "Some were not answered well."
    num_mended = sum(document.get("was_bad", False) for document in documents)
    if not num_mended:
        most = clopper_pearson_upper(0, len(documents))
        return f"All were answered well: at most {most:.2%} of such inputs are not, with 95% confidence."
    first = wilson(num_mended, len(documents))
    return (
        f"All are answered well. When first tried, {num_mended} were not ({first.value:.2%}, {first.low:.2%} to "
        f"{first.high:.2%}), and what they found was mended; so the share among new inputs is below that, and unknown."
    )


def _numbers(documents: Documents) -> list[str]:
    good = sum(not document["problems"] for document in documents)
    signs = [sum(any(p.startswith(starts) for p in d["problems"]) for d in documents) for _, starts in _SIGNS]
    # Training goes on for as long as it takes.
    ended = [document for document in documents if document["code"] >= 0]
    most = (max((d[name] for d in ended), default=0.0) for name in ("cpu_s", "peak_mib"))
    seconds, mib = most
    return [f"{len(documents):,}", f"{good:,}", *map(str, signs), f"{seconds:.1f}", f"{mib:.0f}"]


def _row(cells: Sequence[object]) -> str:
    return "| " + " | ".join(map(str, cells)) + " |"


def write(documents: Documents, seed: int) -> None:
    """Put the table of these inputs in the place of the one in docs/reliability.md."""
    PAGE.write_text(between(PAGE.read_text(encoding="utf-8"), MARKERS, lines(documents, seed)), encoding="utf-8")
