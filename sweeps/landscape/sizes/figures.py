"""Figures on sizes: spread of log time by width, and the phase diagram of learning rate and head width."""

from __future__ import annotations

import altair as alt

from analysis.claims.sweeps import Sweeps
from analysis.figures.marks import points_with_intervals, raster
from analysis.figures.style import PREDICTOR_COLOURS, Figure, Rows, data, finish, number
from analysis.uncertainty.intervals import short
from sweeps.landscape.captions import landscape_caption
from sweeps.landscape.sizes.phase_diagram import IN_TIME, phase_diagram
from sweeps.landscape.sizes.spreads import ARMS, spread_by_width
from sweeps.landscape.sizes.study import ALL_RATES, ALL_WIDTHS, RATES, WIDTHS

_RATE_TICKS = [5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 2e-2, 5e-2]
_SPREAD_TICKS = [0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.6, 0.8, 1.2]


def widths(sweeps: Sweeps) -> Figure:
    """The standard deviation of log time over seeds, against the width, at one rate and at rates by 1/width."""
    names = [name for name in ALL_WIDTHS if name == WIDTHS or sweeps.has(name)]
    rows: Rows = []
    exponents = []
    for arm in ARMS:
        found, _ = spread_by_width(sweeps, arm, names)
        exponents.append(f"{found.exponent.text()} at {arm}")
        for size, spread in zip(found.sizes, found.spreads, strict=True):
            place = {"width": size, "arm": arm, "value": number(spread.value)}
            rows.append(place | {"low": number(spread.low), "high": number(spread.high)})
    title = f"Spread of log time goes with width to the power {', '.join(exponents)}"
    base = alt.Chart(data(rows)).encode(
        x=alt.X("width:O", title="width of the model", axis=alt.Axis(labelAngle=0)),
        xOffset=alt.XOffset("arm:N", sort=list(ARMS)),
        color=alt.Color(
            "arm:N", title="learning rate", scale=alt.Scale(domain=list(ARMS), range=list(PREDICTOR_COLOURS[1:3]))
        ),
    )
    ends = [row[end] for row in rows for end in ("low", "high") if row[end] is not None]
    scale = alt.Scale(type="log", domain=[min(ends) / 1.05, max(ends) * 1.05], nice=False)
    chart = points_with_intervals(
        base, "standard deviation of log time", scale=scale, axis=alt.Axis(values=_SPREAD_TICKS)
    )
    parts = (
        "By maximum likelihood of a normal, runs that did not converge being later than the budget; none where more "
        "than half are. Heads have width 4. Bars: 95% over seeds.",
    )
    caption = landscape_caption(sweeps, names, *parts)
    chart = finish(chart.properties(width=460, height=280), title, caption)
    return Figure("widths", title, "Standard deviation of log time by width.", chart)


def rates(sweeps: Sweeps) -> Figure:
    """The share of runs that converge in time at each learning rate and head width, with the boundaries at one half."""
    grid, names = phase_diagram(sweeps), [name for name in ALL_RATES if name == RATES or sweeps.has(name)]
    found = phase_diagram(sweeps, names)
    cells: Rows = []
    for head_width in grid.head_widths:
        for rate in grid.rates:
            share = grid.share(rate, head_width).value
            cells.append({"rate": f"{rate:g}", "head": f"{head_width:g}", "value": share, "text": short(share)})
    x = alt.X("rate:N", sort=[f"{rate:g}" for rate in grid.rates], title="learning rate", axis=alt.Axis(labelAngle=0))
    y = alt.Y("head:N", sort=[f"{width:g}" for width in reversed(found.head_widths)], title="width of a head")
    shares = raster(cells, x, y, alt.Color("value:Q", title="share", scale=alt.Scale(scheme="blues", domain=[0, 1])))
    numbers = shares.mark_text(fontSize=11).encode(
        text="text:N", color=alt.condition("datum.value > 0.5", alt.value("white"), alt.value("#222222"))
    )
    left = alt.layer(shares, numbers).properties(width=340, height=260, title=f"share that converged by step {IN_TIME}")
    bounds: Rows = []
    for side, is_upper in (("lower", False), ("upper", True)):
        for head_width in found.head_widths:
            at = found.boundary(head_width, is_upper=is_upper)
            place = {"head": f"{head_width:g}", "side": side, "value": number(at.value)}
            bounds.append(place | {"low": number(at.low), "high": number(at.high)})
    base = alt.Chart(data([row for row in bounds if row["value"] is not None])).encode(
        y=y, color=alt.Color("side:N", title="boundary", scale=alt.Scale(range=list(PREDICTOR_COLOURS[1:3])))
    )
    scale = alt.Scale(type="log", domain=[min(found.rates), max(found.rates)])
    ticks = alt.Axis(values=_RATE_TICKS, format="~g")
    right = points_with_intervals(base, "learning rate", along="x", scale=scale, axis=ticks).properties(
        width=340, height=260, title="rate at which half converge"
    )
    lower = {row["head"]: row["value"] for row in bounds if row["side"] == "lower" and row["value"] is not None}
    title = (
        "Half converge from the rate " + ", ".join(f"{rate:.2g} (head {head})" for head, rate in lower.items()) + " on"
    )
    num_seeds = len({run.init_seed for run in grid.history.runs})
    parts = (
        f"Shares on the grid, {num_seeds} seeds a point. Boundaries by logistic regression on the log of the rate, on "
        "either side of 0.005, with all runs. Bars: 95% over seeds.",
    )
    caption = landscape_caption(sweeps, names, *parts)
    chart = finish(alt.hconcat(left, right, spacing=40).resolve_scale(color="independent"), title, caption)
    return Figure("rates", title, "Share of runs that converge in time by learning rate and head width.", chart)
