"""Figure on pairs of parents: the share of main effects against the distance of the parents."""

from __future__ import annotations

from contextlib import suppress

import altair as alt
import numpy as np

from analysis.claims.sweeps import Sweeps, UndecidedError
from analysis.dynamics.walsh import walsh_spectrum
from analysis.figures.marks import points_with_intervals
from analysis.figures.style import PREDICTOR_COLOURS, Figure, Rows, data, finish, number
from analysis.uncertainty.intervals import short
from sweeps.landscape.captions import landscape_caption
from sweeps.landscape.measures import Factorial, factorials
from sweeps.landscape.spectra import mean_share_of_orders
from sweeps.landscape.study import CHOSEN, LATER, ORDINARY, PAIRS

_KINDS = ("chosen", "ordinary")


def parent_distance(each: Factorial) -> float:
    """Ratio of the slower parent's time to the faster one's, of geometric means over data streams."""
    mean_C = each.values_DC.mean(0)
    return float(np.exp(abs(mean_C[0] - mean_C[-1])))


def parent_pairs(sweeps: Sweeps) -> Figure:
    """The share of orders 1 and of 3 and above in each pair, by how far the parents' times are apart."""
    found = factorials(sweeps, PAIRS)
    means = _means(sweeps)
    panels = []
    for title, first, last in (("order 1", 1, 1), ("order 3 and above", 3, 7)):
        rows: Rows = []
        for each in found:
            share = walsh_spectrum(each.values_DC).share(first, last)
            rows.append(
                {"ratio": parent_distance(each), "kind": _KINDS[each.pair not in CHOSEN], "value": number(share.value)}
                | {"low": number(share.low), "high": number(share.high)}
            )
        base = alt.Chart(data(rows), title=title).encode(
            x=alt.X("ratio:Q", scale=alt.Scale(type="log"), title="time of the slower parent / faster one"),
            color=alt.Color(
                "kind:N", title="parents", scale=alt.Scale(domain=list(_KINDS), range=list(PREDICTOR_COLOURS[1:3]))
            ),
        )
        scale = alt.Scale(domain=[0, 1])
        panels.append(
            points_with_intervals(base, "share of the variance of log time", scale=scale).properties(
                width=300, height=260
            )
        )
    title = "Order 1 carries " + " and ".join(f"{short(mean)} between {kind} parents" for kind, mean in means.items())
    parts = ("A point for each pair of parents, seven groups of matrices. Bars: 95% over data streams.",)
    caption = landscape_caption(sweeps, [each.pair.name for each in found], *parts)
    chart = finish(alt.hconcat(*panels, spacing=40), title, caption)
    return Figure("parent_pairs", title, "Share of orders by the distance of the parents.", chart)


def _means(sweeps: Sweeps) -> dict[str, float]:
    """The mean share of order 1 by kind of parents, where enough pairs are there. Raises UndecidedError for none."""
    found: dict[str, float] = {}
    for kind, group in zip(_KINDS, (CHOSEN, ORDINARY + LATER), strict=True):
        with suppress(UndecidedError):
            found[kind] = mean_share_of_orders(sweeps, first=1, last=1, pairs=group).estimate
    if not found:
        raise UndecidedError("too few pairs of parents")
    return found
