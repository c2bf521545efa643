"""Figures on the landscape of an initialisation: the Walsh spectrum, and the times of all combinations."""

from __future__ import annotations

from typing import Any

import altair as alt
import numpy as np

from analysis.claims.sweeps import Sweeps
from analysis.dynamics.walsh import orders, walsh_spectrum
from analysis.figures.marks import points_with_intervals
from analysis.figures.style import PREDICTOR_COLOURS, Figure, Rows, data, finish, number
from analysis.uncertainty.intervals import short
from sweeps.landscape.captions import landscape_caption
from sweeps.landscape.measures import Factorial, factorials
from sweeps.landscape.study import BY_MATRIX, CHOSEN

_TICKS = [500, 1000, 2000, 4000]
_STEPS = alt.Scale(type="log", domain=[450, 5400], nice=False)
_COLOURS = alt.Scale(range=list(PREDICTOR_COLOURS[:4]))


def spectrum(sweeps: Sweeps) -> Figure:
    """The share of each order of interaction in the variance of log time that returns under another data stream."""
    found = factorials(sweeps, (*CHOSEN, BY_MATRIX))
    rows: Rows = []
    for each in found:
        of_pair = walsh_spectrum(each.values_DC)
        for order in range(1, len(each.factors) + 1):
            share = of_pair.share(order)
            rows.append(
                {"order": order, "pair": _label(each)}
                | {"value": number(share.value), "low": number(share.low), "high": number(share.high)}
            )
    first = [walsh_spectrum(each.values_DC).share(1).value for each in found]
    title = f"Single factors carry {', '.join(map(short, first))} of the variance that returns"
    base = alt.Chart(data(rows)).encode(
        x=alt.X("order:O", title="order of interaction: factors in the set", axis=alt.Axis(labelAngle=0)),
        xOffset=alt.XOffset("pair:N"),
        color=alt.Color("pair:N", title="parents", scale=_COLOURS),
    )
    chart = points_with_intervals(base, "share of the variance of log time").properties(width=560, height=260)
    parts = (
        "Of the variance over combinations that returns under another data stream. Bars: 95% over data streams; shares "
        "below 0 are noise.",
    )
    caption = landscape_caption(sweeps, [each.pair.name for each in found], *parts)
    return Figure("spectrum", title, "Share of the variance of log time by order.", finish(chart, title, caption))


def combinations(sweeps: Sweeps) -> Figure:
    """The time of every combination of the parents' matrices, by the number of factors that are the slow parent's."""
    found = factorials(sweeps)
    panels = [_panel(each) for each in found]
    shares = ", ".join(walsh_spectrum(each.values_DC).returning().text() for each in found)
    title = f"Of the variance over combinations {shares} returns under other data"
    parts = (
        "A point for each combination: the geometric mean of its times under the data streams. At the left end the "
        "fast parent, at the right end the slow one; runs that did not converge count with the budget.",
    )
    caption = landscape_caption(sweeps, [each.pair.name for each in found], *parts)
    chart = finish(alt.hconcat(*panels, spacing=30), title, caption)
    return Figure("combinations", title, "Time to convergence of every combination of two parents' matrices.", chart)


def _panel(each: Factorial) -> Any:
    mean_C = np.exp(each.values_DC.mean(0))
    slow_C = orders(len(mean_C))
    last = slow_C[-1]
    kinds = {0: "fast parent", last: "slow parent"}
    rows = [
        # Points of one column stand apart by multiples of the golden ratio, the same in every drawing.
        {"slow": int(slow), "step": number(step), "which": kinds.get(int(slow), "both"), "jitter": place * 0.618034 % 1}
        for place, (slow, step) in enumerate(zip(slow_C, mean_C, strict=True))
    ]
    return (
        alt.Chart(data(rows), title=_label(each))
        .mark_point(filled=True, size=34, opacity=0.55)
        .encode(
            x=alt.X("slow:O", title=f"factors from the slow parent, of {last}", axis=alt.Axis(labelAngle=0)),
            xOffset=alt.XOffset("jitter:Q"),
            y=alt.Y("step:Q", title="step of convergence", scale=_STEPS, axis=alt.Axis(values=_TICKS)),
            color=alt.Color(
                "which:N",
                title="matrices of",
                scale=alt.Scale(
                    domain=["fast parent", "slow parent", "both"],
                    range=[PREDICTOR_COLOURS[1], PREDICTOR_COLOURS[2], "#666666"],
                ),
            ),
        )
        .properties(width=240, height=260)
    )


def _label(each: Factorial) -> str:
    factors = "matrices" if each.pair == BY_MATRIX else "groups"
    return f"seeds {each.pair.first} and {each.pair.second}, {len(each.factors)} {factors}"
