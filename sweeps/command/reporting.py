"""`seedbed report`: an analysis as a page with figures."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console

from analysis.page.attention import shown_maps
from analysis.page.data import PageSource
from analysis.page.sampled import PagePart
from analysis.report.by_budget import write_first_page
from analysis.report.report import write_report
from analysis.summary.analyse import Analysis
from pipeline.store.sweep_store import SweepStore
from sweeps.command.analysing import run_analyse


def run_report(
    stores: Sequence[SweepStore], budget: int | None, to: Path | None, out: Console, criterion: str | None = None
) -> None:
    """Analyses, and writes report/report.html with its figures beside analysis.json (see `run_analyse`).

    Of sweeps with several budgets every budget has a report, and a first page leads to them.
    """
    found = run_analyse(stores, budget, to, out, criterion=criterion)
    folders = {part.history.budget: folder / "report" for part, folder in found.parts}
    for part, folder in found.parts:
        pages = [] if found.whole is None else _pages(folders, folder / "report", found.folder / "report")
        page = write_report(part, folder / "report", source=_source(stores, part), pages=pages)
    if found.whole is not None:
        first = found.folder / "report"
        page = write_first_page(found.whole, first, {each: _address(at, first) for each, at in folders.items()})
    out.print(f"report: {page}", markup=False)


def _source(stores: Sequence[SweepStore], analysis: Analysis) -> PageSource:
    folder = str(stores[0].folder) if len(stores) == 1 else ""
    history = analysis.history
    held = PagePart.of(history, analysis.outcomes.criterion.metric).rows
    found = shown_maps(stores, [history.runs[r].run_id for r in held])
    if found is None:
        return PageSource(folder)
    numbers, blob, left_out = found
    return PageSource(folder, tuple(numbers), blob, left_out)


def _pages(folders: Mapping[int, Path], own: Path, first: Path) -> list[tuple[str, str | None]]:
    """The reports of all budgets as one of them names them, itself without an address."""
    others = [(f"Budget {each}", None if at == own else _address(at, own)) for each, at in folders.items()]
    return [("All budgets", _address(first, own)), *others]


def _address(at: Path, start: Path) -> str:
    return os.path.relpath(at / "report.html", start).replace(os.sep, "/")
