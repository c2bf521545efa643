"""Figures on fates: when parents commit, and what mixtures of a fast and a slow state take their time from."""

from __future__ import annotations

import altair as alt
import numpy as np

from analysis.claims.sweeps import Sweeps
from analysis.figures.claims import finding
from analysis.figures.marks import points_with_intervals, raster
from analysis.figures.style import PREDICTOR_COLOURS, Figure, Rows, data, finish, number
from analysis.uncertainty.intervals import Estimate, short
from analysis.uncertainty.student import mean_over_units
from sweeps.landscape.captions import landscape_caption
from sweeps.landscape.fates.measures import (
    DEADLINE,
    exchanges,
    forked_fates,
    main_effects_by_pair,
    mixture_shares_by_pair,
    share_committed,
    slow_down_by_pair,
)
from sweeps.landscape.fates.study import FATE_PARENTS, FATES, PARTS


def commitment(sweeps: Sweeps) -> Figure:
    """The share of forks that meet the deadline, by parent and step; and the variance that the state fixes."""
    found = forked_fates(sweeps)
    times, steps = found.time_P, found.steps_S.tolist()
    rows: Rows = [
        {"parent": f"{p + 1}: {times[p]:,.0f}", "step": int(step), "share": number(found.early_PS[p, s])}
        for p in range(len(times))
        for s, step in enumerate(steps)
    ]
    left = raster(
        rows,
        alt.X("step:O", title="fork step", axis=alt.Axis(labelAngle=0)),
        alt.Y("parent:N", title="parent and its own time, fast ones on top", sort=[row["parent"] for row in rows]),
        alt.Color(
            "share:Q",
            title=["share of forks", f"by step {DEADLINE:,}"],
            scale=alt.Scale(scheme="redyellowblue", domain=[0, 1]),
        ),
    ).properties(width=280, height=260)
    points: Rows = [_point(found.variance(step).init, step=int(step)) for step in steps]
    base = alt.Chart(data(points)).encode(x=alt.X("step:O", title="fork step", axis=alt.Axis(labelAngle=0)))
    right = points_with_intervals(
        base, "share of the variance of log time that the state fixes", scale=alt.Scale(domain=[0, 1])
    ).properties(width=280, height=260)
    title = finding(
        sweeps,
        lambda given: share_committed(given, by=200),
        "{} of parents are committed by step 200: at most a tenth of their forks end otherwise",
        "when parents commit",
    )
    caption = landscape_caption(
        sweeps,
        [FATE_PARENTS, FATES],
        f"{len(times)} parents, {found.num_forks} forks of each at each step, under the same fresh data streams. "
        "Bars: 95% over parents and data streams.",
    )
    chart = finish(alt.hconcat(left, right, spacing=40), title, caption)
    return Figure("commitment", title, "Share of forks in time by parent and step, and variance fixed.", chart)


def mixtures(sweeps: Sweeps) -> Figure:
    """Shares of the variance over mixtures by part and order, and how much slower mixtures are, by step."""
    found = exchanges(sweeps)
    rows: Rows = []
    slow: Rows = []
    for step in found[0].steps_S.tolist():
        effects_PG = main_effects_by_pair(found, step)
        by_name = dict(zip(PARTS, effects_PG.T, strict=True))
        by_name["any two"] = mixture_shares_by_pair(found, step, 2, 2)
        by_name["three and all four"] = mixture_shares_by_pair(found, step, 3, len(PARTS))
        rows += [_point(mean_over_units(share_P), step=step, part=name) for name, share_P in by_name.items()]
        ratio = mean_over_units(slow_down_by_pair(found, step))
        slow.append(_point(Estimate(*np.exp([ratio.value, ratio.low, ratio.high])), step=step))
    names = [*PARTS, "any two", "three and all four"]
    axis = alt.X("step:O", title="step of the exchange", axis=alt.Axis(labelAngle=0))
    left = points_with_intervals(
        alt.Chart(data(rows)).encode(
            x=axis,
            xOffset=alt.XOffset("part:N", sort=names),
            color=alt.Color(
                "part:N",
                title=["effect of", "one part or together"],
                scale=alt.Scale(domain=names, range=list(PREDICTOR_COLOURS[: len(names)])),
            ),
        ),
        "share of the variance of log time",
        mark={"size": 40},
    ).properties(width=440, height=260)
    right = points_with_intervals(
        alt.Chart(data(slow)).encode(x=axis), "time of mixtures / time of unmixed runs", scale=alt.Scale(zero=False)
    ).properties(width=220, height=260)
    last = found[0].steps_S.tolist()[-1]
    alone = [mean_over_units(mixture_shares_by_pair(found, step, 1, 1)).value for step in (0, last)]
    title = f"Single parts carry {short(alone[0])} of the variance at step 0, {short(alone[1])} at step {last}"
    caption = landscape_caption(
        sweeps,
        [FATE_PARENTS, *(each.pair.name for each in found)],
        f"All 16 mixtures of a fast and a slow run's state, {len(found)} pairs, two fresh data streams. Means over "
        "pairs; bars: 95% over pairs.",
    )
    chart = finish(alt.hconcat(left, right, spacing=40), title, caption)
    return Figure("mixtures", title, "What mixtures of two states take their time from, by step.", chart)


def _point(estimate: Estimate, **labels: object) -> dict[str, object]:
    ends = {"low": number(estimate.low), "high": number(estimate.high)}
    return labels | {"value": number(estimate.value)} | ends
