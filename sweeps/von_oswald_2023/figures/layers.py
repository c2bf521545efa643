"""Figures of von Oswald et al. (2023): trained self-attention beside explicit gradient descent."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import altair as alt

from analysis.claims.sweeps import Sweeps, UndecidedError
from analysis.figures.claims import finding, median_rows, sweeps_caption
from analysis.figures.marks import points_with_intervals
from analysis.figures.style import Figure, Rows, data, finish, number
from analysis.uncertainty.estimates import median_of_runs
from sweeps.von_oswald_2023.evidence import one_layer as one_layer
from sweeps.von_oswald_2023.evidence.contexts import loss_ratio, shifts_alike
from sweeps.von_oswald_2023.figures.panels import (
    BETWEEN,
    GD,
    LEGEND_ABOVE,
    MEDIAN,
    MODEL_COLOURS,
    PLUS,
    TRAINED,
    figure_of,
    middle_rows,
    panel_of,
    point_of,
    points_of,
)
from sweeps.von_oswald_2023.measures import (
    at_end,
    closed_form_R,
    numbered,
    one_step_loss,
    recorded,
    runs_with,
    shifts_of,
)

LOSS_LABELS = {"trained_loss": TRAINED, "gd_loss": GD, "plus_loss": PLUS, "interpolated_loss": BETWEEN}
MULTI_LAYER_SWEEPS = ("two_layers_tied", "two_layers_untied", "five_layers_tied", "five_layers_untied")
SHIFT_LABELS = {
    "inputs": "inputs times this",
    "teachers": "teacher's weights times this",
    "normal": "normal inputs, norm of a context",
    "exponential": "exponential inputs, norm of a context",
    "laplace": "Laplace inputs, norm of a context",
    "noisy": "targets replaced by noise, of 10",
}
LABELS_OF_ONE_LAYER = SHIFT_LABELS | {"pairs": "pairs in the context, 10 in training"}


def training(sweeps: Sweeps) -> Figure:
    """Loss and likeness to one gradient step over training, one layer (their fig. 2)."""
    history = sweeps["one_layer"].history
    losses = {TRAINED: "label_loss", GD: "label_reference_loss", BETWEEN: "interpolated_loss"}
    rows = middle_rows(history, {kind: metric for kind, metric in losses.items() if metric in history.values})
    differences = {"of models": "gd_model_difference", "of predictions": "gd_prediction_difference"}
    scale = alt.Scale(domain=[0.19, 0.45], clamp=True)
    # Both end near 0, where only a logarithmic axis shows how near.
    log = alt.Scale(type="log", nice=False, padding=8)
    off_one_RT = 1 - recorded(history, "gd_alignment")
    angles = median_rows(off_one_RT, history.steps_T, history.runs, kind="of models")
    colours = {"of models": "#0072B2", "of predictions": "#E69F00"}
    panels = [
        panel_of(rows, "loss", MODEL_COLOURS, y_scale=scale, width=220, legend=LEGEND_ABOVE),
        panel_of(angles, "1 less the cosine (log)", colours, y_scale=log, width=180, legend=LEGEND_ABOVE),
        panel_of(
            middle_rows(history, differences), "difference (log)", colours, y_scale=log, width=180, legend=LEGEND_ABOVE
        ),
    ]
    num_late = int(sum(at_end(history, "label_excess") > 0.02))
    parts = [
        MEDIAN,
        f"Still on the plateau at the end: {num_late} of {len(history.runs)} runs. "
        "Model: the gradient of the prediction by the query's x, on 10,000 contexts, as loss and predictions. Gradient "
        "descent is one step of the best size. Interpolated: weights half-way between trained and constructed ones, "
        "which before training is far beyond the axis.",
    ]
    title = finding(
        sweeps,
        one_layer.final_loss,
        f"One trained layer ends at a loss of {{}}; one gradient step has {one_step_loss(history.runs[0]):.4f}",
        "the loss that one trained layer ends at",
    )
    return figure_of(sweeps, ["one_layer"], "training", title, panels, parts)


def context_lengths(sweeps: Sweeps) -> Figure:
    """Final loss against the number of pairs, beside the closed form of one step."""
    name = "context_lengths"
    title = finding(
        sweeps,
        one_layer.loss_by_context_length,
        "At other lengths of context, the loss of a layer is off that of one gradient step by {} of it",
        "the loss of a layer at other lengths of context",
    )
    rows: Rows = []
    closed: Rows = []
    for sweep in ("one_layer", "context_lengths"):
        if not sweeps.has(sweep):
            continue
        history = sweeps[sweep].history
        for num_pairs in sorted({run.hyperparameters["task.num_pairs"] for run in history.runs}):
            runs = runs_with(history, "task.num_pairs", num_pairs)
            surplus_R = at_end(runs, "label_loss") - at_end(runs, "label_reference_loss")
            floor = float(closed_form_R(one_step_loss, runs.runs)[0])
            found = median_of_runs(surplus_R + floor, runs.runs)
            place = {"pairs": num_pairs, "value": number(found.value)}
            rows.append(place | {"low": number(found.low), "high": number(found.high)})
            closed.append({"pairs": num_pairs, "value": number(floor)})
    if not rows:
        raise UndecidedError("no sweep of one layer is there")
    scale = alt.Scale(type="log", nice=False, padding=20)
    x = alt.X(
        "pairs:Q", title="pairs in the context (log)", scale=scale, axis=alt.Axis(values=[r["pairs"] for r in rows])
    )
    y_scale = alt.Scale(domainMin=0)
    line = alt.Chart(data(closed)).mark_line(color=MODEL_COLOURS[GD])
    base = alt.Chart(data(rows)).encode(x=x, color=alt.value(MODEL_COLOURS[TRAINED]))
    chart = alt.layer(
        line.encode(x=x, y=alt.Y("value:Q", title="loss", scale=y_scale)),
        points_with_intervals(base, "loss", scale=y_scale, mark={"size": 80}, stroke=3),
    ).properties(width=380, height=260)
    parts = [
        "Line: closed form of one gradient step of the best size. Circle: the closed form plus the median over runs "
        "of the difference between model and step on the same 10,000 contexts, with its 95% interval over seeds.",
    ]
    names = [sweep for sweep in ("one_layer", "context_lengths") if sweeps.has(sweep)]
    caption = sweeps_caption(sweeps, names, *parts)
    return Figure(name, title, "Loss of trained layers against the closed form.", finish(chart, title, caption))


def shifted_contexts(sweeps: Sweeps) -> Figure:
    """Losses of one trained layer on contexts from other distributions than those of training (their fig. 2 and A)."""
    title = finding(
        sweeps,
        partial(shifts_alike, sweep="one_layer", kinds=tuple(LABELS_OF_ONE_LAYER), theirs="gd_loss"),
        "Where they differ most, the loss of one layer is {} times that of one gradient step",
        "how far one layer and one gradient step differ on other contexts",
    )
    return _shifted(sweeps, "one_layer", "shifted_contexts", title, LABELS_OF_ONE_LAYER)


def shifted_contexts_of_layers(sweeps: Sweeps) -> Figure:
    """The same for two layers with one set of weights."""
    title = finding(
        sweeps,
        partial(shifts_alike, sweep="two_layers_tied", kinds=tuple(SHIFT_LABELS), theirs="plus_loss"),
        "Where they differ most, the loss of two layers is {} times that of two steps of GD++",
        "how far two layers and GD++ differ on other contexts",
    )
    return _shifted(sweeps, "two_layers_tied", "shifted_contexts_of_layers", title, SHIFT_LABELS)


def roll_out(sweeps: Sweeps) -> Figure:
    """One layer applied again and again, with damping, beside as many steps of gradient descent."""
    history = sweeps["one_layer"].history
    rows: Rows = []
    for kind, metric in ((TRAINED, "rolled_trained_loss"), (GD, "rolled_gd_loss")):
        for times, name in numbered(history, metric).items():
            rows.append(point_of(history, name, kind=kind, step=times))
    x = alt.X("step:Q", title="times applied (log)", scale=alt.Scale(type="log"))
    panel = points_of(rows, x, "loss", alt.Scale(domainMin=0), [TRAINED, GD])
    parts = ["Median over runs with its 95% interval over seeds; updates times .75, of the targets' entries alone."]
    title = finding(
        sweeps,
        one_layer.loss_after_50_times,
        f"Applied 50 times, a layer has a loss of {{}}; one gradient step has {one_step_loss(history.runs[0]):.4f}",
        "the loss of a layer that is applied 50 times",
    )
    return figure_of(sweeps, ["one_layer"], "roll_out", title, [panel], parts)


def layers(sweeps: Sweeps) -> Figure:
    """Loss, and cosine with GD and GD++, over training of two and five layers, tied and not (their fig. 3)."""
    names = [sweep for sweep in MULTI_LAYER_SWEEPS if sweeps.has(sweep)]
    if not names:
        raise UndecidedError("no sweep of several layers is there")
    columns = []
    for sweep in names:
        history = sweeps[sweep].history
        losses = middle_rows(history, {TRAINED: "trained_loss", GD: "gd_loss", PLUS: "plus_loss"})
        cosines = middle_rows(history, {GD: "steps_cosine", PLUS: "plus_cosine"})
        columns.append(
            alt.vconcat(
                panel_of(losses, "loss", MODEL_COLOURS, title=sweep.replace("_", " "), width=230, height=170),
                panel_of(cosines, "cosine of the models", MODEL_COLOURS, width=230, height=170),
            )
        )
    parts = [
        MEDIAN,
        "GD: as many steps of the best equal size; GD++: also curvatures, steps of their own where weights are not "
        "tied. Both are fitted to 10,000 other contexts.",
    ]
    ratios = {name: loss_ratio(sweeps, sweep=name, theirs="plus_loss") for name in names}
    worst = max(names, key=lambda name: ratios[name].estimate)
    title = finding(
        sweeps,
        lambda _: ratios[worst],
        f"At most (by {worst.replace('_', ' ')}), the loss is {{}} times that of as many steps of GD++",
        "how far several layers are from GD++",
    )
    chart = alt.concat(*columns, columns=2, spacing=24)
    caption = sweeps_caption(sweeps, names, *parts)
    return Figure("layers", title, "Loss and cosine over training of several layers.", finish(chart, title, caption))


def _shifted(sweeps: Sweeps, sweep: str, name: str, title: str, labels: Mapping[str, str]) -> Figure:
    history = sweeps[sweep].history
    who = {metric: kind for metric, kind in LOSS_LABELS.items() if f"{metric}/inputs/1" in history.values}
    panels = []
    for kind, x_title in labels.items():
        rows = [
            point_of(history, f"{metric}/{shift}", kind=person, step=size)
            for size, shift in shifts_of(history, kind).items()
            for metric, person in who.items()
        ]
        y_scale = alt.Scale(type="log", nice=False, padding=12)
        panel = points_of(rows, alt.X("step:Q", title=x_title), "loss (log)", y_scale, list(who.values()))
        panels.append(panel.properties(width=230, height=190))
    chart = alt.concat(*panels, columns=3, spacing=24)
    parts = [
        "Median over runs at the end of training, with its 95% interval over seeds; each run's 2,000 contexts are its "
        "own, and all predictors see the same.",
    ]
    caption = sweeps_caption(sweeps, [sweep], *parts)
    return Figure(name, title, "Losses under shifts of the distribution.", finish(chart, title, caption))
