"""Figures of Huang, Cheng and Liang (2024): errors and attention of each feature, phases, and how times grow."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import Any

import altair as alt
import numpy as np

from analysis.claims.sweeps import Sweeps
from analysis.figures.claims import bands, curve_rows, finding, sweeps_caption
from analysis.figures.marks import points_with_intervals
from analysis.figures.style import GREY, Figure, Rows, data, finish, number
from analysis.uncertainty.estimates import median_of_runs
from pipeline.arrays import Floats
from sweeps.huang_2024 import evidence
from sweeps.huang_2024.measures import (
    SMALL_ERROR,
    FeatureCurves,
    feature_curves,
    median_feature_time_or_inf,
    never_as_inf,
    sizes_of,
)

DOMINANT, BALANCED, RARE, SWAP = "dominant", "balanced", "rare", "rare, end of phase 1"
FEATURE_COLOURS = {DOMINANT: "#D55E00", BALANCED: "#009E73", RARE: "#0072B2", SWAP: "#8C5FBF"}
WEIGHT_COLOURS = {"A_k, own": "#0072B2", "B_k1, on the dominant": "#D55E00", "their sum": "#000000"}
PHASE_NAMES = ("swap", "taken over", "grown", "converged")
_LEGEND = alt.Legend(symbolType="stroke", symbolOpacity=1, symbolStrokeWidth=3)
# The size whose phases are drawn, where it is there: all are seen, and apart.
SHOWN_SIZE = 20
# Errors fall over three orders of magnitude.
_LOG = alt.Scale(type="log", nice=False)
PER_FEATURE = "A line per feature: mean over seeds, with its 95% interval over seeds."
# The sweep, and the times of its runs' features.
SweepTimes = tuple[str, Callable[[FeatureCurves], Floats]]
TIMES: Mapping[str, SweepTimes] = {
    DOMINANT: ("sampled_dominant", lambda features: never_as_inf(features.converged_RK[:, 0])),
    BALANCED: ("sampled_balanced", lambda features: median_feature_time_or_inf(features.converged_RK)),
    RARE: ("sampled", lambda features: median_feature_time_or_inf(features.converged_RK[:, 1:])),
    SWAP: ("sampled", lambda features: median_feature_time_or_inf(features.swap_RK)),
}


def feature_errors(sweeps: Sweeps) -> Figure:
    """Each feature's error over epochs, balanced and with a dominant feature (their Figure 2)."""
    title = finding(
        sweeps,
        partial(evidence.share_of_small_errors, sweep="imbalanced", which=evidence.RARE_FEATURES),
        f"Of the rare features, a share of {{}} come to an error of at most {SMALL_ERROR} for good",
        "which share of the rare features is learned",
    )
    return _per_feature(
        sweeps, "feature_errors", title, "error L_k of a feature (log)", lambda part: part.error_RKT, _LOG
    )


def attention_concentration(sweeps: Sweeps) -> Figure:
    """The attention of each query feature on its own tokens over epochs (their Figure 3)."""
    axis = "attention on the query's own feature"
    title = finding(
        sweeps,
        partial(evidence.final_attention, sweep="imbalanced", which=evidence.RARE_FEATURES),
        "Queries of rare features end with {} of their attention on their own feature",
        "how much attention rare features come to have",
    )
    return _per_feature(sweeps, "attention_concentration", title, axis, lambda part: part.attention_RKT)


def stage_times(sweeps: Sweeps) -> Figure:
    """When dominant, balanced and rare features converge in each run of the experiment with Adam."""
    name = "stage_times"
    title = finding(
        sweeps,
        evidence.speedup_of_dominant_under_adam,
        "Under Adam, balanced features take {} times as long to converge as a dominant one",
        "by how much a dominant feature is faster under Adam",
    )
    balanced, imbalanced = feature_curves(sweeps["balanced"].history), feature_curves(sweeps["imbalanced"].history)
    times = {
        DOMINANT: (imbalanced, never_as_inf(imbalanced.converged_RK[:, 0])),
        BALANCED: (balanced, median_feature_time_or_inf(balanced.converged_RK)),
        RARE: (imbalanced, median_feature_time_or_inf(imbalanced.converged_RK[:, 1:])),
    }
    runs: Rows = []
    medians: Rows = []
    missing = []
    for kind, (part, time_R) in times.items():
        runs += [{"kind": kind, "time": number(float(time))} for time in time_R if np.isfinite(time)]
        found = median_of_runs(time_R, part.runs)
        medians.append(
            {"kind": kind, "value": number(found.value), "low": number(found.low), "high": number(found.high)}
        )
        missing.append(f"{kind} {int(np.sum(~np.isfinite(time_R)))} of {len(time_R)}")
    y = alt.Y("kind:N", sort=list(times), title=None, scale=alt.Scale(domain=list(times)))
    scale = alt.Scale(domain=[0, max(sweeps[sweep].history.budget for sweep in ("balanced", "imbalanced"))])
    title_x = f"epoch from which the error is at most {SMALL_ERROR} for good"
    x = alt.X("time:Q", title=title_x, scale=scale)
    base = alt.Chart().encode(y=y, color=_colour(times))
    ticks = base.mark_tick(thickness=1.5, height=22, opacity=0.35).encode(x=x)
    points = points_with_intervals(base, title_x, along="x", scale=scale, mark={"size": 90}, stroke=2.5)
    chart = alt.layer(ticks.properties(data=data(runs)), points.properties(data=data(medians))).properties(
        width=560, height=alt.Step(40)
    )
    parts = [
        "Tick: a run, by the median of its features of that kind; circle and bar: median over runs with its 95% "
        "interval over seeds.",
        f"Not within the budget (by that median), and not drawn: {', '.join(missing)}.",
    ]
    lines = sweeps_caption(sweeps, ("balanced", "imbalanced"), *parts)
    return Figure(name, title, "Epoch of convergence by kind of feature, a tick per run.", finish(chart, title, lines))


def rare_feature_phases(sweeps: Sweeps) -> Figure:
    """The weights of rare features over training, with the ends of the phases that were found."""
    name = "rare_feature_phases"
    title = finding(
        sweeps,
        evidence.share_with_four_phases,
        "Under gradient descent, a share of {} of the rare features go through four phases",
        "which share of the rare features go through four phases",
    )
    history = sweeps["sampled"].history
    sizes = sizes_of(history)
    size = SHOWN_SIZE if SHOWN_SIZE in sizes else sizes[-1]
    descent, adam = feature_curves(history, size), feature_curves(sweeps["imbalanced"].history)
    panels = [
        _phase_panel(descent, f"gradient descent, {size} features", "time"),
        _phase_panel(adam, f"Adam, 300 prompts, {adam.num_features} features", "epoch"),
    ]
    chart = alt.hconcat(*panels, spacing=30)
    parts = [
        "Lines: weights averaged over rare features, mean over seeds with its 95% interval. Dashed: median ends of the "
        "phases, in order " + ", ".join(PHASE_NAMES) + ", of the features that show all four.",
        "Swap: A_k + B_k1 is lowest; taken over: it is back at its first value; grown: A_k is log K; converged: the "
        f"error is at most {SMALL_ERROR}.",
    ]
    lines = sweeps_caption(sweeps, ("sampled", "imbalanced"), *parts)
    return Figure(name, title, "Bilinear weights of rare features over training.", finish(chart, title, lines))


def times_by_size(sweeps: Sweeps) -> Figure:
    """Times of convergence and of the first phase against the number of features."""
    name = "times_by_size"
    title = finding(
        sweeps,
        evidence.growth_of_swap_time,
        "The first phase of rare features grows as the number of features to the power {}",
        "how the first phase of rare features grows with the number of features",
    )
    points = [row for kind, (sweep, time) in TIMES.items() for row in _points(sweeps, kind, sweep, time)]
    lines = _mean_field_rows(sweeps) if sweeps.has("mean_field") else []
    scale = alt.Scale(type="log", nice=False, padding=15)
    sizes = sorted({row["size"] for row in points + lines})
    x = alt.X("size:Q", title="number of features K (log)", scale=scale, axis=alt.Axis(values=sizes))
    title_y, scale_y = "time, steps x learning rate (log)", alt.Scale(type="log", nice=False, padding=10)
    y = alt.Y("value:Q", title=title_y, scale=scale_y)
    base = alt.Chart().encode(x=x, color=_colour(TIMES))
    layers = [
        base.mark_line(strokeWidth=1.5).encode(y=y).properties(data=data(lines)),
        points_with_intervals(base, title_y, scale=scale_y, mark={"size": 70}).properties(data=data(points)),
    ]
    chart = alt.layer(*layers).properties(width=420, height=320)
    names = list(dict.fromkeys([sweep for sweep, _ in TIMES.values()] + ["mean_field"] * bool(lines)))
    parts = [
        "Circles: median over seeds of gradient descent on sampled contexts, with its 95% interval over seeds; of "
        "several features, each run's median counts.",
        "Lines: gradient flow in the limit of long contexts, where nothing is random." if lines else "",
        "A point is missing where most runs did not get there within the budget.",
    ]
    caption = sweeps_caption(sweeps, names, *parts)
    return Figure(name, title, "Times of stages against the number of features.", finish(chart, title, caption))


def _per_feature(
    sweeps: Sweeps,
    name: str,
    title: str,
    axis: str,
    values: Callable[[FeatureCurves], Floats],
    scale: alt.Scale | None = None,
) -> Figure:
    rows: Rows = []
    for sweep in ("balanced", "imbalanced"):
        part = feature_curves(sweeps[sweep].history)
        for k in range(part.num_features):
            kind = BALANCED if sweep == "balanced" else (DOMINANT if k == 0 else RARE)
            labels = {"sweep": sweep, "feature": k + 1, "kind": kind}
            rows += curve_rows(values(part)[:, k], part.time_T, part.runs, **labels)
    x = alt.X("step:Q", title="epoch")
    layered = bands(x, axis, scale=scale, detail=("feature",), color=_colour((DOMINANT, BALANCED, RARE)))
    panel = alt.layer(*layered.layer, data=data(rows)).properties(width=300, height=240)
    chart = panel.facet(alt.Facet("sweep:N", title=None), columns=2)
    lines = sweeps_caption(sweeps, ("balanced", "imbalanced"), PER_FEATURE)
    return Figure(name, title, f"{axis.capitalize()} over epochs, a line per feature.", finish(chart, title, lines))


def _phase_panel(part: FeatureCurves, title: str, x_title: str) -> Any:
    own_RT = part.own_weight_RKT[:, 1:].mean(axis=1)
    first_RT = part.first_weight_RKT[:, 1:].mean(axis=1)
    weights = dict(zip(WEIGHT_COLOURS, (own_RT, first_RT, own_RT + first_RT), strict=True))
    rows = [row for kind, w_RT in weights.items() for row in curve_rows(w_RT, part.time_T, part.runs, weight=kind)]
    phases = part.rare_phases
    ends = (phases.swap_RK, phases.taken_over_RK, phases.grown_RK, phases.converged_RK)
    has_all = phases.has_all_RK
    marks = [{"step": float(np.median(end_RK[has_all]))} for end_RK in ends] if has_all.any() else []
    x = alt.X("step:Q", title=x_title)
    scale = alt.Scale(domain=list(WEIGHT_COLOURS), range=list(WEIGHT_COLOURS.values()))
    colour = alt.Color("weight:N", scale=scale, title="weight", legend=_LEGEND)
    lines = bands(x, "bilinear weight", color=colour)
    rules = alt.Chart(data(marks)).mark_rule(strokeDash=[4, 3], color=GREY).encode(x=x)
    text = f"{title}: all four in {int(has_all.sum())} of {has_all.size}"
    return alt.layer(alt.layer(*lines.layer, data=data(rows)), rules).properties(width=340, height=240, title=text)


def _points(sweeps: Sweeps, kind: str, sweep: str, time: Callable[[FeatureCurves], Floats]) -> Rows:
    history = sweeps[sweep].history
    rows: Rows = []
    for size in sizes_of(history):
        part = feature_curves(history, size)
        found = median_of_runs(time(part), part.runs)
        if np.isfinite(found.value):
            place = {"kind": kind, "size": size, "value": number(found.value)}
            rows.append(place | {"low": number(found.low), "high": number(found.high)})
    return rows


def _mean_field_rows(sweeps: Sweeps) -> Rows:
    history = sweeps["mean_field"].history
    rows: Rows = []
    for kind, (_, time) in TIMES.items():
        for size in sizes_of(history):
            part = feature_curves(history, size, is_balanced=kind == BALANCED)
            rows += [{"kind": kind, "size": size, "value": number(float(at))} for at in time(part) if np.isfinite(at)]
    return rows


def _colour(kinds: Collection[str]) -> alt.Color:
    domain = [kind for kind in FEATURE_COLOURS if kind in kinds]
    return alt.Color(
        "kind:N",
        scale=alt.Scale(domain=domain, range=[FEATURE_COLOURS[k] for k in domain]),
        title="feature",
        legend=_LEGEND,
    )
