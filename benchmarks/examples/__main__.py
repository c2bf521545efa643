"""The pictures and tables of docs/data.md: `python -m benchmarks.examples RESULTS` from the root.

RESULTS is a folder that holds the results of the sweeps of `sweeps/examples`, each under its name and complete.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import altair as alt
import numpy as np

from analysis.figures.figures import to_svg
from analysis.figures.style import Figure, Rows, captioned, data, finish
from analysis.outcomes.outcomes import decide_outcomes
from analysis.outcomes.settings import runs_by_setting, setting_labels
from analysis.summary.text import describe_provenance
from analysis.uncertainty.intervals import wilson
from benchmarks.bench import between
from benchmarks.examples import grokking
from pipeline.spec.sweep import SweepSpec, load_spec
from pipeline.store.history import History
from pipeline.store.sweep_store import SweepStore
from sweeps.command.sources import provenance_of

ROOT = Path(__file__).resolve().parents[2]
PAGE, PICTURE = ROOT / "docs" / "data.md", ROOT / "docs" / "examples.svg"
MARKERS = ("<!-- examples: begin -->", "<!-- examples: end -->")
# Sweep -> what its panel shows, and the title of the axis.
PANELS = {
    "digits": ("label_accuracy", "accuracy on held-out images"),
    "shapes": ("label_accuracy", "accuracy on held-out shapes"),
    "text": ("label_loss", "loss on held-out text (nats)"),
    "grokking": ("label_accuracy", "accuracy on held-out pairs"),
}
WORDS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
HEADER = [
    "| sweep | setting | converged, of runs | half by step | half fit their training pairs by step |",
    "|---|---|---|---|---|",
]


def main() -> None:
    """Write all of them."""
    stores = {name: SweepStore(Path(sys.argv[1]) / name) for name in PANELS}
    histories = {name: store.history() for name, store in stores.items()}
    sources = {name: f"{name}: {describe_provenance(provenance_of(store))}." for name, store in stores.items()}
    PICTURE.write_text(to_svg(picture(histories, list(sources.values()))) + "\n", encoding="utf-8")
    lines = [*told(histories), "", *HEADER, *rows(histories)]
    page = between(PAGE.read_text(encoding="utf-8"), MARKERS, lines)
    times = grokking.Times.of(histories["grokking"], spec_of("grokking"))
    grokking.PICTURE.write_text(to_svg(grokking.picture(times, sources["grokking"])) + "\n", encoding="utf-8")
    PAGE.write_text(between(page, grokking.MARKERS, grokking.lines(times)), encoding="utf-8")


def in_words(number: int) -> str:
    """A number as text has it, up to ten."""
    return WORDS[number]


def spec_of(name: str) -> SweepSpec:
    """The sweep file of an example."""
    return load_spec(ROOT / "sweeps" / "examples" / f"{name}.yaml")


def told(histories: dict[str, History]) -> Iterator[str]:
    """The picture, and what it shows in words."""
    yield f"![Held-out accuracy or loss of every run of the {in_words(len(histories))} examples]({PICTURE.name})"
    yield ""
    numbers = ", ".join(f"{name} {len(history.runs)}" for name, history in histories.items())
    yield f"Every line is a run ({numbers}), every colour a setting."
    yield "The share that converged by the sweep's criterion has its 95% interval (Wilson) over runs; then the step by"
    yield "which half of all runs of the setting had converged, and of grokking the step by which half had fitted"
    yield "their training pairs."


def rows(histories: dict[str, History]) -> Iterator[str]:
    """A row of the table for each setting of each sweep."""
    for name, history in histories.items():
        spec = spec_of(name)
        outcomes, labels = decide_outcomes(history, spec.criterion), setting_labels(history)
        fitted = decide_outcomes(history, spec.criteria["fitted"].criterion) if name == "grokking" else None
        assert not outcomes.count("censored"), f"{name} is not complete"
        for setting, is_in_R in runs_by_setting(history).items():
            converged_R = outcomes.is_kind_R("converged")[is_in_R]
            share = wilson(int(converged_R.sum()), len(converged_R)).text()
            times = [outcomes, *([fitted] if fitted else [])]
            halves = [_half_by(found.upper_R[is_in_R], found.is_kind_R("converged")[is_in_R]) for found in times]
            cells = [name, labels[setting], f"{share} of {len(converged_R)}", *halves, *([""] * (2 - len(halves)))]
            yield f"| {' | '.join(cells)} |"


def _half_by(step_R: np.ndarray[Any, Any], converged_R: np.ndarray[Any, Any]) -> str:
    """The step by which half of all runs had converged."""
    step = np.sort(np.where(converged_R, step_R, np.inf))[(len(step_R) - 1) // 2]
    return f"{step:.0f}" if np.isfinite(step) else "n/a"


def picture(histories: dict[str, History], sources: Sequence[str]) -> Figure:
    """A panel for each sweep: the metric of every run over steps, coloured by setting; then where they come from."""
    panels = [_panel(name, history) for name, history in histories.items()]
    chart = alt.concat(*panels, columns=2).resolve_scale(color="independent")
    num_runs = sum(len(history.runs) for history in histories.values())
    converged = [
        decide_outcomes(history, spec_of(name).criterion).count("converged") for name, history in histories.items()
    ]
    title = f"{sum(converged)} of the {num_runs} runs of {in_words(len(histories))} example sweeps converge"
    seen = "A line is a run, coloured by setting; converged by the criterion of its sweep, on held-out items: "
    counts = ", ".join(
        f"{name} {n} of {len(h.runs)}" for n, (name, h) in zip(converged, histories.items(), strict=True)
    )
    lines = captioned((f"{seen}{counts}.",), sources)
    return Figure("examples", title, "Held-out accuracy or loss of every run.", finish(chart, title, lines))


def _panel(name: str, history: History) -> Any:
    metric, title = PANELS[name]
    labels, evaluated_T = setting_labels(history), np.isfinite(history.values[metric]).any(0)
    curves: Rows = [
        {"run": run.run_id, "setting": labels[run.setting_id], "step": int(step), "value": float(value)}
        for run, values_T in zip(history.runs, history.values[metric], strict=True)
        for step, value in zip(history.steps_T[evaluated_T], values_T[evaluated_T], strict=True)
        if np.isfinite(value)
    ]
    colour = alt.Color(
        "setting:N", title=None, sort=list(labels.values()), legend=alt.Legend(orient="bottom", columns=2)
    )
    return (
        alt.Chart(data(curves), title=name, width=330, height=190)
        .mark_line(strokeWidth=1, opacity=0.7)
        .encode(
            x=alt.X("step:Q", title="step"),
            y=alt.Y("value:Q", title=title, scale=alt.Scale(zero=metric == "label_accuracy")),
            detail="run:N",
            color=colour,
        )
    )


if __name__ == "__main__":
    main()
