"""Stores the judged claims of a reproduction and renders them into the documents.

    python -m benchmarks.papers results/reproduce/full    keep what `seedbed reproduce` found there, then refresh
    python -m benchmarks.papers --refresh                 rewrite the pages from what is kept, without training

The judged claims are kept in results/papers.json, as they were found. Of a reproduction of a part, what it could
judge takes the place of earlier records, and says when it was judged. The table of docs/papers.md and the README's
line are made from these records and the rows that stand in the books today: a claim that was added or changed since
is shown as not judged yet, one that was reworded says so, and one that was removed is left out.
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
from analysis.claims.text import claims_markdown, num_statements
from sweeps.papers import papers_of

ROOT = Path(__file__).parents[1]
KEPT = Path(__file__).parent / "results" / "papers.json"
PAGE, README = ROOT / "docs" / "papers.md", ROOT / "README.md"
BEGIN, END = "<!-- claims: begin -->", "<!-- claims: end -->"
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
                shutil.copyfile(drawn, PAGE.parent / f"papers_{figure}.svg")


def refresh() -> None:
    """Rewrites the parts of both pages that are made from the kept claims and the rows of today."""
    document = json.loads(KEPT.read_text())
    claims = kept_claims(document)
    PAGE.write_text(with_part(PAGE.read_text(), page_part(document["provenance"], claims)))
    README.write_text(with_part(README.read_text(), readme_part(claims)))


def kept_claims(document: dict[str, Any]) -> list[JudgedClaim]:
    """Every claim of every paper, with its stored verdict."""
    books = [paper.claims_module().CLAIMS for paper in papers_of()]
    return [claim for book in books for claim in restored(book, document["claims"])]


def page_part(provenance: dict[str, Any], claims: Sequence[JudgedClaim]) -> str:
    """What docs/papers.md shows: what judged the claims, what has changed since, and the tables."""
    lines = [made_by(provenance)]
    if any(claim.verdict == NOT_JUDGED for claim in claims):
        lines.append(f'"{NOT_JUDGED.capitalize()}": the claim was added or changed since then.')
    if any(REWORDED in claim.remark for claim in claims):
        lines.append(f'"{REWORDED.capitalize()}": judged under another wording, by the same measure and region.')
    if any("judged" in claim.remark for claim in claims):
        lines.append(
            "A verdict with a date is of a later reproduction of a part, on runs under fresh seeds or a new measure."
        )
    return "\n".join([*lines, "", claims_markdown(claims)])


def readme_part(claims: Sequence[JudgedClaim]) -> str:
    """What the README shows."""
    return "\n".join(summary(claims)) + "\n"


def with_part(text: str, part: str) -> str:
    """A page with this part between its markers."""
    before, _, rest = text.partition(BEGIN)
    return f"{before}{BEGIN}\n\n{part}\n{END}{rest.partition(END)[2]}"


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
