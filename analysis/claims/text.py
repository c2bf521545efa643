"""Judged claims as a table in plain text, at most 100 columns wide, and as Markdown."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping, Sequence
from itertools import zip_longest

import numpy as np

from analysis.claims.claims import DOES_NOT, VERDICTS, JudgedClaim

# Column -> width; with a space between them, 100 in all.
COLUMNS = {"verdict": 9, "ours": 18, "holds if": 10, "runs": 4, "paper": 14, "statement": 26, "figure": 13}
MARKDOWN_COLUMNS = (
    "claim",
    "stated",
    "ours (95%)",
    "equals it",
    "holds if",
    "would catch",
    "units",
    "verdict",
    "figure",
)
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
    checks = [claim for claim in claims if claim.claim.is_check]
    counted = [claim for claim in claims if not claim.claim.is_check]
    lines.append(f"{len(counted)} claim(s), of {num_statements(counted)} statement(s): {_by_verdict(counted)}.")
    return lines + [f"{len(checks)} check(s): {_by_verdict(checks)}."] * bool(checks)


def with_figures(sentence: str, claims: Mapping[str, JudgedClaim]) -> str:
    """A sentence with our figure in place of every `{NAME}` of a claim: estimate, 95% interval, units and verdict.

    Raises KeyError for a name that no claim has.
    """
    return re.sub(r"\{(\w+)\}", lambda match: _figure_of(claims[match[1]]), sentence)


def _figure_of(judged: JudgedClaim) -> str:
    verdict = {DOES_NOT: "does not hold"}.get(judged.verdict, judged.verdict)
    if judged.evidence is None:
        return f"({verdict})"
    if not np.isfinite(judged.estimate.value):
        return f"**no estimate** ({_units(judged)}; {verdict})"
    value, _, interval = judged.estimate.concise().partition(" (")
    return f"**{value}** ({interval.removesuffix(')')}; {_units(judged)}; {verdict})"


def num_statements(claims: Sequence[JudgedClaim]) -> int:
    """Independent statements among them: those of one family are one statement under several conditions."""
    return len({(claim.paper, claim.claim.family or claim.name) for claim in claims})


def _by_verdict(claims: Sequence[JudgedClaim]) -> str:
    return ", ".join(f"{sum(claim.verdict == verdict for claim in claims)} {verdict}" for verdict in VERDICTS)


def claims_markdown(claims: Sequence[JudgedClaim]) -> str:
    """Per paper its name and a table with a row per claim, and a table of its checks, where it has some.

    Reason and remark stand beside the verdict.
    """
    blocks: list[str] = []
    for paper in dict.fromkeys(claim.paper for claim in claims):
        for title, is_check in ((paper, False), (f"{paper}: checks", True)):
            chosen = [claim for claim in claims if claim.paper == paper and claim.claim.is_check == is_check]
            rows = [[*MARKDOWN_COLUMNS], ["---"] * len(MARKDOWN_COLUMNS), *map(_markdown_cells, chosen)]
            lines = (f"| {' | '.join(cell.replace('|', BAR) for cell in row)} |\n" for row in rows)
            blocks += [f"**{title}**\n\n{''.join(lines)}"] * bool(chosen)
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
    region = claim.equivalence
    equals = f"{judged.equality or 'not judged'}: {region}" if region is not None else "no figure"
    caught = f"{judged.would_catch:.2g}" if np.isfinite(judged.would_catch) else "n/a"
    ours, units = judged.estimate.concise(), _units(judged)
    return [claim.statement, claim.stated, ours, equals, str(claim.region), caught, units, verdict, claim.figure]


def _units(judged: JudgedClaim) -> str:
    """What is independent in the evidence, as `24 seeds`; runs where that was not recorded."""
    evidence = judged.evidence
    if evidence is None or evidence.num_units is None:
        return f"{judged.num_runs} runs"
    return f"{evidence.num_units} {evidence.unit}"


def _row(cells: Sequence[str]) -> list[str]:
    wrapped = [textwrap.wrap(cell, width) for cell, width in zip(cells, COLUMNS.values(), strict=True)]
    return [
        " ".join(f"{part:<{width}}" for part, width in zip(parts, COLUMNS.values(), strict=True)).rstrip()
        for parts in zip_longest(*wrapped, fillvalue="")
    ]
