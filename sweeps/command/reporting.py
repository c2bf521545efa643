"""`seedbed report`: an analysis as a page with figures."""

from __future__ import annotations

from rich.console import Console

from analysis.report.report import write_report
from pipeline.store.sweep_store import SweepStore
from sweeps.command.analysing import run_analyse


def run_report(store: SweepStore, out: Console) -> None:
    """Analyses, and writes FOLDER/report/report.html with its figures."""
    found = run_analyse(store, out)
    page = write_report(found, store.folder / "report")
    out.print(f"report: {page}")
