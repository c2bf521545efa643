"""Judged claims as a table in plain text, at most 100 columns wide, and as Markdown."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from itertools import zip_longest

from analysis.claims.claims import VERDICTS, JudgedClaim

# Column -> width; with a space between them, 100 in all.
COLUMNS = {"verdict": 9, "ours": 18, "holds if": 10, "runs": 4, "paper": 14, "statement": 26, "figure": 13}
MARKDOWN_COLUMNS = ("claim", "stated", "ours (95%)", "holds if", "runs", "verdict", "figure")
BAR = "\\|"


def claims_table(claims: Sequence[JudgedClaim]) -> list[str]:
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


def claims_markdown(claims: Sequence[JudgedClaim]) -> str:
    """Per paper its name and a table with a row per claim; reason and remark stand beside the verdict."""
    blocks: list[str] = []
    for paper in dict.fromkeys(claim.paper for claim in claims):
        rows = [[*MARKDOWN_COLUMNS], ["---"] * len(MARKDOWN_COLUMNS)]
        rows += [_markdown_cells(claim) for claim in claims if claim.paper == paper]
        lines = (f"| {' | '.join(cell.replace('|', BAR) for cell in row)} |\n" for row in rows)
        blocks.append(f"**{paper}**\n\n{''.join(lines)}")
    return "\n".join(blocks)


def _cells(judged: JudgedClaim) -> list[str]:
    claim = judged.claim
    statement = f"{claim.statement} ({judged.reason})" if judged.reason else claim.statement
    ours, num_runs = judged.estimate.concise(), str(judged.num_runs)
    return [judged.verdict, ours, str(claim.region), num_runs, claim.stated, statement, claim.figure]


def _markdown_cells(judged: JudgedClaim) -> list[str]:
    claim = judged.claim
    verdict = f"{judged.verdict}: {judged.reason}" if judged.reason else judged.verdict
    verdict = f"{verdict} ({judged.remark})" if judged.remark else verdict
    ours, num_runs = judged.estimate.concise(), str(judged.num_runs)
    return [claim.statement, claim.stated, ours, str(claim.region), num_runs, verdict, claim.figure]


def _row(cells: Sequence[str]) -> list[str]:
    wrapped = [textwrap.wrap(cell, width) for cell, width in zip(cells, COLUMNS.values(), strict=True)]
    return [
        " ".join(f"{part:<{width}}" for part, width in zip(parts, COLUMNS.values(), strict=True)).rstrip()
        for parts in zip_longest(*wrapped, fillvalue="")
    ]
