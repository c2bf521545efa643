"""What the figures of von Oswald et al. (2023) share: colours, curves, points, captions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt

from analysis.averages import median_of_runs
from analysis.claim_sweeps import Sweeps
from analysis.papers.von_oswald_2023_measures import at_end, one_step_loss, recorded, zero_loss
from analysis.plot_claims import bands, curve_rows, sweeps_caption
from analysis.plot_style import Figure, Rows, data, finish, number
from pipeline.history import History

TRAINED, GD, PLUS, BETWEEN = "trained", "gradient descent", "GD++", "interpolated"
COLOURS = {TRAINED: "#0072B2", GD: "#D55E00", PLUS: "#009E73", BETWEEN: "#8C5FBF"}
MEAN = "Mean over runs with its 95% interval over seeds."


def figure_of(
    sweeps: Sweeps, names: Sequence[str], name: str, title: str, panels: Sequence[Any], parts: list[str]
) -> Figure:
    chart = alt.hconcat(*panels, spacing=30).resolve_scale(color="independent")
    return Figure(name, title, f"{title}.", finish(chart, title, sweeps_caption(sweeps, names, *parts)))


def mean_rows(history: History, metrics: Mapping[str, str]) -> Rows:
    """Rows of a mean curve for each kind, from a metric of the history."""
    found: Rows = []
    for kind, metric in metrics.items():
        found += curve_rows(recorded(history, metric), history.steps_T, history.runs, kind=kind)
    return found


def panel_of(
    rows: Rows, y_title: str, colours: Mapping[str, str], *, title: str = "", width: int = 320, height: int = 240,
    is_log: bool = False,
) -> Any:  # fmt: skip
    """Curves over steps with their bands; of `colours`, those of the kinds that occur."""
    scale = alt.Scale(type="log") if is_log else alt.Scale(zero=False)
    present = {row["kind"] for row in rows}
    colour = colours_of({kind: colours[kind] for kind in colours if kind in present})
    layered = bands(alt.X("step:Q", title="step"), y_title, scale=scale, color=colour)
    panel = alt.layer(*layered.layer, data=data(rows)).properties(width=width, height=height)
    return panel.properties(title=title) if title else panel


def points_of(rows: Rows, x: alt.X, y_title: str, y_scale: alt.Scale, colours: Mapping[str, str]) -> Any:
    """Points with the bars of their intervals, joined by lines."""
    base = alt.Chart(data(rows)).encode(x=x, color=colours_of(colours))
    bars = base.mark_rule(strokeWidth=2).encode(y=alt.Y("low:Q", title=y_title, scale=y_scale), y2="high:Q")
    y = alt.Y("value:Q", title=y_title, scale=y_scale)
    return alt.layer(
        base.mark_line(strokeWidth=1.2).encode(y=y),
        bars.transform_filter("isValid(datum.low)"),
        base.mark_circle(size=50, opacity=1).encode(y=y),
    ).properties(width=340, height=240)


def point_of(history: History, metric: str, **labels: object) -> dict[str, object]:
    found = median_of_runs(at_end(history, metric), history.runs)
    return labels | {"value": number(found.value), "low": number(found.low), "high": number(found.high)}


def colours_of(colours: Mapping[str, str]) -> alt.Color:
    return alt.Color("kind:N", scale=alt.Scale(domain=list(colours), range=list(colours.values())), title=None)


def levels(history: History) -> str:
    """What losses are to be read against."""
    run = history.runs[0]
    return f"Zero prediction: {zero_loss(run):.4f}; one gradient step: {one_step_loss(run):.4f}."
