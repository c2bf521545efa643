"""Figures on Zhao (2023): accuracy under interventions on circuits, and the order of the heads as a curve."""

from __future__ import annotations

from functools import partial
from typing import Any

import altair as alt

from analysis.claims.claims import Evidence
from analysis.claims.sweeps import Sweeps
from analysis.figures.claims import bands, finding, sweeps_caption
from analysis.figures.marks import reference
from analysis.figures.style import GREY, Figure, Rows, data, finish
from analysis.uncertainty.intervals import Estimate
from sweeps.zhao_2023.attention_maps.by_query import KEYS, QUERY, VALUES
from sweeps.zhao_2023.circuits.evidence import (
    ATTENTION_MAPS,
    CIRCUIT_RUNS,
    LABEL_FREQUENCY,
    LEVELS,
    STITCHED,
    TRANSPLANTED,
    accuracy_with_parts_of_others,
    mean_of_circuits,
)
from sweeps.zhao_2023.figures.learning import interval_row, intervals
from sweeps.zhao_2023.measures import order_of_heads

_INTERVENTIONS = {
    "without head 1": "ablated_accuracy/layer1",
    "without head 1 at values": f"ablated_accuracy/{VALUES}",
    "without head 1 at keys": f"ablated_accuracy/{KEYS}",
    "without head 1 at the query": f"ablated_accuracy/{QUERY}",
    "without head 2": "ablated_accuracy/layer2",
}
_PARTS = {
    "with another run's maps": ATTENTION_MAPS,
    "with another run's weights of layer 1": TRANSPLANTED,
    "with another run's layer 1, mapped": STITCHED,
}
_WEIGHTS = {
    "QK 1: the position before": "qk_previous",
    "QK 2: the same key": "qk_matching",
    "OV 2: its own class": "ov_copying",
}


def circuits(sweeps: Sweeps) -> Figure:
    """Accuracy of converged runs with heads ablated and with parts of others, and what their weights prefer."""
    title = finding(
        sweeps,
        partial(accuracy_with_parts_of_others, kind=ATTENTION_MAPS),
        "Under another run's attention maps, runs have an accuracy of {}",
        "how runs do under the attention maps of others",
    )
    accuracies: Rows = [
        _row(mean_of_circuits(sweeps, metric=metric), what=name) for name, metric in _INTERVENTIONS.items()
    ]
    accuracies += [_row(accuracy_with_parts_of_others(sweeps, kind=kind), what=name) for name, kind in _PARTS.items()]
    shares = [_row(mean_of_circuits(sweeps, metric=metric), what=name) for name, metric in _WEIGHTS.items()]
    frequency = alt.Chart(data([{}])).mark_rule(strokeDash=[4, 3], color=GREY).encode(x=alt.datum(LABEL_FREQUENCY))
    panels = [
        alt.layer(frequency, intervals(accuracies, "what", "accuracy", [*_INTERVENTIONS, *_PARTS])).properties(
            width=300, height=230
        ),
        intervals(shares, "what", "share in which it is preferred", list(_WEIGHTS)).properties(width=200, height=90),
    ]
    parts = (
        f"Left: accuracy of converged runs on 256 sequences; dashed: predicting label frequencies "
        f"({LABEL_FREQUENCY}). Without: a head's output is replaced by its mean over sequences. Another run's: of "
        "each other converged run among the first 40; mapped: by the affine map that fits best. Right: "
        "by the weights alone, of all positions, keys or classes. Bars: 95% intervals over runs."
    )
    chart = alt.hconcat(*panels, spacing=40)
    caption = sweeps_caption(sweeps, [CIRCUIT_RUNS], parts)
    return Figure("circuits", title, "Accuracy under interventions on circuits.", finish(chart, title, caption))


def head_order_by_level(sweeps: Sweeps) -> Figure:
    """The share of runs in which the previous-token head comes first, against the level that both have to reach."""
    history = sweeps[CIRCUIT_RUNS].history
    orders = {level: order_of_heads(history, level) for level in LEVELS}
    low, high = (orders[level].first.concise() for level in (0.5, LEVELS[-1]))
    title = f"The previous-token head is first to .5 in {low} of runs, and first to .9 in {high}"
    rows: Rows = [
        interval_row(found, level=level, which=which)
        for level, order in orders.items()
        for which, found in (("previous-token first", order.first), ("induction first", order.second))
    ]
    curves = bands(
        alt.X("level:Q", title="level that both scores have to reach", scale=alt.Scale(domain=[LEVELS[0], LEVELS[-1]])),
        "share of the runs that reach it with either",
        scale=alt.Scale(domain=[0, 1]),
        color=alt.Color("which:N", title=None, legend=alt.Legend(orient="top", symbolOpacity=1)),
    )
    chart = alt.layer(reference(0.5), alt.layer(*curves.layer, data=data(rows))).properties(width=440, height=260)
    neither = max(order.num_neither for order in orders.values())
    parts = (
        "Scores are measured every 5 steps; a level is reached once the score stays there. Ties make up the rest. At "
        f"the highest level {neither} runs reach it with neither. Bands: 95% intervals over runs."
    )
    caption = sweeps_caption(sweeps, [CIRCUIT_RUNS], parts)
    return Figure("head_order_by_level", title, "Which head is first, by level.", finish(chart, title, caption))


def _row(found: Evidence, **fields: str) -> dict[str, Any]:
    return interval_row(Estimate(found.estimate, found.low, found.high), **fields)
