"""What a reproduction found, kept: `python -m benchmarks.papers results/reproduce/full`.

The judged claims go to results/papers.json, the table to docs/papers.md, and how many of each verdict to the README.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from analysis.claims.claims import VERDICTS

ROOT = Path(__file__).parents[1]
KEPT = Path(__file__).parent / "results" / "papers.json"
PAGE, README = ROOT / "docs" / "papers.md", ROOT / "README.md"
BEGIN, END = "<!-- claims: begin -->", "<!-- claims: end -->"
# Paper -> the figures that the page shows; the others are drawn by every reproduction.
SHOWN = {
    "von_oswald_2023": ("layers",),
    "huang_2024": ("feature_errors",),
    "zhao_2023": ("early_statistics", "fates"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="what `seedbed reproduce --results` was given")
    folder: Path = parser.parse_args().folder
    document = json.loads((folder / "claims.json").read_text())
    KEPT.write_text(json.dumps(document, indent=1) + "\n")
    table = (folder / "claims.md").read_text()
    PAGE.write_text(with_part(PAGE.read_text(), f"{made_by(document['provenance'])}\n\n{table}"))
    README.write_text(with_part(README.read_text(), "\n".join(summary(document["claims"])) + "\n"))
    for paper, figures in SHOWN.items():
        for figure in figures:
            shutil.copyfile(folder / paper / "figures" / f"{figure}.svg", PAGE.parent / f"papers_{figure}.svg")


def with_part(text: str, part: str) -> str:
    """A page with this part in the place that it has for it."""
    before, _, rest = text.partition(BEGIN)
    return f"{before}{BEGIN}\n\n{part}\n{END}{rest.partition(END)[2]}"


def made_by(provenance: dict[str, Any]) -> str:
    """A line on what judged the claims."""
    versions = ", ".join(f"{name} {provenance['versions'][name]}" for name in ("torch", "numpy", "scipy"))
    return (
        f"Judged {provenance['at'][:10]} at commit {provenance['git_commit']}, profile {provenance['profile']}, on "
        f"{provenance['hardware']['processor']}; {versions}."
    )


def summary(claims: Sequence[dict[str, Any]]) -> list[str]:
    """Rows of a table: per paper, how many claims have which verdict, its own apart from those it does not state."""
    lines = [f"| paper | {' | '.join(VERDICTS)} |", f"| --- |{' --- |' * len(VERDICTS)}"]
    for paper in dict.fromkeys(claim["paper"] for claim in claims):
        for is_own, label in ((False, paper), (True, f"{paper}: questions of our own")):
            found = [c for c in claims if c["paper"] == paper and c["paper_value"].startswith("not ") == is_own]
            counts = [sum(claim["verdict"] == verdict for claim in found) for verdict in VERDICTS]
            if found:
                lines.append(f"| {label} | {' | '.join(map(str, counts))} |")
    return lines


if __name__ == "__main__":
    main()
