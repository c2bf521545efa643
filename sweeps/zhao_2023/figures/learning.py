"""Figures on Zhao (2023): learning curves, phase changes, order of head formation, attention similarity."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import altair as alt
import numpy as np

from analysis.claims.sweeps import Sweeps, UndecidedError
from analysis.figures.claims import finding, sweeps_caption
from analysis.figures.marks import diagonal, points_with_intervals, thin_lines
from analysis.figures.style import (
    BROKEN_LABEL,
    LINE_END,
    OUTCOME_COLOURS,
    PREDICTOR_COLOURS,
    Figure,
    Rows,
    data,
    evenly,
    finish,
    number,
    outcome_colour,
)
from analysis.outcomes.outcomes import CONVERGED, OUTCOME_KINDS
from analysis.uncertainty.estimates import proportion_of_runs
from analysis.uncertainty.intervals import Estimate, short
from pipeline.store.history import History
from sweeps.zhao_2023 import evidence
from sweeps.zhao_2023.attention_maps.contrasts import AttentionContrasts
from sweeps.zhao_2023.measures import (
    OTHER_LEVELS,
    STAGE,
    converged,
    head_steps,
    order_by_own_rise,
    order_of_heads,
    outcomes_of,
    phase_changes,
    smooth_changes,
    unconverged,
)

SETTINGS = ("setting_a", "setting_b", "setting_c", "full_width", "pair_tokens")
MAX_RUNS_PER_PANEL, MAX_POINTS_PER_CURVE = 60, 110


def interval_row(estimate: Estimate, **fields: Any) -> dict[str, Any]:
    """A row with an estimate and its interval."""
    return fields | {"value": number(estimate.value), "low": number(estimate.low), "high": number(estimate.high)}


def intervals(rows: Rows, y: str, title: str, order: Sequence[str], colour: str | None = None) -> Any:
    """Points with 95% bars, one line of the panel for each value of `y`; `colour` tells several in a line apart."""
    base = alt.Chart(data(rows)).encode(
        y=alt.Y(
            f"{y}:N", sort=list(order), scale=alt.Scale(domain=list(order)), title=None, axis=alt.Axis(labelLimit=400)
        )
    )
    if colour is not None:
        names = list(dict.fromkeys(row[colour] for row in rows))
        scale = alt.Scale(domain=names, range=list(PREDICTOR_COLOURS[: len(names)]))
        base = base.encode(
            color=alt.Color(f"{colour}:N", scale=scale, title=colour), yOffset=alt.YOffset(f"{colour}:N", sort=names)
        )
    return points_with_intervals(base, title, along="x")


def point_colour(kinds: Iterable[str]) -> alt.Color:
    """Colour of points by outcome, with a legend of the kinds that occur."""
    found = set(kinds)
    present = [kind for kind in OUTCOME_KINDS if kind in found]
    scale = alt.Scale(domain=present, range=[OUTCOME_COLOURS[kind] for kind in present])
    return alt.Color("outcome:N", scale=scale, title="outcome")


def learning_curves(sweeps: Sweeps) -> Figure:
    """Test accuracy of runs over steps, by outcome, one panel per setting, with the share that converged."""
    present = [name for name in SETTINGS if sweeps.has(name)]
    if not present:
        raise UndecidedError(f"none of the sweeps {', '.join(SETTINGS)} is there")
    title = _shares_title({name: evidence.share_converged(sweeps, sweep=name).estimate for name in present})
    rows = [row for name in present for row in _curve_rows(name, sweeps[name].history)]
    x = alt.X("step:Q", title="step", axis=alt.Axis(tickCount=4))
    base = alt.Chart(data(rows)).encode(x=x, color=outcome_colour({row["outcome"] for row in rows}))
    y = alt.Y("accuracy:Q", title="test accuracy", scale=alt.Scale(domain=[0, 1]))
    lines = thin_lines(base, y).properties(width=250, height=160)
    order = list(dict.fromkeys(row["setting"] for row in rows))
    header = alt.Header(labelExpr=BROKEN_LABEL)
    chart = lines.facet(alt.Facet("setting:N", sort=order, title=None, header=header), columns=3).resolve_scale(
        x="independent"
    )
    parts = (
        f"At most {MAX_RUNS_PER_PANEL} runs of each are drawn, evenly sampled; shares with 95% intervals are of all."
    )
    finished = finish(chart, title, sweeps_caption(sweeps, present, parts))
    return Figure("learning_curves", title, "Accuracy of runs over steps, one panel per setting, by outcome.", finished)


def _shares_title(shares: Mapping[str, float]) -> str:
    """The least and the largest share of converged runs, of the sweeps that are drawn."""
    least, most = min(shares, key=lambda name: shares[name]), max(shares, key=lambda name: shares[name])
    if least == most:
        return f"Of the runs of {least}, a share of {short(shares[least])} converge"
    return f"From {short(shares[least])} of the runs of {least} to {short(shares[most])} of those of {most} converge"


def _curve_rows(name: str, history: History) -> Rows:
    outcomes = outcomes_of(history)
    found = proportion_of_runs(outcomes.is_kind_R(CONVERGED), history.runs)
    label = f"{name}{LINE_END}{outcomes.count(CONVERGED)} of {len(history.runs)} converged, {found.text()}"
    values_RT = history.values["label_accuracy"]
    recorded = np.flatnonzero(~np.all(np.isnan(values_RT), axis=0))
    return [
        {
            "setting": label,
            "run": f"{name} {r}",
            "outcome": str(outcomes.kind_R[r]),
            "step": int(history.steps_T[t]),
            "accuracy": number(values_RT[r, t]),
        }
        for r in evenly(len(history.runs), MAX_RUNS_PER_PANEL)
        for t in recorded[evenly(len(recorded), MAX_POINTS_PER_CURVE)]
        if np.isfinite(values_RT[r, t])
    ]


def phase_change(sweeps: Sweeps) -> Figure:
    """Where each run's largest change is and how wide, and in how many runs and smooth curves it is abrupt."""
    title = finding(
        sweeps,
        partial(evidence.share_of_abrupt_runs, sweep="setting_a"),
        "Of the converged runs of setting A, a share of {} change abruptly",
        "which share of the converged runs change abruptly",
    )
    present = [name for name in SETTINGS[:3] if name == SETTINGS[0] or sweeps.has(name)]
    points: Rows = []
    shares: Rows = []
    for name in present:
        history = sweeps[name].history
        groups = {"converged": converged(history), "unconverged": unconverged(history)}
        found = {kind: phase_changes(group) for kind, group in groups.items() if len(group.runs)}
        for kind, changes in found.items():
            points += [
                {"sweep": name, "outcome": kind, "location": number(at), "width": number(width)}
                for at, width in zip(changes.location_R, changes.width_R, strict=True)
                if np.isfinite(at)
            ]
        if len(groups["converged"].runs):
            found["smooth surrogates of converged"] = smooth_changes(groups["converged"])
        for kind, changes in found.items():
            runs = groups.get(kind, groups["converged"]).runs
            label = f"{name}, {kind} (n={len(runs)})"
            shares.append(interval_row(proportion_of_runs(changes.is_abrupt_R, runs), group=label))
    scatter = (
        alt.Chart(data(points))
        .mark_circle(opacity=0.5, size=26)
        .encode(
            x=alt.X("location:Q", title="step at the middle of the change"),
            y=alt.Y(
                "width:Q", title="steps from 10% to 90% (log)", scale=alt.Scale(type="log", nice=False, padding=10)
            ),
            color=point_colour(str(row["outcome"]) for row in points),
        )
        .properties(width=230, height=220)
        .facet(alt.Facet("sweep:N", title=None), columns=3)
    )
    order = [row["group"] for row in shares]
    panel = intervals(shares, "group", "share with an abrupt change", order).properties(
        width=520, height=24 * len(order)
    )
    parts = (
        "Change points of the excess loss. Abrupt: 10% to 90% within a fifth of the budget and a factor of 2 in steps, "
        "over half of the way, and a sharp curve far better than any smooth one. Not shown above: changes over less "
        "than half of the way. Bars: 95%."
    )
    chart = finish(alt.vconcat(scatter, panel, spacing=30), title, sweeps_caption(sweeps, present, parts))
    return Figure("phase_change", title, "Step and width of each run's largest change; shares that are abrupt.", chart)


def head_order(sweeps: Sweeps) -> Figure:
    """The step at which each head forms, run by run, and which comes first at several thresholds."""
    title = finding(
        sweeps,
        evidence.share_with_previous_token_first,
        "In a share of {} of the runs, the previous-token head forms before the induction head",
        "which head forms first",
    )
    sweep = sweeps["setting_a"]
    history, outcomes = sweep.history, outcomes_of(sweep.history)
    steps = head_steps(history)
    points = [
        {"outcome": str(kind), "previous": number(previous), "induction": number(induction)}
        for kind, previous, induction in zip(outcomes.kind_R, steps.previous_token_R, steps.induction_R, strict=True)
        if np.isfinite(previous) and np.isfinite(induction)
    ]
    rows: Rows = []
    orders = {f"{level:g}": order_of_heads(history, level) for level in sorted((STAGE, *OTHER_LEVELS))}
    for threshold, order in (orders | {"half of own rise": order_by_own_rise(history)}).items():
        shares = {"previous-token first": order.first, "tied": order.tied, "induction first": order.second}
        rows += [interval_row(found, which=which, threshold=threshold) for which, found in shares.items()]
    x = alt.X("previous:Q", title="step at which the previous-token head forms")
    y = alt.Y("induction:Q", title="step at which the induction head forms")
    equal = diagonal(x, y, 0, history.budget)
    dots = alt.Chart(data(points)).mark_circle(opacity=0.5, size=26)
    dots = dots.encode(x=x, y=y, color=point_colour(str(row["outcome"]) for row in points))
    names = ["previous-token first", "tied", "induction first"]
    panel = intervals(rows, "which", "share of the runs that form a head", names, "threshold")
    chart = alt.hconcat(
        alt.layer(equal, dots).properties(width=300, height=300), panel.properties(width=260, height=200), spacing=40
    ).resolve_scale(color="independent")
    parts = (
        f"Formed: the score stays at {STAGE:g} or above from there on (left). {len(points)} of {len(history.runs)} "
        "runs form both. Own rise: from a score's first value to its last, converged runs alone. Bars: 95% over runs."
    )
    text = "Step at which each head forms, one point per run, and the shares of either order."
    return Figure("head_order", title, text, finish(chart, title, sweeps_caption(sweeps, ["setting_a"], parts)))


def attention(sweeps: Sweeps) -> Figure:
    """Similarity of attention maps of pairs of runs, in five situations."""
    sweep = sweeps["setting_a"]
    found = AttentionContrasts(sweep)
    contrasts = {
        "positions renamed": found.of_permuted(),
        "unconverged": found.of_unconverged(),
        "same runs, step 0": found.of_init(),
        "same runs, plateau": found.of_matched_loss(),
    }
    rows: Rows = []
    for cut in ("layer1", "layer2"):
        name = "layer 1, all queries" if cut == "layer1" else "layer 2, last query"
        first = getattr(contrasts["positions renamed"], cut)
        label = f"converged (n={first.num_runs[0]})"
        rows.append(interval_row(first.first, situation=label, cut=name))
        for what, each in contrasts.items():
            of_cut = getattr(each, cut)
            rows.append(interval_row(of_cut.second, situation=f"{what} (n={of_cut.num_runs[1]})", cut=name))
    excess = contrasts["positions renamed"].both.difference
    title = f"Maps of two runs have a cosine that is {excess.concise()} above that with positions renamed"
    order = list(dict.fromkeys(row["situation"] for row in rows))
    title_x = "mean cosine of attention maps of two runs"
    panel = intervals(rows, "situation", title_x, order, "cut").properties(width=480, height=44 * len(order))
    parts = (
        "The same sequences for all runs; rows less their mean over the keys that a query sees. Bars: 95% over runs."
    )
    return Figure(
        "attention",
        title,
        "Similarity of maps between runs.",
        finish(panel, title, sweeps_caption(sweeps, ["setting_a"], parts)),
    )
