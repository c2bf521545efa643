"""`make docs`: regenerates the parts of the README and docs/speed.md that show results.

    python -m benchmarks.docs results/quickstart [--to COPY]

A quickstart goes to docs/curves_and_forecast.png and benchmarks/results/quickstart.json, its report to docs/page.png
where there is a browser. The README's lines on forecasts and speed, and the tables of docs/speed.md, follow from the
JSON files in benchmarks/results alone.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import altair as alt

from analysis.figures.discrimination import discrimination
from analysis.figures.figures import svg_to_png, to_svg
from analysis.figures.history import learning_curves_by_outcome
from analysis.figures.style import Figure, caption, finish
from analysis.forecasting.evaluation import PRIMARY
from analysis.outcomes.outcomes import CONVERGED
from analysis.summary.analyse import Analysis
from benchmarks.bench import FOLDER, PAGE, between, read, stored_at, write_speed_page
from benchmarks.page.chromium import EXECUTABLE
from benchmarks.page.picture import PICTURE as SCREENSHOT
from benchmarks.page.picture import draw
from pipeline.store.sweep_store import SweepStore
from sweeps.command.analysing import analysis_of

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
PICTURE = ROOT / "docs" / "curves_and_forecast.png"
FORECASTS, SPEED = FOLDER / "quickstart.json", stored_at("cpu", "x86-64-v4")
MARKERS = ("<!-- results: begin -->", "<!-- results: end -->")
HEIGHT = 220
CAPTION_COLUMNS = 160
# The window of which its title speaks.
TITLED = 0.25
# The baseline that one reads off a loss curve.
BASELINE = "last_loss"


def main(arguments: Sequence[str] | None = None) -> None:
    """Draw the picture of a results folder and write every generated part of the documents."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", help="a trained quickstart; without it, its JSON is kept")
    parser.add_argument("--to", type=Path, default=ROOT, help="a copy of the repository to write into, not itself")
    given = parser.parse_args(arguments)
    readme, picture, kept, speed = (given.to / path.relative_to(ROOT) for path in (README, PICTURE, FORECASTS, PAGE))
    if given.folder is not None:
        analysis = analysis_of([SweepStore(given.folder)])
        picture.write_bytes(svg_to_png(to_svg(curves_and_forecast(analysis))))
        kept.write_text(json.dumps(forecasts(analysis), indent=1) + "\n")
        report = given.folder / "report" / "report.html"
        if report.is_file() and EXECUTABLE is not None:
            draw(report, given.to / SCREENSHOT.relative_to(ROOT))
    readme.write_text(with_results(readme.read_text(), read(kept)))
    write_speed_page(speed)


def curves_and_forecast(analysis: Analysis) -> Figure:
    """Learning curves by outcome on the left; on the right, AUROC of forecasts by share of training seen."""
    curves, quality = learning_curves_by_outcome(analysis).chart, discrimination(analysis).chart
    assert curves is not None
    assert quality is not None
    assert analysis.evaluation is not None
    quarter = next(window for window in analysis.evaluation.windows if window.fraction == TITLED)
    title = (
        f"{analysis.outcomes.count(CONVERGED)} of {len(analysis.history.runs)} runs converge; at {TITLED:.0%} of "
        f"training, a forecast ranks seeds with AUROC {quarter.scores[PRIMARY].auroc_within.text()}"
    )
    lines = caption(
        analysis,
        "Left: a thin line is a run, a thick one the median of an outcome; dashed: the threshold of convergence. "
        f"Right: AUROC of forecasts for held-out seeds (n={quarter.num_scored} at {TITLED:.0%}), with 95% bands; 0.5 "
        "is chance.",
        columns=CAPTION_COLUMNS,
    )
    left, right = bare(curves), bare(quality)
    left.spec = left.spec.properties(height=HEIGHT)
    panels = alt.hconcat(left, right.properties(width=340, height=HEIGHT), spacing=30)
    scales = dict.fromkeys(("color", "shape", "strokeDash"), "independent")
    chart = finish(panels.resolve_scale(**scales), title, lines)
    return Figure("curves_and_forecast", title, "Learning curves beside the quality of forecasts.", chart)


def bare(chart: Any) -> Any:
    """A chart as a part of another: without its own title, configuration and margins."""
    part = chart.copy()
    for attribute in ("title", "config", "background", "padding"):
        if attribute in part._kwds:
            part[attribute] = alt.Undefined
    return part


def forecasts(analysis: Analysis) -> dict[str, Any]:
    """Figures of the quickstart for the README: outcomes, and AUROC within a setting by window and predictor."""
    evaluation = analysis.evaluation
    assert evaluation is not None
    kinds = Counter(analysis.outcomes.kind_R.tolist())
    windows = [
        {
            "fraction": window.fraction,
            "last_step": window.last_step,
            "num_scored": window.num_scored,
            "auroc_within": {
                name: [scores.auroc_within.value, scores.auroc_within.low, scores.auroc_within.high]
                for name, scores in window.scores.items()
                if name in (PRIMARY, BASELINE)
            },
        }
        for window in evaluation.windows
    ]
    provenance = {key: analysis.provenance[key] for key in ("sweep", "sweep_id", "at", "git_commit", "versions")}
    return {
        "provenance": provenance,
        "num_runs": len(analysis.history.runs),
        "num_converged": kinds["converged"],
        "windows": windows,
    }


def with_results(text: str, found: Mapping[str, Any]) -> str:
    """The README with the lines that follow from the committed results between their markers."""
    lines = [forecast_line(found), speed_line(read(SPEED)["rows"])]
    return between(text, MARKERS, lines)


def forecast_line(found: Mapping[str, Any]) -> str:
    """AUROC at 10% and 25% of the budget, beside the last loss at the same time."""
    windows = {window["fraction"]: window["auroc_within"] for window in found["windows"]}
    early, later = windows[0.1], windows[0.25]
    return (
        f"- **Forecasts.** Of {found['num_runs']} runs of the quickstart, {found['num_converged']} converge within "
        f"their budget. Between seeds of one setting, a forecast from the first 10% of the budget has an AUROC of "
        f"{_interval(early[PRIMARY])}, and from the first 25% {_interval(later[PRIMARY])}; the last loss alone has "
        f"{_interval(early[BASELINE])} and {_interval(later[BASELINE])}."
    )


def speed_line(rows: Sequence[Mapping[str, Any]]) -> str:
    """Run-steps per second of a small transformer against a loop of eager PyTorch and against JAX."""
    found = {row["what"]: row for row in rows}
    eager = found["lookup_a, against the eager loop"]
    jax = found["lookup_a, against JAX jit + vmap with the same algebra"]
    measured = eager["measured"]
    return (
        f"- **Speed.** On {measured['hardware']['cores']} cores of {measured['hardware']['processor']}, runs of the "
        f"quickstart's transformer (workload lookup_a) train {_times(eager)} as fast as one eager PyTorch run per "
        f"core, and {_times(jax)} as fast as JAX with jit and vmap."
    )


def _interval(estimate: Sequence[float]) -> str:
    value, low, high = estimate
    return f"{value:.2f} ({low:.2f} to {high:.2f})"


def _times(row: Mapping[str, Any]) -> str:
    return f"{row['value']:.3g} times ({row['low']:.3g} to {row['high']:.3g})"


if __name__ == "__main__":
    main()
