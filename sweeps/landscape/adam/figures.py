"""Figure on Adam's eps: the share of rare features that show each of the four phases."""

from __future__ import annotations

import altair as alt

from analysis.claims.sweeps import Sweeps
from analysis.figures.claims import finding
from analysis.figures.marks import points_with_intervals
from analysis.figures.style import PREDICTOR_COLOURS, Figure, Rows, data, finish, number
from sweeps.landscape.adam.measures import PHASES, phases_by_epsilon, share_at
from sweeps.landscape.adam.study import EPSILON
from sweeps.landscape.captions import landscape_caption


def adam_epsilon(sweeps: Sweeps) -> Figure:
    """The share of rare features that show the phases up to each of the four, against eps."""
    found = phases_by_epsilon(sweeps)
    rows: Rows = []
    for eps in found.epsilons:
        for j, name in enumerate(PHASES):
            share = found.share(eps, j)
            ends = {"low": number(share.low), "high": number(share.high)}
            rows.append({"eps": eps, "phases": name, "value": number(share.value)} | ends)
    base = alt.Chart(data(rows)).encode(
        x=alt.X("eps:Q", scale=alt.Scale(type="log"), title="Adam's eps", axis=alt.Axis(format="~e")),
        color=alt.Color(
            "phases:N",
            title=None,
            scale=alt.Scale(domain=list(PHASES), range=list(PREDICTOR_COLOURS[: len(PHASES)])),
            legend=alt.Legend(labelLimit=300),
        ),
    )
    chart = points_with_intervals(base, "share of rare features", is_joined=True, scale=alt.Scale(domain=[0, 1]))
    title = finding(
        sweeps,
        lambda given: share_at(given, eps=1e-8),
        "With a small eps {} of rare features show the first phase of gradient descent",
        "the first phase at a small eps",
    )
    num_seeds = len({run.init_seed for run in found.history.runs})
    caption = landscape_caption(
        sweeps,
        [EPSILON],
        f"{num_seeds} seeds at each eps, the rate .002 + 4 eps, nine rare features each. Each phase needs those before "
        "it. Bars: 95% over seeds.",
    )
    chart = finish(chart.properties(width=520, height=260), title, caption)
    return Figure("adam_epsilon", title, "Share of rare features with each phase, by Adam's eps.", chart)
