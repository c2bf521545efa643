"""Figure on other settings: the shares of the claims, beside those of ordinary pairs in setting A."""

from __future__ import annotations

import altair as alt

from analysis.claims.sweeps import Sweeps, UndecidedError
from analysis.figures.marks import points_with_intervals
from analysis.figures.style import PREDICTOR_COLOURS, Figure, Rows, data, finish, number
from analysis.uncertainty.intervals import short
from analysis.uncertainty.student import mean_over_units
from sweeps.landscape.captions import landscape_caption
from sweeps.landscape.settings.measures import (
    RETURNS,
    SHARES,
    factorials_by_setting,
    has_orders,
    setting_shares_by_pair,
)


def settings(sweeps: Sweeps) -> Figure:
    """What returns, order 1, and orders 3 and above, in each setting."""
    tables = factorials_by_setting(sweeps)
    if not tables:
        raise UndecidedError("no setting is there")
    rows: Rows = []
    for label, found in tables.items():
        for which in SHARES if has_orders(found) else (RETURNS,):
            mean = mean_over_units(setting_shares_by_pair(found, which))
            ends = {"low": number(mean.low), "high": number(mean.high)}
            rows.append({"setting": label, "which": which, "value": number(mean.value)} | ends)
    names = list(tables)
    base = alt.Chart(data(rows)).encode(
        x=alt.X("setting:N", title=None, sort=names, axis=alt.Axis(labelAngle=0, labelLimit=200)),
        xOffset=alt.XOffset("which:N", sort=list(SHARES)),
        color=alt.Color(
            "which:N",
            title="share",
            scale=alt.Scale(domain=list(SHARES), range=list(PREDICTOR_COLOURS[:3])),
        ),
    )
    chart = points_with_intervals(base, "share of the variance of log time").properties(width=640, height=260)
    returning = ", ".join(
        f"{label.split(':')[0].split(',')[0]} {short(setting_shares_by_pair(found, RETURNS).mean())}"
        for label, found in tables.items()
    )
    title = f"Share of the variance that returns: {returning}"
    caption = landscape_caption(
        sweeps,
        [each.pair.name for found in tables.values() for each in found],
        "Returns: under another data stream, of the variance over combinations; orders: shares of what returns. Means "
        "over pairs of ordinary parents; bars: 95% over pairs.",
    )
    return Figure("settings", title, "Shares by order in other settings.", finish(chart, title, caption))
