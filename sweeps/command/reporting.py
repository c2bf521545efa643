"""`seedbed report`: an analysis as a page with figures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from analysis.report.report import write_report
from pipeline.store.sweep_store import SweepStore
from sweeps.command.analysing import run_analyse


def run_report(stores: Sequence[SweepStore], to: Path | None, out: Console) -> None:
    """Analyses, and writes report/report.html with its figures beside analysis.json (see `run_analyse`)."""
    found, folder = run_analyse(stores, to, out)
    page = write_report(found, folder / "report")
    out.print(f"report: {page}", markup=False)
