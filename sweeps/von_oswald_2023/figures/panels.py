"""Shared style and panels of the figures on von Oswald et al. (2023)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt

from analysis.claims.sweeps import Sweeps
from analysis.figures.claims import bands, curve_rows, median_rows, sweeps_caption
from analysis.figures.marks import points_with_intervals
from analysis.figures.style import Figure, Rows, data, finish, number
from analysis.uncertainty.estimates import median_of_runs
from pipeline.store.history import History
from sweeps.von_oswald_2023.measures import at_end, one_step_loss, recorded, zero_loss

TRAINED, GD, PLUS, BETWEEN = "trained", "gradient descent", "GD++", "interpolated"
MODEL_COLOURS = {TRAINED: "#0072B2", GD: "#D55E00", PLUS: "#009E73", BETWEEN: "#8C5FBF"}
# Curves overlap where predictors agree, so explicit algorithms are dashed.
DASHES = {TRAINED: [1, 0], GD: [7, 5], PLUS: [2, 4]}
# Points overlap, too, so each kind has its own mark, larger ones open.
MARKS = {
    TRAINED: ("circle", 30, True),
    GD: ("circle", 190, False),
    PLUS: ("square", 190, False),
    BETWEEN: ("cross", 90, False),
}
# The legend of bands would be as pale as they are.
LEGEND = alt.Legend(symbolOpacity=1, symbolType="circle")
# Of panels that stand side by side with legends of their own, which would otherwise widen the figure.
LEGEND_ABOVE = alt.Legend(symbolOpacity=1, symbolType="circle", orient="top", direction="vertical")
MEAN = "Mean over runs with its 95% interval over seeds."
MEDIAN = "Median over runs with its 95% interval over seeds."


def figure_of(
    sweeps: Sweeps, names: Sequence[str], name: str, title: str, panels: Sequence[Any], parts: list[str]
) -> Figure:
    """Panels side by side under one title, with a caption on the named sweeps and `parts`."""
    chart = alt.hconcat(*panels, spacing=30).resolve_scale(color="independent")
    return Figure(name, title, title, finish(chart, title, sweeps_caption(sweeps, names, *parts)))


def mean_rows(history: History, metrics: Mapping[str, str]) -> Rows:
    """Rows of a mean curve for each kind, from a metric of the history."""
    found: Rows = []
    for kind, metric in metrics.items():
        found += curve_rows(recorded(history, metric), history.steps_T, history.runs, kind=kind)
    return found


def middle_rows(history: History, metrics: Mapping[str, str]) -> Rows:
    """The same with medians."""
    found: Rows = []
    for kind, metric in metrics.items():
        found += median_rows(recorded(history, metric), history.steps_T, history.runs, kind=kind)
    return found


def panel_of(
    rows: Rows, y_title: str, colours: Mapping[str, str], *, title: str = "", width: int = 320, height: int = 240,
    y_scale: alt.Scale | None = None, legend: alt.Legend = LEGEND,
) -> Any:  # fmt: skip
    """Curves over steps with their bands; of `colours`, those of the kinds that occur."""
    present = {row["kind"] for row in rows}
    colour = colours_of({kind: colours[kind] for kind in colours if kind in present}, legend)
    scale = alt.Scale(zero=False) if y_scale is None else y_scale
    dashes = alt.Scale(domain=list(DASHES), range=list(DASHES.values()))
    dash = alt.StrokeDash("kind:N", scale=dashes, legend=None)
    layered = bands(alt.X("step:Q", title="step"), y_title, scale=scale, color=colour, strokeDash=dash)
    panel = alt.layer(*layered.layer, data=data(rows)).properties(width=width, height=height)
    return panel.properties(title=title) if title else panel


def points_of(rows: Rows, x: alt.X, y_title: str, y_scale: alt.Scale, kinds: Sequence[str]) -> Any:
    """Points of predictors with the bars of their intervals, joined by lines."""
    base = alt.Chart(data(rows)).encode(x=x, color=colours_of({kind: MODEL_COLOURS[kind] for kind in kinds}))
    layers = []
    for kind in kinds:
        shape, size, is_filled = MARKS[kind]
        mark = {"shape": shape, "size": size, "filled": is_filled, "strokeWidth": 1.6}
        of_kind = base.transform_filter(alt.datum.kind == kind)
        layers.append(points_with_intervals(of_kind, y_title, scale=y_scale, mark=mark, is_joined=True))
    return alt.layer(*layers).properties(width=340, height=240)


def point_of(history: History, metric: str, **labels: object) -> dict[str, object]:
    """A row with the median over runs of a metric at the end, and its interval."""
    found = median_of_runs(at_end(history, metric), history.runs)
    return labels | {"value": number(found.value), "low": number(found.low), "high": number(found.high)}


def colours_of(colours: Mapping[str, str], legend: alt.Legend = LEGEND) -> alt.Color:
    """The colour of each kind, with a legend."""
    return alt.Color(
        "kind:N", scale=alt.Scale(domain=list(colours), range=list(colours.values())), title=None, legend=legend
    )


def levels(history: History) -> str:
    """Reference losses as text: zero prediction and one gradient step."""
    run = history.runs[0]
    return f"Zero prediction: {zero_loss(run):.4f}; one gradient step: {one_step_loss(run):.4f}."
