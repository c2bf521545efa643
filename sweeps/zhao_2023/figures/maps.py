"""Figure on Zhao (2023): attention maps themselves, their mean and spread over runs, beside the algorithm's."""

from __future__ import annotations

from typing import Any

import altair as alt
import numpy as np

from analysis.claims.sweeps import JudgedSweep, Sweeps, UndecidedError
from analysis.figures.claims import sweeps_caption
from analysis.figures.marks import raster
from analysis.figures.style import Figure, Rows, finish, number
from analysis.outcomes.outcomes import CONVERGED
from analysis.uncertainty.intervals import short
from pipeline.arrays import Floats
from sweeps.zhao_2023.attention_maps.by_query import KEYS, QUERY, VALUES, positions
from sweeps.zhao_2023.attention_maps.contrasts import AttentionMaps
from sweeps.zhao_2023.measures import outcomes_of

_SWEEP = "setting_a_again"
_MEAN, _SPREAD, _ALGORITHM = "mean over runs", "standard deviation over runs", "the algorithm"
_CELL_PX, _MAX_SEQUENCES = 11, 17


def attention_maps(sweeps: Sweeps) -> Figure:
    """Layer 1 by query, and layer 2's last query by sequence: what converged runs share, and where they differ."""
    maps = _converged_maps(sweeps[_SWEEP])
    first_RLL = maps.layer1[:, 0, :, 0].mean(axis=1)
    last_RIL = maps.layer2[:, 0, :_MAX_SEQUENCES, 0, 0]
    length = first_RLL.shape[-1]
    # The first two tokens have no choice, or hardly any; the others are values, or keys and the query.
    spread_LL, seen_LL = _spread(first_RLL), np.tril(np.ones((length, length), dtype=bool))
    values = positions(VALUES, length)[1:]
    others = [*positions(KEYS, length), *positions(QUERY, length)]
    forced, free = (float(spread_LL[rows][seen_LL[rows]].mean()) for rows in (values, others))
    title = (
        f"Between runs, layer 1 varies by {short(forced)} where values look back, and by {short(free)} where the task "
        "leaves it open"
    )
    panels = [
        [
            _panel(first_RLL.mean(axis=0), f"layer 1, {_MEAN}", "query", [0, 1]),
            _panel(spread_LL, f"layer 1, {_SPREAD}", "query", [0, 0.5]),
            _panel(_algorithm(length), f"layer 1, {_ALGORITHM}", "query", [0, 1]),
        ],
        [
            _panel(last_RIL.mean(axis=0), f"layer 2, {_MEAN}", "sequence", [0, 1]),
            _panel(_spread(last_RIL), f"layer 2, {_SPREAD}", "sequence", [0, 0.5]),
        ],
    ]
    rows = [alt.hconcat(*row, spacing=18).resolve_scale(color="independent") for row in panels]
    chart = alt.vconcat(*rows, spacing=24).resolve_scale(color="independent")
    parts = (
        f"The {len(first_RLL)} runs that converged, at their last step; keys and values alternate, the last token is "
        f"the query. Layer 1: mean over {maps.layer1.shape[2]} sequences. Layer 2: its last query alone, a row for "
        "each sequence; which values have the query's key differs by sequence. White in the algorithm: what the task "
        "leaves open. Title: standard deviation over runs, mean over keys and queries."
    )
    text = "Attention maps: mean and standard deviation over runs, and the algorithm's."
    return Figure("attention_maps", title, text, finish(chart, title, sweeps_caption(sweeps, [_SWEEP], parts)))


def _converged_maps(sweep: JudgedSweep) -> AttentionMaps:
    """The maps of converged runs at the budget. Raises UndecidedError where fewer than two did."""
    history = sweep.history
    is_used_R = outcomes_of(history).is_kind_R(CONVERGED)
    if is_used_R.sum() < 2:
        raise UndecidedError("fewer than two runs converged")
    maps = AttentionMaps.at(sweep, np.full(len(history.runs), float(history.budget)))
    return AttentionMaps(maps.layer1[is_used_R], maps.layer2[is_used_R])


def _spread(maps_RQK: Floats) -> Floats:
    return np.asarray(maps_RQK.std(axis=0, ddof=1))


def _algorithm(length: int) -> Floats:
    """(L, L) of the first layer: values attend to the key before them; NaN in rows that the task leaves open."""
    map_LL = np.full((length, length), np.nan)
    for at in positions(VALUES, length):
        map_LL[at, : at + 1] = 0
        map_LL[at, at - 1] = 1
    return map_LL


def _panel(map_QK: Floats, title: str, rows_title: str, domain: list[float]) -> Any:
    """Rows downwards, keys to the right; cells that no query sees, and NaN, are left white."""
    # In a square map a query sees no later key.
    is_causal = rows_title == "query"
    cells: Rows = [
        {"query": q + 1, "key": k + 1, "attention": number(map_QK[q, k])}
        for q, k in np.argwhere(np.isfinite(map_QK)).tolist()
        if not is_causal or k <= q
    ]
    ticks = [1, *range(5, map_QK.shape[1] + 1, 4)]
    num_rows, num_columns = map_QK.shape
    domain_x, domain_y = (alt.Scale(domain=list(range(1, size + 1))) for size in (num_columns, num_rows))
    x = alt.X("key:O", title="key", axis=alt.Axis(values=ticks, labelAngle=0), scale=domain_x)
    y = alt.Y("query:O", title=rows_title, axis=alt.Axis(values=ticks), scale=domain_y)
    scale = alt.Scale(scheme="viridis", domain=domain, clamp=True)
    colour = alt.Color("attention:Q", scale=scale, title=None, legend=alt.Legend(gradientLength=120, tickCount=3))
    return raster(cells, x, y, colour).properties(
        width=_CELL_PX * num_columns, height=_CELL_PX * num_rows, title=alt.TitleParams(title, fontSize=12)
    )
