"""Figures on Zhao (2023): attention of two runs of different models, by width, head, rate and depth."""

from __future__ import annotations

import re
from functools import partial
from typing import Any

import altair as alt

from analysis.claims.claims import Evidence
from analysis.claims.sweeps import Sweeps
from analysis.figures.claims import finding, sweeps_caption
from analysis.figures.marks import raster
from analysis.figures.style import PREDICTOR_COLOURS, Figure, Rows, data, finish, number
from analysis.uncertainty.intervals import Estimate
from sweeps.zhao_2023.attention_maps.across_models import (
    DIFFERENT_MODELS,
    by_setting,
    similarity_across_models,
    similarity_by_model,
)
from sweeps.zhao_2023.attention_maps.by_query import KEYS, VALUES
from sweeps.zhao_2023.attention_maps.depths import (
    DEPTHS,
    first_of_layers,
    layer_that_looks_back,
    maps_by_depth,
    share_by_layer,
    similarity_across_depths,
)

_CELL_PX, _DEPTH_CELL_PX = 34, 60


def attention_across_models(sweeps: Sweeps) -> Figure:
    """Mean cosine of the first-layer maps of two runs, for every two models."""
    title = finding(
        sweeps,
        partial(similarity_across_models, queries=VALUES),
        "In layer 1 two runs of different models attend alike from values with a cosine of {}",
        "whether runs of different models attend alike",
    )
    panels = [
        _similarities(*similarity_by_model(sweeps, queries=kind), f"layer 1, from {kind}") for kind in (VALUES, KEYS)
    ]
    chart = alt.hconcat(*panels, spacing=24).resolve_scale(color="shared")
    of_keys = similarity_across_models(sweeps, queries=KEYS)
    parts = (
        "Mean cosine of the attention maps of two converged runs, one of each model, other seeds; setting A but for "
        "what the labels say, columns in the order of rows. From keys, where the task leaves it open, the mean is "
        f"{of_keys.estimate:.2f} ({of_keys.low:.2f}-{of_keys.high:.2f}; 95% intervals over seeds)."
    )
    caption = sweeps_caption(sweeps, [DIFFERENT_MODELS], parts)
    return Figure("attention_across_models", title, "Similarity of maps by model.", finish(chart, title, caption))


def attention_across_depths(sweeps: Sweeps) -> Figure:
    """The same by depth, in layer 1 and in the layer whose values look back most; and which layer that is."""
    chosen = {"layer 1": first_of_layers, "layer that looks back most": layer_that_looks_back}
    in_first, in_chosen = (similarity_across_depths(sweeps, choose=choose) for choose in chosen.values())
    title = (
        f"From values, runs of different depth attend alike by {_interval(in_first)} in layer 1, by "
        f"{_interval(in_chosen)} in the layer that looks back most"
    )
    sweep = sweeps[DEPTHS]
    panels = [
        _similarities(*by_setting(maps_by_depth(sweep, choose)[1], sweep.history, VALUES), name)
        for name, choose in chosen.items()
    ]
    shares: Rows = [
        {"depth": f"{depth} layers", "layer": f"layer {n + 1}", "share": number(float(share))}
        for depth, share_L in share_by_layer(sweep).items()
        for n, share in enumerate(share_L)
    ]
    scale = alt.Scale(domain=[f"layer {n}" for n in range(1, 5)], range=list(PREDICTOR_COLOURS[1:5]))
    bars = (
        alt.Chart(data(shares))
        .mark_bar()
        .encode(
            x=alt.X("share:Q", title="share of converged runs"),
            y=alt.Y("depth:N", title=None),
            color=alt.Color("layer:N", title="looks back most", scale=scale),
        )
        .properties(width=200, height=_DEPTH_CELL_PX * 3, title="which layer looks back most")
    )
    parts = (
        "Mean cosine of the attention maps of two converged runs of these depths, other seeds, from values; setting A "
        "but for the depth. Looking back: by the mean attention of values on the position before them. Title: mean "
        "over pairs of depths, with 95% intervals over seeds. "
        f"{in_chosen.note.partition(';')[0]}."
    )
    chart = alt.hconcat(alt.hconcat(*panels, spacing=24), bars, spacing=30).resolve_scale(color="independent")
    caption = sweeps_caption(sweeps, [DEPTHS], parts)
    text = "Similarity of maps by depth, and the layer that looks back."
    return Figure("attention_across_depths", title, text, finish(chart, title, caption))


def _interval(found: Evidence) -> str:
    return Estimate(found.estimate, found.low, found.high).concise()


def _similarities(labels: list[str], mean_MM: Any, title: str) -> Any:
    names = [re.sub(r"^num_layers=(\d+)$", r"\1 layers", label.replace("head_width", "head")) for label in labels]
    rows: Rows = [
        {"one": names[m], "other": names[k], "cosine": number(float(mean_MM[m, k]))}
        for m in range(len(names))
        for k in range(len(names))
    ]
    size = (_CELL_PX if len(names) > 4 else _DEPTH_CELL_PX) * len(names)
    axis, hidden = alt.Axis(labelLimit=260), alt.Axis(labels=False, ticks=False)
    return raster(
        rows,
        alt.X("one:N", title=None, sort=names, axis=hidden),
        alt.Y("other:N", title=None, sort=names, axis=axis),
        alt.Color("cosine:Q", title="cosine", scale=alt.Scale(scheme="viridis", domain=[0, 1], clamp=True)),
    ).properties(width=size, height=size, title=title)
