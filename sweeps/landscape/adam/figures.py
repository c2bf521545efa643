"""Figure on Adam's eps: the share of rare features that show each of the four phases."""

from __future__ import annotations

from collections.abc import Sequence

import altair as alt
import numpy as np

from analysis.claims.sweeps import Sweeps
from analysis.figures.claims import finding
from analysis.figures.marks import points_with_intervals
from analysis.figures.style import PREDICTOR_COLOURS, Figure, Rows, data, finish, number
from sweeps.landscape.adam.measures import PHASES, PhasesByEpsilon, phases_by_epsilon, share_at
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
        x=alt.X(
            "eps:Q",
            scale=alt.Scale(type="log"),
            title="Adam's eps",
            axis=alt.Axis(format="~e", values=_decades(found.epsilons)),
        ),
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
        f"it{_coinciding(found)}. Bars: 95% over seeds.",
    )
    chart = finish(chart.properties(width=520, height=260), title, caption)
    return Figure("adam_epsilon", title, "Share of rare features with each phase, by Adam's eps.", chart)


def _decades(epsilons: Sequence[float]) -> list[float]:
    """Every second power of ten, from that of the smallest value on."""
    first, last = (round(np.log10(end)) for end in (min(epsilons), max(epsilons)))
    return [float(f"1e{power}") for power in range(first, last + 1, 2)]


def _coinciding(found: PhasesByEpsilon) -> str:
    """Which curves lie on top of one another at every eps, as the end of a sentence; empty where none do."""
    shares = [[found.share(eps, j).value for eps in found.epsilons] for j in range(len(PHASES))]
    equal = [j for j in range(1, len(PHASES)) if shares[j] == shares[j - 1]]
    return "".join(f"; the curves of phases {j} and {j + 1} coincide" for j in equal)
