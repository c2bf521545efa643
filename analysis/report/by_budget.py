"""The first page of the report of a sweep with several budgets: its settings, and a page for each budget."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import jinja2

from analysis.report.fitting import settings_that_fit
from analysis.summary.by_budget import JUDGED, AnalysisByBudget
from analysis.summary.settings import describe_intervals
from analysis.summary.text import describe_provenance
from analysis.uncertainty.intervals import short
from pipeline.store.files import is_shared_folder, make_folder, write_file


def write_first_page(analysis: AnalysisByBudget, folder: Path, pages: Mapping[int, str]) -> Path:
    """Writes report.html into `folder`, made if missing; `pages` are the addresses of the reports, by budget."""
    make_folder(folder, is_shared=is_shared_folder(folder.parent))
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=jinja2.StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    settings, left_out = settings_that_fit(analysis.settings())
    text = environment.get_template("by_budget.html.j2").render(
        name=analysis.name,
        counts=analysis.counts(),
        judged=JUDGED,
        pages=list(pages.items()),
        settings=settings,
        half_by=[short(setting.half_by, 0) for setting in settings],
        settings_note=" ".join([*([left_out] if left_out else []), *describe_intervals(tuple(settings))]),
        provenance=describe_provenance(analysis.parts[0].provenance),
    )
    path = folder / "report.html"
    write_file(path, text.encode())
    return path
