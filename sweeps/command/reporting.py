"""`seedbed report`: an analysis as a page with figures."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from analysis.report.by_budget import write_first_page
from analysis.report.report import write_report
from pipeline.store.sweep_store import SweepStore
from sweeps.command.analysing import run_analyse


def run_report(stores: Sequence[SweepStore], budget: int | None, to: Path | None, out: Console) -> None:
    """Analyses, and writes report/report.html with its figures beside analysis.json (see `run_analyse`).

    Of sweeps with several budgets every budget has a report, and a first page leads to them.
    """
    found = run_analyse(stores, budget, to, out)
    written = {part.history.budget: write_report(part, folder / "report") for part, folder in found.parts}
    if found.whole is not None:
        first = found.folder / "report"
        pages = {each: os.path.relpath(page, first).replace(os.sep, "/") for each, page in written.items()}
        page = write_first_page(found.whole, first, pages)
    else:
        (page,) = written.values()
    out.print(f"report: {page}", markup=False)
