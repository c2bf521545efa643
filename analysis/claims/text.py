"""Judged claims as a table in plain text, at most 100 columns wide, as Markdown, and as JSON."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

from analysis.claims.claims import VERDICTS, Claim
from analysis.uncertainty.intervals import finite

# Column -> width; with a space between them, 100 in all.
COLUMNS = {"verdict": 9, "ours": 18, "holds if": 10, "runs": 4, "paper": 14, "statement": 26, "figure": 13}
MARKDOWN_COLUMNS = ("claim", "stated", "ours (95%)", "holds if", "runs", "verdict", "figure")
BAR = "\\|"


def claims_table(claims: Sequence[Claim]) -> list[str]:
    """Lines: per paper a header and a row for each of its claims, cells wrapped; then how many of each verdict.

    The reason of an undecided claim stands under its statement, our figure's name beside it. No claim is left out.
    """
    lines: list[str] = []
    for paper in dict.fromkeys(claim.paper for claim in claims):
        lines += [paper, *_row(list(COLUMNS))]
        for claim in claims:
            if claim.paper == paper:
                lines += _row(_cells(claim))
        lines.append("")
    counts = (f"{sum(claim.verdict == verdict for claim in claims)} {verdict}" for verdict in VERDICTS)
    return [*lines, f"{len(claims)} claim(s): {', '.join(counts)}."]


def claims_markdown(claims: Sequence[Claim]) -> str:
    """Per paper its name and a table with a row per claim; the reason of an undecided one stands beside its verdict."""
    blocks: list[str] = []
    for paper in dict.fromkeys(claim.paper for claim in claims):
        rows = [MARKDOWN_COLUMNS, tuple("---" for _ in MARKDOWN_COLUMNS)]
        rows += [_markdown_cells(claim) for claim in claims if claim.paper == paper]
        lines = (f"| {' | '.join(cell.replace('|', BAR) for cell in row)} |\n" for row in rows)
        blocks.append(f"**{paper}**\n\n{''.join(lines)}")
    return "\n".join(blocks)


def claims_json(claims: Sequence[Claim], provenance: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Claims and provenance as plain values; NaN and infinities become null."""
    plain = finite({"provenance": dict(provenance or {}), "claims": [claim.to_json() for claim in claims]})
    assert isinstance(plain, dict)
    return plain


def write_claims(claims: Sequence[Claim], path: Path | str, provenance: Mapping[str, Any] | None = None) -> Path:
    """Writes the claims as JSON to `path`, overwriting it; returns the path."""
    path = Path(path)
    path.write_text(json.dumps(claims_json(claims, provenance), indent=2, allow_nan=False) + "\n", encoding="utf-8")
    return path


def _cells(claim: Claim) -> list[str]:
    region = "n/a" if claim.evidence is None else str(claim.evidence.holds_if)
    statement = f"{claim.statement} ({claim.reason})" if claim.reason else claim.statement
    return [claim.verdict, claim.estimate.concise(), region, str(claim.num_runs), claim.value, statement, claim.figure]


def _markdown_cells(claim: Claim) -> tuple[str, ...]:
    region = "n/a" if claim.evidence is None else str(claim.evidence.holds_if)
    verdict = f"{claim.verdict}: {claim.reason}" if claim.reason else claim.verdict
    ours = claim.estimate.concise()
    return (claim.statement, claim.value, ours, region, str(claim.num_runs), verdict, claim.figure)


def _row(cells: Sequence[str]) -> list[str]:
    wrapped = [textwrap.wrap(cell, width) for cell, width in zip(cells, COLUMNS.values(), strict=True)]
    return [
        " ".join(f"{part:<{width}}" for part, width in zip(parts, COLUMNS.values(), strict=True)).rstrip()
        for parts in zip_longest(*wrapped, fillvalue="")
    ]
