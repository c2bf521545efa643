"""Figure on the factorial of single matrices: which of them interact, and how few coefficients carry how much."""

from __future__ import annotations

import altair as alt
import numpy as np

from analysis.claims.sweeps import Sweeps
from analysis.dynamics.interactions import joint_effects, largest_share
from analysis.figures.marks import points_with_intervals, raster
from analysis.figures.style import Figure, Rows, data, finish, number
from analysis.uncertainty.intervals import short
from sweeps.landscape.captions import landscape_caption
from sweeps.landscape.measures import factorials
from sweeps.landscape.study import BY_MATRIX

NUMBERS_OF_SETS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
_SHORT = {"layer0.": "1 ", "layer1.": "2 "}


def matrix_label(name: str) -> str:
    """`layer0.query` as `1 query`: layers are counted from 1 in figures and tables."""
    for prefix, layer in _SHORT.items():
        name = name.replace(prefix, layer)
    return name


def interactions(sweeps: Sweeps) -> Figure:
    """Joint effects of every two matrices, and the share of the variance in the largest coefficients."""
    (found,) = factorials(sweeps, (BY_MATRIX,))
    joint_GG = joint_effects(found.values_DC)
    names = [matrix_label(name) for name in found.factors]
    rows: Rows = [
        {"one": names[g], "other": names[h], "value": number(joint_GG[g, h]), "text": short(joint_GG[g, h])}
        for g in range(len(names))
        for h in range(g + 1)
    ]
    x = alt.X("other:N", sort=names, title=None, axis=alt.Axis(labelAngle=-40))
    y = alt.Y("one:N", sort=names, title=None)
    colour = alt.Color("value:Q", title="share", scale=alt.Scale(scheme="blues", domain=[0, float(np.max(joint_GG))]))
    cells = raster(rows, x, y, colour)
    dark = f"datum.value > {float(np.max(joint_GG)) / 2}"
    numbers = cells.mark_text(fontSize=10).encode(
        text="text:N", color=alt.condition(dark, alt.value("white"), alt.value("#222222"))
    )
    left = alt.layer(cells, numbers).properties(
        width=400, height=340, title="sets that hold both matrices; on the diagonal, the one"
    )
    few: Rows = []
    for count in NUMBERS_OF_SETS:
        share = largest_share(found.values_DC, count)
        few.append({"count": count, "value": number(share.value), "low": number(share.low), "high": number(share.high)})
    base = alt.Chart(data(few)).encode(
        x=alt.X(
            "count:Q",
            scale=alt.Scale(type="log"),
            title="largest coefficients, of 1,023",
            axis=alt.Axis(values=list(NUMBERS_OF_SETS)),
        )
    )
    right = points_with_intervals(base, "share of the variance of log time", is_joined=True).properties(
        width=250, height=340, title="chosen under one stream, measured under the other"
    )
    chosen = {row["count"]: row["value"] for row in few}
    title = f"32 of 1,023 coefficients carry {short(chosen[32])} of what returns"
    parts = (
        "Shares of the variance over combinations that returns under another data stream. Bars: 95% over streams.",
    )
    caption = landscape_caption(sweeps, [BY_MATRIX.name], *parts)
    chart = finish(alt.hconcat(left, right, spacing=40), title, caption)
    return Figure("interactions", title, "Joint effects of matrices, and shares of the largest coefficients.", chart)
