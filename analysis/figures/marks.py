"""The marks that all figures share: bands, stairs, points with intervals, thin lines, rasters, references."""

from __future__ import annotations

from typing import Any

import altair as alt

from analysis.figures.style import GREY, Rows, data

# Rows with an interval have it in these fields; where it is not known they are null, and nothing is drawn.
LOW, HIGH = "low", "high"
_HAS_INTERVAL = f"isValid(datum.{LOW})"


def band(
    base: Any,
    title: str,
    *,
    value: str = "value",
    scale: alt.Scale | None = None,
    opacity: float = 0.15,
    stroke: float = 1.6,
    point: float = 0,
    interpolate: str = "linear",
    **encodings: Any,
) -> Any:
    """A line through `value`, over the band between the fields `low` and `high`.

    `base` has data, x and colour; `title` and `scale` are those of the y axis. `point` is the size of points on the
    line, 0 for none. `encodings` are of the line alone, such as its dash.
    """
    y_scale = alt.Scale() if scale is None else scale
    area = base.transform_filter(_HAS_INTERVAL).mark_area(opacity=opacity, interpolate=interpolate)
    area = area.encode(y=alt.Y(f"{LOW}:Q", title=title, scale=y_scale), y2=f"{HIGH}:Q")
    dots = alt.OverlayMarkDef(size=point, filled=True, opacity=1) if point else alt.Undefined
    line = base.mark_line(strokeWidth=stroke, interpolate=interpolate, point=dots)
    return alt.layer(area, line.encode(y=alt.Y(f"{value}:Q", title=title, scale=y_scale), **encodings))


def stairs(base: Any, title: str, **options: Any) -> Any:
    """A band that keeps its value until the next step: shares that change at evaluations alone."""
    return band(base, title, stroke=2, interpolate="step-after", **options)


def points_with_intervals(
    base: Any,
    title: str,
    *,
    along: str = "y",
    scale: alt.Scale | None = None,
    axis: alt.Axis | None = None,
    mark: Any = None,
    stroke: float = 2,
    is_joined: bool = False,
    **encodings: Any,
) -> Any:
    """Points at `value` with bars between the fields `low` and `high`, along the `y` or the `x` axis.

    `base` has data, the other axis and colour. `mark` are properties of the points; `is_joined` draws a line through
    them; `encodings` are of the points alone, such as their shape.
    """
    channel, end = (alt.Y, "y2") if along == "y" else (alt.X, "x2")
    with_scale: Any = {name: given for name, given in (("scale", scale), ("axis", axis)) if given is not None}
    at = {along: channel("value:Q", title=title, **with_scale)}
    bars = base.transform_filter(_HAS_INTERVAL).mark_rule(strokeWidth=stroke)
    layers = [bars.encode(**{along: channel(f"{LOW}:Q", title=title, **with_scale), end: f"{HIGH}:Q"})]
    if is_joined:
        layers.insert(0, base.mark_line(strokeWidth=1.2).encode(**at))
    points = base.mark_point(**{"filled": True, "opacity": 1, "size": 60, **(mark or {})})
    return alt.layer(*layers, points.encode(**at, **encodings))


def thin_lines(base: Any, y: alt.Y, *, clip: bool = True, **encodings: Any) -> Any:
    """A pale line for each run, told apart by the field `run`; `clip` where it may leave the axes, which takes time."""
    # The opacity of a stroke: with one of its own each line would be drawn on a canvas of its own, hundreds of them.
    return base.mark_line(clip=clip, strokeWidth=0.8, strokeOpacity=0.35).encode(y=y, detail="run:N", **encodings)


def raster(rows: Rows, x: alt.X, y: alt.Y, colour: alt.Color) -> Any:
    """A coloured cell for each row."""
    return alt.Chart(data(rows)).mark_rect().encode(x=x, y=y, color=colour)


def reference(value: float) -> Any:
    """A dashed grey line across at `value` of the y axis: chance, zero, a threshold."""
    return alt.Chart(data([{}])).mark_rule(strokeDash=[4, 3], color=GREY).encode(y=alt.datum(value))


def diagonal(x: alt.X, y: alt.Y, low: float, high: float) -> Any:
    """A dashed grey line on which the fields of `x` and `y` are equal."""
    x_name, y_name = (_field(channel) for channel in (x, y))
    ends = [{x_name: end, y_name: end} for end in (low, high)]
    return alt.Chart(data(ends)).mark_line(strokeDash=[4, 3], color=GREY).encode(x=x, y=y)


def _field(channel: Any) -> str:
    return str(channel.shorthand).partition(":")[0]
