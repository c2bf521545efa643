"""Figures of von Oswald et al. (2023): trained self-attention beside explicit gradient descent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import altair as alt
import numpy as np

from analysis.averages import median_of_runs
from analysis.claim_sweeps import Sweeps, UndecidedError
from analysis.incidence import incidence
from analysis.outcomes import decide
from analysis.papers.von_oswald_2023_measures import (
    LEFT,
    at_end,
    of_runs,
    one_step_loss,
    part,
    recorded,
    shifts_of,
    zero_loss,
)
from analysis.plot_claims import bands, curve_rows, sweeps_caption
from analysis.plot_style import Figure, Rows, data, evenly, finish, number
from pipeline.history import History

TRAINED, GD, PLUS, BETWEEN = "trained", "gradient descent", "GD++", "interpolated"
COLOURS = {TRAINED: "#0072B2", GD: "#D55E00", PLUS: "#009E73", BETWEEN: "#8C5FBF"}
WHO = {"trained_loss": TRAINED, "gd_loss": GD, "plus_loss": PLUS, "interpolated_loss": BETWEEN}
SHADES = ("#56B4E9", "#0072B2", "#009E73", "#D55E00")
LAYERS = ("two_layers_tied", "two_layers_untied", "five_layers_tied", "five_layers_untied")
KINDS = {
    "inputs": "inputs times this",
    "teachers": "weights times this",
    "normal": "normal inputs, norm of a context's",
    "exponential": "exponential inputs, norm of a context's",
    "laplace": "Laplace inputs, norm of a context's",
    "noisy": "targets replaced by noise, of 10",
}
MEAN = "Mean over runs with its 95% interval over seeds."
MOST_LINES = 40


def training(sweeps: Sweeps) -> Figure:
    """Loss and likeness to one gradient step over training, one layer (their fig. 2)."""
    history = sweeps["one_layer"].history
    losses = {TRAINED: "label_loss", GD: "label_reference_loss", BETWEEN: "interpolated_loss"}
    rows = _rows(history, {kind: metric for kind, metric in losses.items() if metric in history.values})
    differences = _rows(history, {"of models": "gd_model_difference", "of predictions": "gd_prediction_difference"})
    panels = [
        _panel(rows, "loss", COLOURS),
        _panel(_rows(history, {"of models": "gd_alignment"}), "cosine of the models", {"of models": "#0072B2"}),
        _panel(differences, "difference", {"of models": "#0072B2", "of predictions": "#E69F00"}),
    ]
    parts = [
        MEAN,
        "Model: the gradient of the prediction by the query's x, on 10,000 contexts, as loss and predictions. Gradient "
        "descent is one step of the best size. Interpolated: weights half-way between trained and constructed ones.",
    ]
    return _figure(
        sweeps, ["one_layer"], "training", "One trained layer and one step of gradient descent", panels, parts
    )


def context_lengths(sweeps: Sweeps) -> Figure:
    """Final loss against the number of pairs, beside the closed form of one step."""
    name, title = "context_lengths", "One layer and one step, by length of the context"
    rows: Rows = []
    closed: Rows = []
    for sweep in ("one_layer", "context_lengths"):
        if not sweeps.has(sweep):
            continue
        history = sweeps[sweep].history
        for num_pairs in sorted({run.hyperparameters["task.num_pairs"] for run in history.runs}):
            runs = part(history, "task.num_pairs", num_pairs)
            surplus_R = at_end(runs, "label_loss") - at_end(runs, "label_reference_loss")
            floor = float(of_runs(one_step_loss, runs.runs)[0])
            found = median_of_runs(surplus_R + floor, runs.runs)
            place = {"pairs": num_pairs, "value": number(found.value)}
            rows.append(place | {"low": number(found.low), "high": number(found.high)})
            closed.append({"pairs": num_pairs, "value": number(floor)})
    scale = alt.Scale(type="log", nice=False, padding=20)
    x = alt.X(
        "pairs:Q", title="pairs in the context (log)", scale=scale, axis=alt.Axis(values=[r["pairs"] for r in rows])
    )
    y = alt.Y("value:Q", title="loss", scale=alt.Scale(domainMin=0))
    bars = alt.Chart(data(rows)).mark_rule(strokeWidth=3, color=COLOURS[TRAINED])
    chart = alt.layer(
        alt.Chart(data(closed)).mark_line(color=COLOURS[GD]).encode(x=x, y=y),
        bars.encode(x=x, y=alt.Y("low:Q", title=y.title), y2="high:Q"),
        alt.Chart(data(rows)).mark_circle(size=80, opacity=1, color=COLOURS[TRAINED]).encode(x=x, y=y),
    ).properties(width=380, height=260)
    parts = [
        "Line: closed form of one gradient step of the best size. Circle: the closed form plus the median over runs of the "
        "difference between model and step on the same 10,000 contexts, with its 95% interval over seeds.",
    ]
    names = [sweep for sweep in ("one_layer", "context_lengths") if sweeps.has(sweep)]
    caption = sweeps_caption(sweeps, names, *parts)
    return Figure(name, title, "Loss of trained layers against the closed form.", finish(chart, title, caption))


def shifted_contexts(sweeps: Sweeps) -> Figure:
    """Losses of one trained layer on contexts from other distributions than those of training (their fig. 2 and A)."""
    return _shifted(sweeps, "one_layer", "shifted_contexts", "One layer on contexts unlike those of training")


def shifted_contexts_of_layers(sweeps: Sweeps) -> Figure:
    """The same for two layers with one set of weights."""
    title = "Two layers on contexts unlike those of training"
    return _shifted(sweeps, "two_layers_tied", "shifted_contexts_of_layers", title)


def roll_out(sweeps: Sweeps) -> Figure:
    """One layer applied again and again, with damping, beside as many steps of gradient descent."""
    history = sweeps["one_layer"].history
    rows: Rows = []
    for kind, metric in ((TRAINED, "rolled_trained_loss"), (GD, "rolled_gd_loss")):
        for times, name in _numbered(history, metric).items():
            rows.append(_point(history, name, kind=kind, step=times))
    x = alt.X("step:Q", title="times applied (log)", scale=alt.Scale(type="log"))
    panel = _points(rows, x, alt.Y("value:Q", title="loss", scale=alt.Scale(domainMin=0)), _colour([TRAINED, GD]))
    parts = ["Median over runs with its 95% interval over seeds; updates times .75, of the targets' entries alone."]
    return _figure(sweeps, ["one_layer"], "roll_out", "A layer applied again descends again", [panel], parts)


def layers(sweeps: Sweeps) -> Figure:
    """Loss, and cosine with GD and GD++, over training of two and five layers, tied and not (their fig. 3)."""
    names = [sweep for sweep in LAYERS if sweeps.has(sweep)]
    if not names:
        raise UndecidedError("no sweep of several layers is there")
    columns = []
    for sweep in names:
        history = sweeps[sweep].history
        losses = _rows(history, {TRAINED: "trained_loss", GD: "gd_loss", PLUS: "plus_loss"})
        cosines = _rows(history, {GD: "steps_cosine", PLUS: "plus_cosine"})
        columns.append(
            alt.vconcat(
                _panel(losses, "loss", COLOURS, title=sweep.replace("_", " "), width=230, height=170),
                _panel(cosines, "cosine of the models", COLOURS, width=230, height=170),
            )
        )
    parts = [
        MEAN,
        "GD: as many steps of the best equal size; GD++: also curvatures, steps of their own where weights are not tied. "
        "Both are fitted to 10,000 other contexts.",
    ]
    title = "Several layers, gradient descent and GD++"
    chart = alt.hconcat(*columns, spacing=24)
    caption = sweeps_caption(sweeps, names, *parts)
    return Figure("layers", title, "Loss and cosine over training of several layers.", finish(chart, title, caption))


def plateaus(sweeps: Sweeps) -> Figure:
    """How many runs of one head and of two have left the plateau by each step (their A.11)."""
    history = sweeps["heads"].history
    lines: Rows = []
    shares: Rows = []
    colours = {"1 head": "#D55E00", "2 heads": "#0072B2"}
    for heads, kind in ((1, "1 head"), (2, "2 heads")):
        runs = part(history, "model.num_heads", heads)
        excess_RT, recorded_T = (
            recorded(runs, "label_excess"),
            ~np.all(np.isnan(recorded(runs, "label_excess")), axis=0),
        )
        columns = np.flatnonzero(recorded_T)[evenly(int(recorded_T.sum()), 60)]
        for r in evenly(len(runs.runs), MOST_LINES):
            for t in columns:
                place = {"kind": kind, "run": r, "step": int(runs.steps_T[t])}
                lines.append(place | {"value": number(float(excess_RT[r, t]))})
        found = incidence(decide(runs, LEFT), runs.runs)
        for t, step in enumerate(found.steps_T):
            place = {"kind": kind, "step": float(step), "value": number(float(found.converged_T[t]))}
            shares.append(place | {"low": number(float(found.low_T[t])), "high": number(float(found.high_T[t]))})
    x = alt.X("step:Q", title="step")
    scale = alt.Scale(domain=[-0.05, 1.1], clamp=True)
    curves = (
        alt.Chart(data(lines))
        .mark_line(strokeWidth=0.8, opacity=0.35)
        .encode(x=x, y=alt.Y("value:Q", title="excess loss", scale=scale), detail="run:N", color=_of(colours))
    )
    panels = [
        curves.properties(width=400, height=260),
        _panel(shares, "share of runs that left the plateau", colours, width=300, height=260),
    ]
    parts = [
        f"Left: of each kind {MOST_LINES} runs at most; excess 1 is the zero prediction, 0 one gradient step. Right: "
        f"share of runs by the step at which {LEFT}, 95% band over seeds.",
    ]
    return _figure(sweeps, ["heads"], "plateaus", "Plateaus with one head and with two", panels, parts)


def fixed_tasks(sweeps: Sweeps) -> Figure:
    """Loss on new contexts of layers that were trained on few ones."""
    history = sweeps["fixed_tasks"].history
    rows: Rows = []
    colours = {}
    for shade, batches in zip(
        SHADES, sorted({run.hyperparameters["task.num_batches"] for run in history.runs}), strict=False
    ):
        runs = part(history, "task.num_batches", batches)
        kind = f"{batches * runs.runs[0].hyperparameters['batch_size']} tasks"
        colours[kind] = shade
        rows += curve_rows(recorded(runs, "label_loss"), runs.steps_T, runs.runs, kind=kind)
    panel = _panel(rows, "loss on new contexts", colours)
    title = "One layer trained on a fixed set of tasks"
    return _figure(sweeps, ["fixed_tasks"], "fixed_tasks", title, [panel], [MEAN, _levels(history)])


def mlp_block(sweeps: Sweeps) -> Figure:
    """Loss on the 8192 training tasks and on new ones, a layer followed by an MLP."""
    history = sweeps["mlp_block"].history
    rows = _rows(history, {"training tasks": "train_loss", "new tasks": "label_loss"})
    colours = {"training tasks": "#E69F00", "new tasks": "#0072B2"}
    title = "Self-attention and an MLP on 8192 fixed tasks"
    return _figure(sweeps, ["mlp_block"], "mlp_block", title, [_panel(rows, "loss", colours)], [MEAN, _levels(history)])


def softmax(sweeps: Sweeps) -> Figure:
    """Loss and cosine with one gradient step over training, softmax with one head and with two."""
    history = sweeps["softmax"].history
    colours = {"1 head": "#D55E00", "2 heads": "#0072B2"}
    rows: dict[str, Rows] = {"label_loss": [], "gd_alignment": []}
    for heads, kind in ((1, "1 head"), (2, "2 heads")):
        runs = part(history, "model.num_heads", heads)
        for metric, found in rows.items():
            found += curve_rows(recorded(runs, metric), runs.steps_T, runs.runs, kind=kind)
    panels = [
        _panel(rows["label_loss"], "loss", colours),
        _panel(rows["gd_alignment"], "cosine of the models", colours),
    ]
    title = "Softmax self-attention with one head and with two"
    return _figure(sweeps, ["softmax"], "softmax", title, panels, [MEAN, _levels(history)])


def copying(sweeps: Sweeps) -> Figure:
    """Loss of each run on separate tokens, and what the first layer's output depends on (their fig. 5)."""
    history = sweeps["separate_tokens"].history
    colours = {"own token": "#666666", "next token": "#0072B2", "other tokens": "#D55E00"}
    rows = _rows(history, {kind: f"{kind.partition(' ')[0]}_token_sensitivity" for kind in colours})
    losses_RT = recorded(history, "label_loss")
    lines = [
        {"run": r, "step": int(history.steps_T[t]), "value": number(float(losses_RT[r, t]))}
        for r in evenly(len(history.runs), MOST_LINES)
        for t in np.flatnonzero(np.isfinite(losses_RT[r]))
    ]
    curves = (
        alt.Chart(data(lines))
        .mark_line(strokeWidth=1, opacity=0.6, color=COLOURS[TRAINED])
        .encode(
            x=alt.X("step:Q", title="step"),
            y=alt.Y("value:Q", title="loss", scale=alt.Scale(domainMin=0)),
            detail="run:N",
        )
    )
    panels = [curves.properties(width=340, height=240), _panel(rows, "sensitivity of the first layer", colours)]
    parts = ["Left: a line per run. Right: mean over runs with its 95% interval over seeds.", _levels(history)]
    return _figure(
        sweeps, ["separate_tokens"], "copying", "Separate tokens: copying, then gradient descent", panels, parts
    )


def sine(sweeps: Sweeps) -> Figure:
    """Loss on sine waves: a trained layer, and a gradient step, on meta-trained embeddings (their fig. 4)."""
    history = sweeps["sine"].history
    rows: Rows = []
    for attention, kind in (("trained", TRAINED), ("gradient_step", GD)):
        runs = part(history, "model.attention", attention)
        rows += curve_rows(recorded(runs, "label_loss"), runs.steps_T, runs.runs, kind=kind)
    panel = _panel(rows, "loss (log)", {kind: COLOURS[kind] for kind in (TRAINED, GD)}, is_log=True)
    parts = [MEAN, "Both embeddings are trained; the gradient step's own weights are fixed."]
    return _figure(sweeps, ["sine"], "sine", "Sine waves: a trained layer and a gradient step", [panel], parts)


def _shifted(sweeps: Sweeps, sweep: str, name: str, title: str) -> Figure:
    history = sweeps[sweep].history
    who = {metric: kind for metric, kind in WHO.items() if f"{metric}/inputs/1" in history.values}
    panels = []
    for kind, x_title in KINDS.items():
        rows = [
            _point(history, f"{metric}/{shift}", kind=person, step=size)
            for size, shift in shifts_of(history, kind).items()
            for metric, person in who.items()
        ]
        y = alt.Y("value:Q", title="loss (log)", scale=alt.Scale(type="log"))
        panel = _points(rows, alt.X("step:Q", title=x_title), y, _colour(list(who.values())))
        panels.append(panel.properties(width=230, height=190))
    chart = alt.concat(*panels, columns=3, spacing=24)
    parts = [
        "Median over runs at the end of training, with its 95% interval over seeds; each run's 2,000 contexts are its own, "
        "and all predictors see the same.",
    ]
    caption = sweeps_caption(sweeps, [sweep], *parts)
    return Figure(name, title, "Losses under shifts of the distribution.", finish(chart, title, caption))


def _figure(
    sweeps: Sweeps, names: Sequence[str], name: str, title: str, panels: list[alt.Chart], parts: list[str]
) -> Figure:
    chart = alt.hconcat(*panels, spacing=30).resolve_scale(color="independent")
    return Figure(name, title, f"{title}.", finish(chart, title, sweeps_caption(sweeps, names, *parts)))


def _rows(history: History, metrics: Mapping[str, str]) -> Rows:
    """Rows of a mean curve for each kind, from a metric of the history."""
    found: Rows = []
    for kind, metric in metrics.items():
        found += curve_rows(recorded(history, metric), history.steps_T, history.runs, kind=kind)
    return found


def _panel(
    rows: Rows, y_title: str, colours: Mapping[str, str], *, title: str = "", width: int = 320, height: int = 240,
    is_log: bool = False,
) -> alt.LayerChart:  # fmt: skip
    scale = alt.Scale(type="log") if is_log else alt.Scale(zero=False)
    present = {row["kind"] for row in rows}
    kinds = [kind for kind in colours if kind in present]
    colour = alt.Color("kind:N", scale=alt.Scale(domain=kinds, range=[colours[kind] for kind in kinds]), title=None)
    layered = bands(alt.X("step:Q", title="step"), alt.Y("value:Q", title=y_title, scale=scale), color=colour)
    panel = alt.layer(*layered.layer, data=data(rows)).properties(width=width, height=height)
    return panel.properties(title=title) if title else panel


def _points(rows: Rows, x: alt.X, y: alt.Y, colour: alt.Color) -> alt.LayerChart:
    base = alt.Chart(data(rows)).encode(x=x, color=colour)
    bars = base.mark_rule(strokeWidth=2).encode(y=alt.Y("low:Q", title=y.title, scale=y.scale), y2="high:Q")
    return alt.layer(
        base.mark_line(strokeWidth=1.2).encode(y=y),
        bars.transform_filter("isValid(datum.low)"),
        base.mark_circle(size=50, opacity=1).encode(y=y),
    ).properties(width=340, height=240)


def _point(history: History, metric: str, **labels: object) -> dict[str, object]:
    found = median_of_runs(at_end(history, metric), history.runs)
    return labels | {"value": number(found.value), "low": number(found.low), "high": number(found.high)}


def _numbered(history: History, metric: str) -> dict[float, str]:
    """Metrics METRIC/NUMBER by number."""
    names = [name for name in history.values if name.startswith(f"{metric}/")]
    if not names:
        raise UndecidedError(f"sweep {history.name!r} has no {metric}")
    return dict(sorted((float(name.rpartition("/")[2]), name) for name in names))


def _colour(kinds: Sequence[str]) -> alt.Color:
    return alt.Color("kind:N", scale=alt.Scale(domain=list(kinds), range=[COLOURS[kind] for kind in kinds]), title=None)


def _of(colours: Mapping[str, str]) -> alt.Color:
    return alt.Color("kind:N", scale=alt.Scale(domain=list(colours), range=list(colours.values())), title=None)


def _levels(history: History) -> str:
    """What losses are to be read against."""
    run = history.runs[0]
    return f"Zero prediction: {zero_loss(run):.4f}; one gradient step: {one_step_loss(run):.4f}."
