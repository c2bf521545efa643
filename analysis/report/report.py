"""The report: one self-contained HTML file without external resources, and its figures as PNG and SVG files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analysis.figures.figures import figures, in_tenths, svg_to_png, to_svg
from analysis.figures.style import Figure
from analysis.forecasting.evaluation import Evaluation, WindowEvaluation
from analysis.forecasting.run_forecasts import RunForecast, RunForecasts, probability_text, time_text
from analysis.page.data import PageSource, page_data
from analysis.page.html import ShownFigure, StaticPart, page_html
from analysis.report.fitting import facts_that_fit, figures_that_fit, settings_that_fit, windows_that_fit
from analysis.summary.in_training import expected_of, most_uncertain
from analysis.summary.settings import describe_intervals
from analysis.summary.text import describe_evaluation, describe_failed, describe_forks, describe_window, score_text
from analysis.uncertainty.intervals import short
from pipeline.long_loops import loop_over
from pipeline.store.files import is_shared_folder, make_folder, write_file

if TYPE_CHECKING:
    from analysis.summary.analyse import Analysis

# Figures of the forecasts, shown before those of single settings.
_FIRST = ("discrimination", "forecast_quality", "calibration")
# Rows of the table of runs in training.
_MOST_RUNS = 20
SCORE_COLUMNS = {
    "auroc_within": "AUROC in setting",
    "auroc_gain": "gain on last_loss",
    "auroc_pooled": "AUROC pooled",
    "brier": "Brier",
    "brier_skill": "Brier skill",
    "calibration_slope": "slope",
    "calibration_intercept": "intercept",
    "calibration_error": "ECE (biased up)",
    "debiased_error": "ECE debiased",
    "concordance": "C-index in setting",
    "concordance_converged": "C of converged",
    "integrated_brier_skill": "IBS skill",
    "coverage": "90% coverage",
}


def write_report(
    analysis: Analysis,
    folder: Path | str,
    *,
    source: PageSource | None = None,
    pages: Sequence[tuple[str, str | None]] = (),
) -> Path:
    """Writes report.html, and NAME.svg and NAME.png per figure into `folder`; returns the HTML's path.

    `folder` is made if missing; files of those names are overwritten. All are private, unless `folder` is shared.
    `source` is what the results folders add to the analysis, `pages` the reports of all budgets (see `page_html`).
    Without JavaScript in the browser, the page shows the static figures and the tables.
    """
    folder = Path(folder)
    make_folder(folder, is_shared=is_shared_folder(folder.parent))
    drawn = []
    for chart in loop_over("drawing figures", figures(analysis)):
        figure = drawn_figure(chart)
        drawn.append(figure)
        if figure.svg:
            write_file(folder / f"{figure.name}.svg", figure.svg.encode())
            write_file(folder / f"{figure.name}.png", svg_to_png(figure.svg))
    path = folder / "report.html"
    write_file(path, render_html(analysis, drawn, source, pages).encode())
    return path


def drawn_figure(figure: Figure) -> ShownFigure:
    """The figure rendered to SVG, to a tenth of a pixel; empty for a figure without data."""
    return ShownFigure(
        figure.name, figure.title, figure.text, "" if figure.chart is None else in_tenths(to_svg(figure))
    )


def render_html(
    analysis: Analysis,
    drawn: Sequence[ShownFigure],
    source: PageSource | None = None,
    pages: Sequence[tuple[str, str | None]] = (),
) -> str:
    """The page, of at most `size.MOST_BYTES`. Texts are escaped; its policy admits its own script alone, by hash."""
    evaluation = analysis.evaluation
    settings, settings_left_out = settings_that_fit(analysis.settings)
    provenance, provenance_note = facts_that_fit(_flat(analysis.provenance))
    windows, windows_left_out = windows_that_fit(
        [] if evaluation is None else [_window_table(evaluation, window) for window in evaluation.windows]
    )
    tables = {
        "first": _FIRST,
        "facts": sweep_facts(analysis),
        "provenance": provenance,
        "provenance_note": provenance_note,
        "training": None if analysis.forecasts is None else _training(analysis.forecasts),
        "settings": settings,
        "half_by": [short(s.half_by, 0) for s in settings],
        "settings_note": _sentences(settings_left_out, describe_intervals(analysis.settings)),
        "forecasts_note": "" if evaluation is None else _sentences(windows_left_out, describe_evaluation(evaluation)),
        "windows": windows,
        "problem": analysis.problem,
        "score_columns": list(SCORE_COLUMNS.values()),
    }
    return page_html(page_data(analysis, source), StaticPart(figures_that_fit(drawn), tables), pages=pages)


def sweep_facts(analysis: Analysis) -> dict[str, str]:
    """What the report says about the sweep itself: counts and criterion."""
    history, outcomes = analysis.history, analysis.outcomes
    facts = {
        "runs": str(len(history.runs)),
        "settings": str(len(analysis.settings)),
        "budget": f"{history.budget} steps",
        "converged means": str(outcomes.criterion),
        "varied": ", ".join(history.varied) or "seeds alone",
        "outcomes": ", ".join(
            f"{outcomes.count(kind)} {kind}" for kind in ("converged", "diverged", "unconverged", "censored")
        ),
    }
    if describe_forks(history):
        facts["forks"] = describe_forks(history)
    if describe_failed(history, outcomes):
        facts["failed"] = describe_failed(history, outcomes)
    return facts


def _training(forecasts: RunForecasts) -> dict[str, Any]:
    """The runs in training: how many converge, rows of the least certain, and what the forecasts rest on."""
    shown = most_uncertain(forecasts, _MOST_RUNS)
    num_others = sum(not run.problem for run in forecasts.runs) - len(shown)
    others = f"{num_others} more runs have a forecast nearer to 0 or 1" if num_others else ""
    sentences = [f"{forecasts.sweep}: the least certain first", others, *forecasts.sentences()]
    return {
        "expected": _as_sentence(expected_of(forecasts)),
        "rows": [_training_row(run, forecasts.budget) for run in shown],
        "note": " ".join(_as_sentence(sentence) for sentence in sentences if sentence),
    }


def _sentences(first: str, others: Sequence[str]) -> str:
    return " ".join(filter(None, [first, *others]))


def _as_sentence(clause: str) -> str:
    return f"{clause[0].upper()}{clause[1:]}."


def _training_row(run: RunForecast, budget: int) -> tuple[str, ...]:
    probability, reasons = probability_text(run.converged), "; ".join(run.reasons)
    return run.run_id, run.setting, str(run.step), f"{run.window:g}", probability, time_text(run, budget), reasons


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested mappings as `outer.inner` -> text."""
    flat: dict[str, str] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = str(value)
    return flat


def _window_table(evaluation: Evaluation, window: WindowEvaluation) -> dict[str, Any]:
    return {
        "description": describe_window(window),
        "rows": [
            (name, [score_text(evaluation, window, name, column) for column in SCORE_COLUMNS])
            for name in evaluation.predictors
        ],
    }
