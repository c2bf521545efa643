"""Figures of outcomes over training: learning curves, cumulative incidence, times to convergence."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import altair as alt
import numpy as np

from analysis.figures.marks import reference, stairs, thin_lines
from analysis.figures.style import (
    BROKEN_LABEL,
    LINE_END,
    MOST_POINTS,
    OUTCOME_COLOURS,
    Figure,
    Rows,
    broken,
    caption,
    data,
    evenly,
    finish,
    number,
    outcome_colour,
    outcome_dash,
    own_axes,
    thinned_note,
)
from analysis.outcomes.outcomes import CENSORED, CONVERGED, OUTCOME_KINDS, Outcomes
from analysis.outcomes.settings import runs_by_setting
from analysis.uncertainty.intervals import short
from pipeline.arrays import Floats

if TYPE_CHECKING:
    from analysis.summary.analyse import Analysis
    from analysis.summary.settings import SettingSummary

# What a metric is, with its unit; others are named as they are recorded.
METRIC_TITLES = {
    "label_excess": "excess loss (0: best, 1: no skill)",
    "label_accuracy": "accuracy, share of labels",
    "label_loss": "loss on labels",
}
# A point of a line takes about 14 bytes of SVG, so all of them half a megabyte.
MAX_FACETS, MAX_LINES, MAX_LINES_PER_FACET = 12, 360, 200


def learning_curves_by_outcome(analysis: Analysis) -> Figure:
    """The criterion's metric of each run over steps, by outcome, a panel per setting, with medians."""
    name, title = "learning_curves", "Learning curves by outcome"
    metric = analysis.outcomes.criterion.metric
    values_RT = analysis.history.values[metric]
    if np.all(np.isnan(values_RT)):
        return Figure(name, title, f"No value of {metric} was recorded.", None)
    shown = _shown_settings(analysis)
    lines, medians = _curve_rows(analysis, shown)
    top = _upper_limit(analysis, values_RT)
    x = alt.X("step:Q", title="step", axis=alt.Axis(tickCount=4))
    y = alt.Y(
        "value:Q",
        title=METRIC_TITLES.get(metric, metric),
        scale=alt.Scale(domainMax=top) if top is not None else alt.Scale(),
    )
    colour = outcome_colour(analysis.outcomes.kind_R.tolist())
    base = alt.Chart().encode(x=x, color=colour)
    thin = thin_lines(base.transform_filter("datum.run != null"), y, clip=top is not None)
    thick = base.transform_filter("datum.run == null").mark_line(clip=top is not None, strokeWidth=2.5)
    thick = thick.encode(y=y, strokeDash=outcome_dash(analysis.outcomes.kind_R.tolist()))
    layered = alt.layer(thin, reference(_threshold(analysis)), thick, data=data(lines + medians))
    title = converged_title(analysis.outcomes, analysis.history.budget)
    num_lines = len({(row["setting"], row["run"]) for row in lines})
    parts = [
        "Thin: runs; thick: median of the runs with that outcome still training, so that late in training it rests on "
        "few; grey, dashed: the threshold of the criterion.",
        f"{num_lines} of {len(analysis.history.runs)} runs drawn, evenly sampled."
        if num_lines < len(analysis.history.runs)
        else "",
        thinned_note(int((~np.isnan(values_RT).all(axis=0)).sum()), "evaluations"),
        _settings_note(analysis, shown),
        f"Cut at {top:.3g}." if top is not None else "",
    ]
    chart = finish(_by_setting(layered, analysis, shown), title, caption(analysis, *parts))
    return Figure(name, title, f"{metric} of each run over steps, coloured by outcome, one panel per setting.", chart)


def converged_fraction(analysis: Analysis) -> Figure:
    """Cumulative incidence of convergence and divergence per setting, with bands."""
    name, title = "converged_fraction", "Fraction converged over time"
    shown = _shown_settings(analysis)
    title = _shares_title(analysis)
    rows: Rows = []
    for setting in shown:
        curves, label = analysis.incidence[setting], _labels(analysis)[setting]
        # Where some runs have had no event, nothing is known beyond the last step of any.
        is_over = curves.converged_T[-1] + curves.diverged_T[-1] > 1 - 1e-9
        end = float(max(curves.steps_T[-1], analysis.history.budget if is_over else 0))
        for t in [*evenly(len(curves.steps_T), MOST_POINTS), -1]:
            step = end if t == -1 else float(curves.steps_T[t])
            shared = {"setting": label, "step": step}
            low, high = number(curves.low_T[t]), number(curves.high_T[t])
            rows.append(
                shared | {"outcome": "converged", "share": number(curves.converged_T[t]), "low": low, "high": high}
            )
            rows.append(shared | {"outcome": "diverged", "share": number(curves.diverged_T[t])})
    x = alt.X("step:Q", title="step", axis=alt.Axis(tickCount=4))
    base = alt.Chart().encode(x=x, color=outcome_colour(("converged", "diverged")))
    share_curves = stairs(
        base, "share of runs", value="share", scale=alt.Scale(domain=[0, 1]), opacity=0.2,
        strokeDash=outcome_dash(("converged", "diverged")),
    )  # fmt: skip
    layered = alt.layer(*share_curves.layer, data=data(rows))
    parts = [
        f"Converged: {analysis.outcomes.criterion}. Aalen-Johansen, divergence competing; "
        f"band: 95%, resampled: {'; '.join(dict.fromkeys(analysis.incidence[s].unit for s in shown))}; "
        "Wilson's where all resamples agree.",
        thinned_note(max(len(analysis.incidence[s].steps_T) for s in shown), "steps"),
        _settings_note(analysis, shown),
    ]
    chart = finish(_by_setting(layered, analysis, shown), title, caption(analysis, *parts))
    return Figure(name, title, "Share of runs that converged or diverged by each step, one panel per setting.", chart)


def times_to_convergence(analysis: Analysis) -> Figure:
    """How many runs of each setting converged at each evaluation, and when half had."""
    name, title = "times_to_convergence", "Times to convergence"
    shown = _shown_settings(analysis, most=30)
    summaries = {s.setting_id: s for s in analysis.settings}
    rows: Rows = []
    for setting in shown:
        use_R = runs_by_setting(analysis.history)[setting] & analysis.outcomes.is_kind_R(CONVERGED)
        pairs = np.stack([analysis.outcomes.lower_R[use_R], analysis.outcomes.upper_R[use_R]], axis=1)
        label = _counted(summaries[setting])
        for (after, by), runs in zip(*np.unique(pairs, axis=0, return_counts=True), strict=True):
            rows.append({"setting": label, "after": float(after), "by": float(by), "runs": int(runs)})
    if not rows:
        return Figure(name, title, "No run converged.", None)
    title = _half_title(analysis)
    halves = [
        {"setting": _counted(summaries[s]), "by": summaries[s].half_by}
        for s in shown
        if np.isfinite(summaries[s].half_by)
    ]
    order = [_counted(summaries[setting]) for setting in shown]
    axis = alt.Axis(labelLimit=600)
    y = alt.Y("setting:N", sort=order, scale=alt.Scale(domain=order), title=None, axis=axis)
    scale = alt.Scale(domain=[0, analysis.history.budget])
    x = alt.X("by:Q", title="step of the first evaluation that shows convergence", scale=scale)
    blue, most = OUTCOME_COLOURS[CONVERGED], max(row["runs"] for row in rows)
    legend = alt.Legend(format="d", values=[1 + i for i in evenly(most, 4)], symbolFillColor=blue, symbolStrokeWidth=0)
    size = alt.Size("runs:Q", title="runs", scale=alt.Scale(domain=[0, max(most, 4)], range=[0, 400]), legend=legend)
    bubbles = alt.Chart(data(rows)).mark_circle(color=blue, opacity=0.6)
    bubbles = bubbles.encode(x=x, y=y, size=size, tooltip=["after:Q", "by:Q", "runs:Q"])
    half = alt.Chart(data(halves)).mark_tick(color="black", thickness=3, height=22, orient="vertical").encode(x=x, y=y)
    chart = (bubbles + half if halves else bubbles).properties(width=560, height=alt.Step(30))
    parts = [
        "Each circle: runs that converged between the evaluation before and this one (interval-censored).",
        "Black: step by which half of all runs of the setting had converged.",
        _settings_note(analysis, shown),
    ]
    return Figure(
        name, title, "Number of runs by step of convergence, one row per setting.",
        finish(chart, title, caption(analysis, *parts)),
    )  # fmt: skip


def converged_title(outcomes: Outcomes, budget: int) -> str:
    """How many runs converged within the budget, of how many, and of how many that is not known."""
    title = f"{outcomes.count(CONVERGED)} of {len(outcomes.kind_R)} runs converge within {budget} steps"
    num_censored = outcomes.count(CENSORED)
    return f"{title}; of {num_censored} it is not known" if num_censored else title


def _shares_title(analysis: Analysis) -> str:
    """The share that converged, with its interval where there is one setting, from the lowest to the highest else."""
    known = [setting for setting in analysis.settings if np.isfinite(setting.converged.value)]
    if not known:
        return "Fraction converged over time"
    by = f"by step {max(setting.by_step for setting in known):.0f}"
    if len(analysis.settings) == 1:
        return f"{known[0].converged.text()} of the runs converge {by}"
    low, high = (pick(setting.converged.value for setting in known) for pick in (min, max))
    return f"{short(low)} to {short(high)} of the runs of a setting converge {by}"


def _half_title(analysis: Analysis) -> str:
    """When the middle half of the runs that converged did so."""
    upper_N = analysis.outcomes.upper_R[analysis.outcomes.is_kind_R(CONVERGED)]
    first, middle, last = np.quantile(upper_N, [0.25, 0.5, 0.75], method="inverted_cdf")
    return f"The {len(upper_N)} runs that converge do so at step {middle:.0f} (median; half: {first:.0f} to {last:.0f})"


def _curve_rows(analysis: Analysis, shown: list[str]) -> tuple[Rows, Rows]:
    values_RT = analysis.history.values[analysis.outcomes.criterion.metric]
    recorded = np.flatnonzero(~np.all(np.isnan(values_RT), axis=0))
    columns = recorded[evenly(len(recorded), MOST_POINTS)]
    per_facet = min(MAX_LINES_PER_FACET, max(1, MAX_LINES // len(shown)))
    lines: Rows = []
    medians: Rows = []
    for setting in shown:
        run_indices = np.flatnonzero(runs_by_setting(analysis.history)[setting])
        label = _labels(analysis)[setting]
        for r in run_indices[evenly(len(run_indices), per_facet)]:
            shared = {"setting": label, "outcome": str(analysis.outcomes.kind_R[r]), "run": int(r)}
            lines += _points(values_RT[r], analysis, columns, shared)
        for kind in OUTCOME_KINDS:
            of_kind = run_indices[analysis.outcomes.kind_R[run_indices] == kind]
            if len(of_kind):
                shared = {"setting": label, "outcome": kind, "run": None}
                medians += _points(_nan_median(values_RT[of_kind]), analysis, columns, shared)
    return lines, medians


def _points(values_T: Floats, analysis: Analysis, columns: Any, shared: dict[str, Any]) -> Rows:
    steps_T = analysis.history.steps_T
    return [
        shared | {"step": int(steps_T[t]), "value": number(values_T[t])} for t in columns if np.isfinite(values_T[t])
    ]


def _nan_median(values_NT: Floats) -> Floats:
    median_T = np.full(values_NT.shape[1], np.nan)
    some_T = ~np.all(np.isnan(values_NT), axis=0)
    median_T[some_T] = np.nanmedian(values_NT[:, some_T], axis=0)
    return median_T


def _upper_limit(analysis: Analysis, values_RT: Floats) -> float | None:
    """Where to cut the axis so that diverging runs do not flatten the others; None where nothing needs cutting."""
    finite = values_RT[np.isfinite(values_RT)]
    calm = values_RT[~analysis.outcomes.is_kind_R("diverged")]
    calm = calm[np.isfinite(calm)]
    if not len(calm) or finite.max() <= 1.5 * calm.max() or calm.max() <= 0:
        return None
    return float(1.1 * calm.max())


def _threshold(analysis: Analysis) -> float:
    criterion = analysis.outcomes.criterion
    threshold = criterion.at_most if criterion.at_most is not None else criterion.at_least
    assert threshold is not None
    return threshold


def _by_setting(layered: Any, analysis: Analysis, shown: list[str]) -> Any:
    order = [_labels(analysis)[setting] for setting in shown]
    panel = layered.properties(width=240, height=170).interactive()
    header = alt.Header(labelExpr=BROKEN_LABEL)
    return own_axes(panel.facet(alt.Facet("setting:N", sort=order, title=None, header=header), columns=3))


def _labels(analysis: Analysis) -> dict[str, str]:
    return {s.setting_id: broken(f"{s.label}{LINE_END}{_counts_text(s)}") for s in analysis.settings}


def _counts_text(setting: SettingSummary) -> str:
    """`n=96: 63 converged, 33 unconverged`."""
    counts = (setting.num_converged, setting.num_diverged, setting.num_unconverged, setting.num_censored)
    return f"n={setting.num_runs}: " + ", ".join(
        f"{n} {kind}" for n, kind in zip(counts, OUTCOME_KINDS, strict=True) if n
    )


def _counted(setting: Any) -> str:
    return f"{setting.label} ({setting.num_converged} of {setting.num_runs})"


def _shown_settings(analysis: Analysis, most: int = MAX_FACETS) -> list[str]:
    return [analysis.settings[i].setting_id for i in evenly(len(analysis.settings), most)]


def _settings_note(analysis: Analysis, shown: list[str]) -> str:
    total = len(analysis.settings)
    return f"{len(shown)} of {total} settings shown, evenly sampled." if len(shown) < total else ""
