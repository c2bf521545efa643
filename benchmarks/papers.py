"""Stores the judged claims of a reproduction and renders them into the documents.

    python -m benchmarks.papers results/reproduce/full    keep what `seedbed reproduce` found there, then refresh
    python -m benchmarks.papers --refresh                 rewrite the pages from what is kept, without training

The judged claims are kept in results/papers.json, as they were found. Of a reproduction of a part, what it could
judge takes the place of earlier records, and says when it was judged. The findings and tables of docs/papers/, the
counts of docs/papers.md and the README's line are made from these records and the rows that stand in the books today:
a claim that was added or changed since is shown as not judged yet, one that was reworded says so, and one that was
removed is left out.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from analysis.claims.claims import DOES_NOT, HOLDS, UNDECIDED, JudgedClaim
from analysis.claims.records import NOT_JUDGED, REWORDED, merged, restored
from analysis.claims.text import claims_markdown, num_statements, with_figures
from analysis.figures.figures import to_svg
from sweeps.papers import Paper, papers_of

ROOT = Path(__file__).parents[1]
KEPT = Path(__file__).parent / "results" / "papers.json"
PAGES, INDEX, README = ROOT / "docs" / "papers", ROOT / "docs" / "papers.md", ROOT / "README.md"
_WORDS = {HOLDS: "hold", DOES_NOT: "do not", UNDECIDED: "undecided", NOT_JUDGED: NOT_JUDGED}


def main() -> None:
    """Keeps a reproduction, if its folder is given, and refreshes the pages."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("folder", type=Path, nargs="?", help="what `seedbed reproduce --results` was given")
    what.add_argument("--refresh", action="store_true", help="rewrite the pages alone")
    folder: Path | None = parser.parse_args().folder
    if folder is not None:
        keep(folder)
    refresh()


def keep(folder: Path) -> None:
    """Copies the judged claims of a reproduction, and those figures that the page shows which it has drawn."""
    document = merged(json.loads(KEPT.read_text()), json.loads((folder / "claims.json").read_text()))
    KEPT.write_text(json.dumps(document, indent=1) + "\n")
    for paper in papers_of():
        for figure in paper.page_figures:
            drawn = folder / paper.name / "figures" / f"{figure}.svg"
            if drawn.is_file():
                shutil.copyfile(drawn, PAGES / f"{paper.name}_{figure}.svg")


def refresh() -> None:
    """Rewrites the parts of all pages that are made from the kept claims and the rows of today."""
    document = json.loads(KEPT.read_text())
    for paper in papers_of():
        path, claims = PAGES / f"{paper.name}.md", kept_claims(document, paper)
        (PAGES / f"{paper.name}_task.svg").write_text(to_svg(paper.claims_module().TASK_PICTURE()))
        text = with_part(path.read_text(), "findings", findings_part(paper.findings, claims))
        if paper.further_findings:
            part = findings_part(paper.further_findings, claims, start=1 + len(paper.findings))
            text = with_part(text, "further findings", part)
        path.write_text(with_part(text, "claims", page_part(document["provenance"], claims)))
    INDEX.write_text(with_part(INDEX.read_text(), "claims", index_part(document)))
    README.write_text(with_part(README.read_text(), "claims", readme_part(all_claims(document))))


def kept_claims(document: dict[str, Any], paper: Paper) -> list[JudgedClaim]:
    """Every claim of a paper, with its stored verdict."""
    return restored(paper.claims_module().CLAIMS, document["claims"])


def all_claims(document: dict[str, Any]) -> list[JudgedClaim]:
    """Every claim of every paper."""
    return [claim for paper in papers_of() for claim in kept_claims(document, paper)]


def findings_part(findings: Sequence[str], claims: Sequence[JudgedClaim], start: int = 1) -> str:
    """Findings as a list that is numbered from `start`, with the figures that are kept."""
    by_name = {claim.name: claim for claim in claims}
    lines = [f"{n}. {with_figures(finding, by_name)}" for n, finding in enumerate(findings, start)]
    return "\n".join([*lines, ""])


def index_part(document: dict[str, Any]) -> str:
    """The table of docs/papers.md: a row a paper, with the number of its claims by verdict."""
    rows = [["paper", "its claims", "our questions", "checks"], ["---"] * 4]
    for paper in papers_of():
        claims = kept_claims(document, paper)
        groups = [[c for c in claims if not c.claim.is_check and c.claim.stated_by == by] for by in ("paper", "us")]
        groups.append([claim for claim in claims if claim.claim.is_check])
        name = paper.claims_module().CLAIMS.paper
        rows.append([f"[{name}](papers/{paper.name}.md)", *(counted(group) or "none" for group in groups)])
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def page_part(provenance: dict[str, Any], claims: Sequence[JudgedClaim]) -> str:
    """What a paper's page shows at its end: what judged the claims, what has changed since, and the tables."""
    is_dated = ["judged" in claim.remark for claim in claims]
    told = [dated for claim, dated in zip(claims, is_dated, strict=True) if claim.verdict != NOT_JUDGED]
    lines = ["Every verdict says when it was judged, and at which commit."] if all(told) else [made_by(provenance)]
    if any(claim.verdict == NOT_JUDGED for claim in claims):
        lines.append(f'"{NOT_JUDGED.capitalize()}": the claim was added or changed since then.')
    if any(REWORDED in claim.remark for claim in claims):
        lines.append(f'"{REWORDED.capitalize()}": judged under another wording, by the same measure and region.')
    if any(claim.evidence is not None and claim.evidence.num_units is None for claim in claims):
        lines.append(
            'Units given as "runs" are of judgements made before independent units were counted: runs of several '
            "settings under one seed count one by one there, and are not independent."
        )
    if any(is_dated) and not all(told):
        lines.append(
            "A verdict with a date is of a later reproduction of a part: on fresh seeds, by a new measure, or of the "
            "same seeds trained again."
        )
    return "\n".join([*lines, "", claims_markdown(claims)])


def readme_part(claims: Sequence[JudgedClaim]) -> str:
    """What the README shows."""
    return "\n".join(summary(claims)) + "\n"


def with_part(text: str, name: str, part: str) -> str:
    """A page with this part between its markers of that name. Raises ValueError for a page without them."""
    begin, end = markers(name)
    before, found, rest = text.partition(begin)
    _, closed, after = rest.partition(end)
    if not (found and closed):
        raise ValueError(f"the page has no part {name!r}")
    return f"{before}{begin}\n\n{part}\n{end}{after}"


def markers(name: str) -> tuple[str, str]:
    """The lines before and after the part of a page that is made by this module."""
    return f"<!-- {name}: begin -->", f"<!-- {name}: end -->"


def made_by(provenance: dict[str, Any]) -> str:
    """A line on what judged the claims."""
    versions = ", ".join(f"{name} {provenance['versions'][name]}" for name in ("torch", "numpy", "scipy"))
    return (
        f"Judged {provenance['at'][:10]} at commit {provenance['git_commit']}, profile {provenance['profile']}, on "
        f"{provenance['hardware']['processor']}; {versions}."
    )


def summary(claims: Sequence[JudgedClaim]) -> list[str]:
    """A line that counts verdicts over all papers, separately for claims of the papers and for our own questions."""
    papers = len({claim.paper for claim in claims})
    claims = [claim for claim in claims if not claim.claim.is_check]
    stated, own = (counted([c for c in claims if c.claim.stated_by == by]) for by in ("paper", "us"))
    return [
        f"- **Claims.** Judged by intervals over seeds, of the claims of {papers} papers {stated}; of questions of our "
        f"own {own}; all are of {num_statements(claims)} statements ([which](docs/papers.md))."
    ]


def counted(claims: Sequence[JudgedClaim]) -> str:
    """Number of claims by verdict, such as "3 hold, 1 do not"; absent verdicts are left out."""
    found = Counter(claim.verdict for claim in claims)
    return ", ".join(f"{found[verdict]} {words}" for verdict, words in _WORDS.items() if found[verdict])


if __name__ == "__main__":
    main()
