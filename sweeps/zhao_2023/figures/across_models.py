"""Figure on Zhao (2023): attention of two runs of different models, from values and from keys."""

from __future__ import annotations

from functools import partial
from typing import Any

import altair as alt

from analysis.claims.sweeps import Sweeps
from analysis.figures.claims import finding, sweeps_caption
from analysis.figures.marks import raster
from analysis.figures.style import Figure, Rows, finish, number
from sweeps.zhao_2023.across_models import DIFFERENT_MODELS, similarity_across_models, similarity_by_model
from sweeps.zhao_2023.by_query import KEYS, VALUES

_CELL_PX = 34


def attention_across_models(sweeps: Sweeps) -> Figure:
    """Mean cosine of the first-layer maps of two runs, for every two models."""
    title = finding(
        sweeps,
        partial(similarity_across_models, queries=VALUES),
        "In layer 1 two runs of different models attend alike from values with a cosine of {}",
        "whether runs of different models attend alike",
    )
    panels = [_panel(*similarity_by_model(sweeps, queries=kind), f"layer 1, from {kind}") for kind in (VALUES, KEYS)]
    chart = alt.hconcat(*panels, spacing=24).resolve_scale(color="shared")
    of_keys = similarity_across_models(sweeps, queries=KEYS)
    parts = (
        "Mean cosine of the attention maps of two converged runs, one of each model, other seeds; setting A but for "
        "what the labels say, columns in the order of rows. From keys, where the task leaves it open, the mean is "
        f"{of_keys.estimate:.2f} ({of_keys.low:.2f}-{of_keys.high:.2f}; 95% intervals over seeds)."
    )
    caption = sweeps_caption(sweeps, [DIFFERENT_MODELS], parts)
    return Figure("attention_across_models", title, "Similarity of maps by model.", finish(chart, title, caption))


def _panel(labels: list[str], mean_MM: Any, title: str) -> Any:
    names = [label.replace("head_width", "head") for label in labels]
    rows: Rows = [
        {"one": names[m], "other": names[k], "cosine": number(float(mean_MM[m, k]))}
        for m in range(len(names))
        for k in range(len(names))
    ]
    size = _CELL_PX * len(names)
    axis, hidden = alt.Axis(labelLimit=260), alt.Axis(labels=False, ticks=False)
    return raster(
        rows,
        alt.X("one:N", title=None, sort=names, axis=hidden),
        alt.Y("other:N", title=None, sort=names, axis=axis),
        alt.Color("cosine:Q", title="cosine", scale=alt.Scale(scheme="viridis", domain=[0, 1], clamp=True)),
    ).properties(width=size, height=size, title=title)
