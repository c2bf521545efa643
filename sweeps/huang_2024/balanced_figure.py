"""Figure on Huang, Cheng and Liang (2024): the two phases in which balanced features are learned."""

from __future__ import annotations

from typing import Any

import altair as alt
import numpy as np

from analysis.claims.claims import Evidence
from analysis.claims.sweeps import Sweeps
from analysis.figures.claims import bands, curve_rows, finding, sweeps_caption
from analysis.figures.style import GREY, Figure, Rows, data, finish
from analysis.uncertainty.estimates import median_of_runs
from pipeline.arrays import Floats
from sweeps.huang_2024.figures import SHOWN_SIZE
from sweeps.huang_2024.measures import SMALL_ERROR, FeatureCurves, feature_curves, sizes_of

_OWN, _OTHER = "A_k, own", "B_k1, on another"
_COLOURS = {_OWN: "#0072B2", _OTHER: "#D55E00"}


def balanced_phases(sweeps: Sweeps) -> Figure:
    """Weights and errors of balanced features over time: A_k grows to about log K, then the error vanishes."""
    part = _shown(sweeps)
    title = finding(
        sweeps,
        share_of_first_phase,
        f"With {part.num_features} balanced features, own weights are log K after {{}} of the time until errors vanish",
        "when own weights of balanced features reach log K",
    )
    weights = {_OWN: _mean(part.own_weight_RKT), _OTHER: _mean(part.first_weight_RKT)}
    rows = [row for kind, w_RT in weights.items() for row in curve_rows(w_RT, part.time_T, part.runs, weight=kind)]
    errors = curve_rows(_mean(part.error_RKT), part.time_T, part.runs)
    ends = [{"step": float(np.nanmedian(end_RK))} for end_RK in (part.rare_phases.grown_RK, part.converged_RK[:, 1:])]
    colour = alt.Color(
        "weight:N", scale=alt.Scale(domain=list(_COLOURS), range=list(_COLOURS.values())), title="bilinear weight",
        legend=alt.Legend(symbolType="stroke", symbolOpacity=1, symbolStrokeWidth=3),
    )  # fmt: skip
    log = alt.Scale(type="log", nice=False)
    panels = [
        _panel(bands(_x(), "bilinear weight", color=colour), rows, ends),
        _panel(bands(_x(), "error L_k (log)", scale=log, color=alt.value(GREY)), errors, ends),
    ]
    parts = [
        "Gradient descent on sampled contexts. Lines: mean over all features but the first, and over seeds, with its "
        "95% interval over seeds.",
        f"Dashed: medians over features and seeds of the time from which A_k is at least log K, the end of phase 1, "
        f"and of that from which the error is at most {SMALL_ERROR}.",
    ]
    chart = alt.hconcat(*panels, spacing=30)
    caption = sweeps_caption(sweeps, ["sampled_balanced"], *parts)
    return Figure("balanced_phases", title, "Weights and errors of balanced features.", finish(chart, title, caption))


def share_of_first_phase(sweeps: Sweeps) -> Evidence:
    """The time until A_k is log K over that until its error is small: each run's median feature, median over runs."""
    part = _shown(sweeps)
    ratio_RK = part.rare_phases.grown_RK / part.converged_RK[:, 1:]
    found = median_of_runs(np.median(ratio_RK, axis=1), part.runs)
    return Evidence.of(found, part.runs, f"{part.num_features} features.")


def _shown(sweeps: Sweeps) -> FeatureCurves:
    history = sweeps["sampled_balanced"].history
    sizes = sizes_of(history)
    return feature_curves(history, SHOWN_SIZE if SHOWN_SIZE in sizes else sizes[-1])


def _mean(values_RKT: Floats) -> Floats:
    """(R, T) mean over all features but the first, which has no weight on itself as on another."""
    return np.asarray(values_RKT[:, 1:].mean(axis=1))


def _x() -> alt.X:
    return alt.X("step:Q", title="time, steps x learning rate")


def _panel(lines: Any, rows: Rows, ends: Rows) -> Any:
    rules = alt.Chart(data(ends)).mark_rule(strokeDash=[4, 3], color=GREY).encode(x=_x())
    return alt.layer(alt.layer(*lines.layer, data=data(rows)), rules).properties(width=320, height=240)
