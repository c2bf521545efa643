"""Figure on other settings: the shares of the claims, beside those of ordinary pairs in setting A."""

from __future__ import annotations

import altair as alt

from analysis.claims.sweeps import Sweeps, UndecidedError
from analysis.figures.marks import points_with_intervals
from analysis.figures.style import PREDICTOR_COLOURS, Figure, Rows, data, finish, number
from analysis.uncertainty.intervals import short
from analysis.uncertainty.student import mean_over_units
from sweeps.landscape.captions import landscape_caption
from sweeps.landscape.settings.measures import SHARES, shares_by_setting
from sweeps.landscape.study import ORDINARY


def settings(sweeps: Sweeps) -> Figure:
    """What returns, order 1, and orders 3 and above, in each setting."""
    shares = shares_by_setting(sweeps)
    if not shares:
        raise UndecidedError("no setting is there")
    rows: Rows = []
    for label, by_name in shares.items():
        for which, share_P in by_name.items():
            mean = mean_over_units(share_P)
            ends = {"low": number(mean.low), "high": number(mean.high)}
            rows.append({"setting": label, "which": which, "value": number(mean.value)} | ends)
    names = list(shares)
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
    higher = ", ".join(short(by_name["order 3 and above"].mean()) for by_name in shares.values())
    title = f"Orders 3 and above carry {higher} of what returns, from left to right"
    trained = [name for name in sweeps if sweeps.has(name) and name.rpartition("_")[0] in _FILES]
    ordinary = [pair.name for pair in ORDINARY if sweeps.has(pair.name)]
    caption = landscape_caption(
        sweeps,
        [*ordinary, *trained],
        "Returns: under another data stream, of the variance over combinations; the orders: of what returns. Means "
        "over pairs of ordinary parents; bars: 95% over pairs.",
    )
    return Figure("settings", title, "Shares by order in other settings.", finish(chart, title, caption))


_FILES = ("setting_b", "setting_c", "pair_tokens", "lsa")
