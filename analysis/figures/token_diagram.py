"""Pictures of tasks: a sequence as a row of tokens, with arcs from the positions that attend to those attended to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt
import numpy as np

from analysis.figures.style import GREY, Rows, data

_WIDTH_PX, _ARC_POINTS = 44, 24
# In units of a token's width: half a box, and the height of an arc over one token and over each one more.
_HALF, _LIFT, _LIFT_MORE = 0.42, 0.45, 0.16


@dataclass(frozen=True)
class Token:
    """One position of a sequence: what is written in it, in lines, and its kind, by which it is coloured."""

    lines: tuple[str, ...]
    kind: str


@dataclass(frozen=True)
class Arc:
    """From the position that attends to the one attended to, both from 0; above the row or below it."""

    query: int
    key: int
    kind: str
    is_above: bool = True


def token_diagram(tokens: Sequence[Token], arcs: Sequence[Arc], colours: Mapping[str, str]) -> Any:
    """A chart of the tokens in a row and the arcs between them; `colours` are by kind of token and of arc.

    Raises KeyError for a kind without a colour, IndexError for an arc to a position that is not there.
    """
    half = _HALF * max(1.0, 0.62 * max(len(token.lines) for token in tokens))
    boxes: Rows = [
        {"x": at - _HALF, "x2": at + _HALF, "y": -half, "y2": half, "kind": token.kind, "colour": colours[token.kind]}
        for at, token in enumerate(tokens)
    ]
    texts: Rows = [
        {"x": at, "y": 0.42 * ((len(token.lines) - 1) / 2 - line), "text": text}
        for at, token in enumerate(tokens)
        for line, text in enumerate(token.lines)
    ]
    curves: Rows = []
    heads: Rows = []
    for number, arc in enumerate(arcs):
        if not 0 <= min(arc.query, arc.key) <= max(arc.query, arc.key) < len(tokens):
            raise IndexError(f"an arc from {arc.query} to {arc.key} leaves the {len(tokens)} tokens")
        curve = _curve(arc, half)
        label = {"kind": arc.kind, "colour": colours[arc.kind]}
        curves += [{"x": x, "y": y, "arc": number, "order": t} | label for t, (x, y) in enumerate(curve)]
        heads.append({"x": arc.key, "y": curve[-1][1], "angle": 180 if arc.is_above else 0} | label)
    # A little room, so that no line is cut at the edge.
    low = min([-half, *(row["y"] for row in curves)]) - 0.1
    high = max([half, *(row["y"] for row in curves)]) + 0.1
    x = alt.X("x:Q", title="position", axis=None, scale=alt.Scale(domain=[-0.6, len(tokens) - 0.4], nice=False))
    y = alt.Y("y:Q", title="layer", axis=None, scale=alt.Scale(domain=[low, high], nice=False))
    fill = alt.Color("colour:N", scale=None, legend=None)
    layers = [
        alt.Chart(data(boxes)).mark_rect(cornerRadius=4, stroke=GREY, strokeWidth=0.8).encode(
            x=x, x2="x2", y=y, y2="y2", color=fill
        ),
        alt.Chart(data(texts)).mark_text(fontSize=13).encode(x=x, y=y, text="text:N"),
    ]  # fmt: skip
    if curves:
        lines = alt.Chart(data(curves)).mark_line(strokeWidth=1.6)
        layers.append(lines.encode(x=x, y=y, color=fill, detail="arc:N", order="order:Q"))
        points = alt.Chart(data(heads)).mark_point(shape="triangle", filled=True, size=60, opacity=1)
        layers.append(points.encode(x=x, y=y, color=fill, angle=alt.Angle("angle:Q", scale=None)))
    return alt.layer(*layers).properties(width=_WIDTH_PX * len(tokens), height=_WIDTH_PX * (high - low))


def _curve(arc: Arc, half: float) -> list[tuple[float, float]]:
    """Points of half an ellipse from the query to the key."""
    side = 1.0 if arc.is_above else -1.0
    angle_T = np.linspace(0, np.pi, _ARC_POINTS)
    middle, reach = (arc.query + arc.key) / 2, (arc.query - arc.key) / 2
    lift = _LIFT + _LIFT_MORE * (abs(arc.query - arc.key) - 1)
    x_T, y_T = middle + reach * np.cos(angle_T), side * (half + 0.12 + lift * np.sin(angle_T))
    return [(round(float(x), 3), round(float(y), 3)) for x, y in zip(x_T, y_T, strict=True)]
