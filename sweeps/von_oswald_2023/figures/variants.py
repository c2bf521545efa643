"""Figures of von Oswald et al. (2023) on heads, fixed tasks, softmax, separate tokens and sine waves."""

from __future__ import annotations

from functools import partial

import altair as alt
import numpy as np

from analysis.claims.sweeps import Sweeps
from analysis.figures.claims import curve_rows, finding, median_rows
from analysis.figures.marks import thin_lines
from analysis.figures.style import Figure, Rows, data, evenly, number
from analysis.outcomes.incidence import Incidence, incidence
from analysis.outcomes.outcomes import decide_outcomes
from sweeps.von_oswald_2023.evidence import variants as variants
from sweeps.von_oswald_2023.figures.panels import (
    GD,
    MEAN,
    MEDIAN,
    MODEL_COLOURS,
    TRAINED,
    colours_of,
    figure_of,
    levels,
    mean_rows,
    panel_of,
)
from sweeps.von_oswald_2023.measures import LEFT_PLATEAU, recorded, runs_with

SHADES = ("#56B4E9", "#0072B2", "#009E73", "#D55E00")
MAX_CURVES = 40


def plateaus(sweeps: Sweeps) -> Figure:
    """How many runs of one head and of two have left the plateau by each step (their A.11)."""
    history = sweeps["heads"].history
    lines: Rows = []
    shares: Rows = []
    colours = {"1 head": "#D55E00", "2 heads": "#0072B2"}
    for heads, kind in ((1, "1 head"), (2, "2 heads")):
        runs = runs_with(history, "model.num_heads", heads)
        excess_RT, recorded_T = (
            recorded(runs, "label_excess"),
            ~np.all(np.isnan(recorded(runs, "label_excess")), axis=0),
        )
        columns = np.flatnonzero(recorded_T)[evenly(int(recorded_T.sum()), 60)]
        for r in evenly(len(runs.runs), MAX_CURVES):
            for t in columns:
                place = {"kind": kind, "run": r, "step": int(runs.steps_T[t])}
                lines.append(place | {"value": number(float(excess_RT[r, t]))})
        found = incidence(decide_outcomes(runs, LEFT_PLATEAU), runs.runs)
        shares += _stairs(found, runs.budget, kind)
    x = alt.X("step:Q", title="step")
    scale = alt.Scale(domain=[-0.05, 1.1], clamp=True)
    base = alt.Chart(data(lines)).encode(x=x, color=colours_of(colours))
    curves = thin_lines(base, alt.Y("value:Q", title="excess loss", scale=scale))
    panels = [
        curves.properties(width=400, height=260),
        panel_of(shares, "share of runs that left the plateau", colours, width=300, height=260),
    ]
    parts = [
        f"Left: of each kind {MAX_CURVES} runs at most; excess 1 is the zero prediction, 0 one gradient step. Right: "
        "share of runs by the step from which the excess is at most .5 at two evaluations, 95% band over seeds.",
    ]
    title = finding(
        sweeps,
        variants.time_with_two_heads,
        "Two heads leave the plateau in {} of the steps that one head takes on the same seed",
        "whether two heads leave the plateau earlier",
    )
    return figure_of(sweeps, ["heads"], "plateaus", title, panels, parts)


def _stairs(found: Incidence, budget: int, kind: str) -> Rows:
    """Shares that change at the step at which a run leaves, to the end of the budget."""
    rows: Rows = []
    before: dict[str, float | None] = {"value": 0.0, "low": 0.0, "high": 0.0}
    for t, step in enumerate(found.steps_T):
        arrays = {"value": found.converged_T, "low": found.low_T, "high": found.high_T}
        now = {name: number(float(share_T[t])) for name, share_T in arrays.items()}
        rows += [{"kind": kind, "step": float(step)} | values for values in (before, now)]
        before = now
    return [*rows, {"kind": kind, "step": float(budget)} | before]


def fixed_tasks(sweeps: Sweeps) -> Figure:
    """Loss on new contexts of layers that were trained on few ones."""
    history = sweeps["fixed_tasks"].history
    rows: Rows = []
    colours = {}
    for shade, batches in zip(
        SHADES, sorted({run.hyperparameters["task.num_batches"] for run in history.runs}), strict=False
    ):
        runs = runs_with(history, "task.num_batches", batches)
        kind = f"{batches * runs.runs[0].hyperparameters['batch_size']} tasks"
        colours[kind] = shade
        rows += curve_rows(recorded(runs, "label_loss"), runs.steps_T, runs.runs, kind=kind)
    panel = panel_of(rows, "loss on new contexts (log)", colours, y_scale=alt.Scale(type="log", nice=False, padding=12))
    title = finding(
        sweeps,
        partial(variants.excess_of_fixed_tasks, num_tasks=8192),
        "Trained on 8192 fixed tasks, a layer has an excess loss of {} on new ones",
        "the loss on new tasks of a layer that was trained on 8192",
    )
    return figure_of(sweeps, ["fixed_tasks"], "fixed_tasks", title, [panel], [MEAN, levels(history)])


def mlp_block(sweeps: Sweeps) -> Figure:
    """Loss on the 8192 training tasks and on new ones, a layer followed by an MLP."""
    history = sweeps["mlp_block"].history
    rows = mean_rows(history, {"training tasks": "train_loss", "new tasks": "label_loss"})
    colours = {"training tasks": "#E69F00", "new tasks": "#0072B2"}
    title = finding(
        sweeps,
        variants.delay_of_generalisation,
        "New tasks are half learned {} times as late as the 8192 training tasks",
        "how much later than training tasks new ones are learned",
    )
    return figure_of(
        sweeps, ["mlp_block"], "mlp_block", title, [panel_of(rows, "loss", colours)], [MEAN, levels(history)]
    )


def softmax(sweeps: Sweeps) -> Figure:
    """Loss and cosine with one gradient step over training, softmax with one head and with two."""
    history = sweeps["softmax"].history
    colours = {"1 head": "#D55E00", "2 heads": "#0072B2"}
    rows: dict[str, Rows] = {"label_loss": [], "gd_alignment": []}
    for heads, kind in ((1, "1 head"), (2, "2 heads")):
        runs = runs_with(history, "model.num_heads", heads)
        for metric, found in rows.items():
            found += median_rows(recorded(runs, metric), runs.steps_T, runs.runs, kind=kind)
    panels = [
        panel_of(rows["label_loss"], "loss", colours),
        panel_of(rows["gd_alignment"], "cosine of the models", colours),
    ]
    title = finding(
        sweeps,
        variants.excess_of_two_softmax_heads,
        "Softmax with two heads has an excess loss of {} over one gradient step; predicting zero has 1",
        "how near softmax with two heads comes to one gradient step",
    )
    return figure_of(sweeps, ["softmax"], "softmax", title, panels, [MEDIAN, levels(history)])


def copying(sweeps: Sweeps) -> Figure:
    """Loss of each run on separate tokens, and what the first layer's output depends on (their fig. 5)."""
    history = sweeps["separate_tokens"].history
    colours = {"own token": "#666666", "next token": "#0072B2", "other tokens": "#D55E00"}
    rows = mean_rows(history, {kind: f"{kind.partition(' ')[0]}_token_sensitivity" for kind in colours})
    losses_RT = recorded(history, "label_loss")
    lines = [
        {"run": r, "step": int(history.steps_T[t]), "value": number(float(losses_RT[r, t]))}
        for r in evenly(len(history.runs), MAX_CURVES)
        for t in np.flatnonzero(np.isfinite(losses_RT[r]))
    ]
    base = alt.Chart(data(lines)).encode(x=alt.X("step:Q", title="step"), color=alt.value(MODEL_COLOURS[TRAINED]))
    curves = thin_lines(base, alt.Y("value:Q", title="loss", scale=alt.Scale(domainMin=0)))
    panels = [curves.properties(width=340, height=240), panel_of(rows, "sensitivity of the first layer", colours)]
    parts = ["Left: a line per run. Right: mean over runs with its 95% interval over seeds.", levels(history)]
    title = finding(
        sweeps,
        variants.share_of_jumps_on_separate_tokens,
        "Of the runs that learn with separate tokens, a share of {} do so by a jump",
        "whether runs with separate tokens learn by a jump",
    )
    return figure_of(sweeps, ["separate_tokens"], "copying", title, panels, parts)


def sine(sweeps: Sweeps) -> Figure:
    """Loss on sine waves: a trained layer, and a gradient step, on meta-trained embeddings (their fig. 4)."""
    history = sweeps["sine"].history
    rows: Rows = []
    for attention, kind in (("trained", TRAINED), ("gradient_step", GD)):
        runs = runs_with(history, "model.attention", attention)
        rows += curve_rows(recorded(runs, "label_loss"), runs.steps_T, runs.runs, kind=kind)
    panel = panel_of(
        rows, "loss (log)", {kind: MODEL_COLOURS[kind] for kind in (TRAINED, GD)}, y_scale=alt.Scale(type="log")
    )
    parts = [MEAN, "Both embeddings are trained; the gradient step's own weights are fixed."]
    title = finding(
        sweeps,
        variants.loss_on_sine_waves,
        "On sine waves, the loss of a trained layer is {} times that of a gradient step",
        "whether a trained layer matches a gradient step on sine waves",
    )
    return figure_of(sweeps, ["sine"], "sine", title, [panel], parts)
