"""The report: one self-contained HTML file without external resources, and its figures as PNG and SVG files."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2
import vl_convert
from markupsafe import Markup

from analysis.figures.figures import VEGA_LITE, figures, specification, svg_to_png, to_svg
from analysis.figures.style import Figure
from analysis.forecasting.evaluation import Evaluation, WindowEvaluation
from analysis.forecasting.run_forecasts import RunForecast, RunForecasts, probability_text, time_text
from analysis.summary.in_training import expected_of, most_uncertain
from analysis.summary.settings import describe_intervals
from analysis.summary.text import describe_evaluation, describe_forks, describe_window, score_text
from analysis.uncertainty.intervals import short

if TYPE_CHECKING:
    from analysis.summary.analyse import Analysis

# `ast` with Vega's interpreter evaluates expressions without `eval`, so the page needs no unsafe-eval.
EMBED = """
for (const holder of document.querySelectorAll("div[data-figure]")) {
  const spec = JSON.parse(document.getElementById(holder.dataset.figure).textContent);
  const target = document.createElement("div");
  const options = {mode: "vega-lite", ast: true, actions: false, renderer: "svg", defaultStyle: false};
  vegaEmbed(target, spec, options).then(() => holder.replaceChildren(target));
}
"""
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


def write_report(analysis: Analysis, folder: Path | str, *, interactive: bool = True) -> Path:
    """Writes report.html, and NAME.svg and NAME.png per figure into `folder`; returns the HTML's path.

    `folder` is made if missing; files of those names are overwritten. Without `interactive`, or without JavaScript in
    the browser, the page shows the static figures.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    drawn = [DrawnFigure.of(figure) for figure in figures(analysis)]
    for figure in drawn:
        if figure.svg:
            (folder / f"{figure.name}.svg").write_text(figure.svg, encoding="utf-8")
            (folder / f"{figure.name}.png").write_bytes(svg_to_png(figure.svg))
    path = folder / "report.html"
    path.write_text(render_html(analysis, drawn, interactive=interactive), encoding="utf-8")
    return path


@dataclass(frozen=True)
class DrawnFigure:
    """A figure with its SVG and its Vega-Lite specification; both empty for a figure without data."""

    name: str
    title: str
    text: str
    svg: str
    specification: str

    @classmethod
    def of(cls, figure: Figure) -> DrawnFigure:
        """The figure rendered to SVG and to its Vega-Lite specification."""
        if figure.chart is None:
            return cls(figure.name, figure.title, figure.text, "", "")
        return cls(figure.name, figure.title, figure.text, to_svg(figure), specification(figure))

    @property
    def data_uri(self) -> str:
        """The SVG as an image of its own: inlined, the clip paths of several figures would share their ids."""
        return "data:image/svg+xml;base64," + base64.b64encode(self.svg.encode()).decode()


def render_html(analysis: Analysis, drawn: list[DrawnFigure], *, interactive: bool = True) -> str:
    """The page. Every text is escaped; the content security policy admits its own two scripts, by hash, and no load."""
    scripts = [_bundle(), EMBED] if interactive and any(figure.svg for figure in drawn) else []
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=jinja2.StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    evaluation = analysis.evaluation
    return environment.get_template("report.html.j2").render(
        name=analysis.history.name,
        facts=sweep_facts(analysis),
        provenance=_flat(analysis.provenance),
        training=None if analysis.forecasts is None else _training(analysis.forecasts),
        settings=analysis.settings,
        half_by=[short(s.half_by, 0) for s in analysis.settings],
        settings_note=" ".join(describe_intervals(analysis.settings)),
        forecasts_note="" if evaluation is None else " ".join(describe_evaluation(evaluation)),
        windows=[] if evaluation is None else [_window_table(evaluation, window) for window in evaluation.windows],
        problem=analysis.problem,
        score_columns=list(SCORE_COLUMNS.values()),
        figures=drawn,
        specifications={figure.name: _in_script(figure.specification) for figure in drawn} if scripts else {},
        scripts=[Markup(script) for script in scripts],
        script_hashes=" ".join(f"'sha256-{_sha256(script)}'" for script in scripts) or "'none'",
    )


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


def _in_script(specification: str) -> Any:
    """JSON that cannot end the script element it stands in."""
    escaped = specification.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
    return Markup(escaped)


@cache
def _bundle() -> str:
    """Vega, Vega-Lite and vega-embed as one script, made once per process (about a second)."""
    bundle = str(vl_convert.javascript_bundle(snippet="window.vegaEmbed = vegaEmbed;", vl_version=VEGA_LITE))
    # An HTML parser ends the script at this text even inside a JavaScript string.
    return bundle.replace("</script", "<\\/script").replace("<!--", "\\x3c!--")


def _sha256(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
