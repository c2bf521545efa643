"""Figures on Zhao (2023): attention by position of the query and run by run, and curves aligned at their change."""

from __future__ import annotations

from functools import partial

import altair as alt
import numpy as np

from analysis.claims.sweeps import Sweeps
from analysis.figures.claims import bands, finding, median_rows, sweeps_caption
from analysis.figures.style import GREY, Figure, Rows, data, finish, number
from analysis.uncertainty.intervals import short
from sweeps.zhao_2023 import evidence
from sweeps.zhao_2023.attention_maps.by_query import (
    KEYS,
    QUERY,
    UNLIKE,
    VALUES,
    first_layer,
    positions,
    similarity_of_runs,
)
from sweeps.zhao_2023.attention_maps.single_runs import LikenessOfRuns, share_of_unlike_runs
from sweeps.zhao_2023.figures.learning import interval_row, intervals
from sweeps.zhao_2023.measures import converged, phase_changes

_SWEEP = "setting_a_again"
# Sweeps of setting A with maps at the budget.
_SWEEPS_OF_A = ("setting_a", "setting_a_again", "circuits")
# Steps before and after the middle of the change that are shown, and how finely.
_REACH, _EVERY = 800, 25
_LEGEND = alt.Legend(orient="top", labelLimit=400, symbolType="stroke", symbolOpacity=1, symbolStrokeWidth=3)


def attention_by_query(sweeps: Sweeps) -> Figure:
    """Mean cosine of the first-layer maps of two converged runs, for every position of the query."""
    found = first_layer(sweeps[_SWEEP])
    kind_of = {at: kind for kind in (VALUES, KEYS, QUERY) for at in positions(kind, found.length)}
    rows: Rows = [
        interval_row(found.mean_similarity([at]), position=f"{at + 1}", kind=kind)
        for at, kind in sorted(kind_of.items())
    ]
    values, keys = (similarity_of_runs(sweeps, sweep=_SWEEP, queries=kind) for kind in (VALUES, KEYS))
    title = (
        f"In layer 1 two runs attend alike from values (cosine {short(values.estimate)}), not from keys "
        f"({short(keys.estimate)})"
    )
    order = [row["position"] for row in rows]
    panel = intervals(rows, "position", "mean cosine of attention maps of two runs", order, "kind")
    parts = (
        "Setting A at its last step, by position of the query in the sequence; the first sees itself alone and is left "
        "out. The task forces values to attend to their keys, and leaves the other rows of layer 1 open. Bars: 95% "
        "intervals over runs."
    )
    chart = panel.properties(width=480, height=24 * len(order))
    caption = sweeps_caption(sweeps, [_SWEEP], parts)
    return Figure("attention_by_query", title, "Similarity of maps by query.", finish(chart, title, caption))


def attention_of_single_runs(sweeps: Sweeps) -> Figure:
    """How alike every converged run of setting A is to the others, from values in layer 1, for each of its sweeps."""
    title = finding(
        sweeps,
        partial(share_of_unlike_runs, sweep="setting_a"),
        "A share of {} of the converged runs attend unlike the others from values in layer 1",
        "how many runs attend unlike the others",
    )
    names = [name for name in _SWEEPS_OF_A if sweeps.has(name)]
    likeness = {name: LikenessOfRuns.of(sweeps[name]).likeness_R for name in names}
    rows: Rows = [
        {"sweep": f"{name} (n={len(value_R)})", "value": number(value)}
        for name, value_R in likeness.items()
        for value in value_R.tolist()
    ]
    labels = list(dict.fromkeys(row["sweep"] for row in rows))
    ticks = (
        alt.Chart(data(rows))
        .mark_tick(thickness=1.5, height=22, opacity=0.5)
        .encode(
            x=alt.X("value:Q", title="mean cosine with the other runs", scale=alt.Scale(domain=[0, 1])),
            y=alt.Y("sweep:N", title=None, sort=labels, axis=alt.Axis(labelLimit=300)),
        )
    )
    limit = alt.Chart(data([{}])).mark_rule(strokeDash=[4, 3], color=GREY).encode(x=alt.datum(UNLIKE))
    chart = alt.layer(ticks, limit).properties(width=520, height=alt.Step(40))
    parts = (
        "A tick for every converged run of setting A: mean cosine of its attention map with those of the other runs of "
        f"its sweep, from values in layer 1. Dashed: {UNLIKE:g}, at or below which a run counts as unlike the others."
    )
    caption = sweeps_caption(sweeps, names, parts)
    return Figure("attention_of_single_runs", title, "Likeness of runs, one by one.", finish(chart, title, caption))


def aligned_curves(sweeps: Sweeps) -> Figure:
    """Median excess loss of converged runs around the middle of their largest change, one layer beside two."""
    title = finding(
        sweeps,
        partial(evidence.share_of_abrupt_runs, sweep="pair_tokens"),
        "Of the converged runs of one layer and one head, a share of {} change abruptly",
        "which share of the runs of one layer and one head change abruptly",
    )
    offset_T = np.arange(-_REACH, _REACH + 1, _EVERY)
    rows: Rows = []
    for name, layers in ((_SWEEP, "two layers"), ("pair_tokens", "one layer")):
        history = converged(sweeps[name].history)
        location_R = phase_changes(history).location_R
        excess_RT = np.full((len(history.runs), len(offset_T)), np.nan)
        for r, values_T in enumerate(history.values["label_excess"]):
            seen = np.isfinite(values_T)
            if np.isfinite(location_R[r]):
                step_T = offset_T + location_R[r]
                excess_RT[r] = np.interp(step_T, history.steps_T[seen], values_T[seen], left=np.nan, right=np.nan)
        rows += median_rows(excess_RT, offset_T, history.runs, sweep=f"{layers}, {name} (n={len(history.runs)})")
    curves = bands(
        alt.X("step:Q", title="steps before and after the middle of the largest change"),
        "median excess loss",
        color=alt.Color("sweep:N", title=None, legend=_LEGEND),
    ).properties(data=data(rows), width=480, height=240)
    parts = (
        "Excess loss of converged runs, 1 is that of predicting label frequencies, each run shifted by its own change. "
        "Bands: 95% intervals of the median."
    )
    caption = sweeps_caption(sweeps, [_SWEEP, "pair_tokens"], parts)
    return Figure("aligned_curves", title, "Curves around the change.", finish(curves, title, caption))
