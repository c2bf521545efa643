"""Renders what is kept of the landscape into docs/landscape.md, and keeps what a reproduction found."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from analysis.claims.records import merged, restored
from analysis.claims.text import claims_markdown, with_figures
from benchmarks.bench import FOLDER
from benchmarks.landscape.hours import kept_hours
from benchmarks.landscape.runs import read_runs, runs_table, with_newer, write_runs
from benchmarks.landscape.tables import TABLES, hours_table
from benchmarks.papers import with_part
from sweeps.command.reproducing import Reproduction
from sweeps.landscape.claims import CLAIMS, FIGURES
from sweeps.landscape.study import STUDY

KEPT, RUNS = FOLDER / "landscape.json", FOLDER / "landscape_runs.parquet"
PAGE = Path(__file__).parents[2] / "docs" / "landscape.md"
NOT_TRAINED = "Not trained yet.\n"


def keep(folder: Path) -> None:
    """Copies what was judged and the figures that were drawn, and writes the times of every run that is there."""
    kept, found = json.loads(KEPT.read_text()), json.loads((folder / "claims.json").read_text())
    told = json.loads((folder / "details.json").read_text())
    details = kept.get("details", {}) | {name: part for name, part in told.items() if "not there" not in part}
    document = merged(kept, found)
    KEPT.write_text(json.dumps(document | {"details": details}, indent=1) + "\n")
    sweeps = Reproduction(STUDY, "full", folder).for_claims()
    found = runs_table(sweeps)
    write_runs(with_newer(read_runs(RUNS), found) if RUNS.is_file() else found, RUNS)
    for draw in FIGURES:
        drawn = folder / "figures" / f"{draw.__name__}.svg"
        if drawn.is_file():
            shutil.copyfile(drawn, PAGE.parent / f"landscape_{draw.__name__}.svg")


def refresh() -> None:
    """Rewrites the parts of the page that are made from what is kept and the rows of today."""
    document = json.loads(KEPT.read_text())
    claims = restored(CLAIMS, document["claims"])
    by_name = {claim.name: claim for claim in claims}
    details, text = document["details"], PAGE.read_text()
    for number, finding in enumerate(STUDY.findings, start=1):
        text = with_part(text, f"finding {number}", with_figures(finding, by_name) + "\n")
    for name, (part, table) in TABLES.items():
        text = with_part(text, name, table(details[part]) if part in details else NOT_TRAINED)
    text = with_part(text, "hours", hours_table(kept_hours(RUNS)))
    PAGE.write_text(with_part(text, "claims", claims_markdown(claims)))
