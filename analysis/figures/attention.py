"""Figure of attention metrics over training, by outcome."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import altair as alt
import numpy as np

from analysis.figures.marks import band
from analysis.figures.style import (
    MOST_POINTS,
    Figure,
    Rows,
    caption,
    data,
    evenly,
    finish,
    number,
    outcome_colour,
    outcome_dash,
    thinned_note,
)
from analysis.outcomes.outcomes import CENSORED, CONVERGED, OUTCOME_KINDS, UNCONVERGED
from analysis.statistics.strongest_head import HEAD_METRIC

if TYPE_CHECKING:
    from analysis.summary.analyse import Analysis

# The head that says most: attention sharpens, so the lowest entropy; the scores grow.
ATTENTION_METRICS = {
    "attention_entropy": (np.fmin, "attention entropy (lowest head)"),
    "previous_token_score": (np.fmax, "previous-token score (highest head)"),
    "induction_score": (np.fmax, "induction score (highest head)"),
    "gd_alignment": (np.fmax, "alignment with gradient descent"),
}


def attention_progress(analysis: Analysis) -> Figure:
    """Median and middle half of the attention metrics over steps, by outcome, all settings together."""
    name, title = "attention_progress", "Progress of attention by outcome"
    families = [family for family in ATTENTION_METRICS if _family_metrics(analysis, family)]
    rows = [row for family in families for row in _progress_rows(analysis, family)]
    if not rows:
        return Figure(name, title, "No attention metric was recorded.", None)
    title = _finding(rows) or title
    x = alt.X(
        "step:Q",
        title="step (log)",
        scale=alt.Scale(type="symlog", constant=10),
        axis=alt.Axis(values=_log_ticks(analysis)),
    )
    colour = outcome_colour({row["outcome"] for row in rows})
    dash = outcome_dash({row["outcome"] for row in rows})
    panels = [
        _progress_panel(data([row for row in rows if row["family"] == f]), ATTENTION_METRICS[f][1], x, colour, dash)
        for f in families
    ]
    counts = {kind: analysis.outcomes.count(kind) for kind in OUTCOME_KINDS if kind != CENSORED}
    chart = alt.hconcat(*panels, spacing=24)
    parts = [
        "Line: median; band: middle half of the runs. All settings pooled, so differences between outcomes may also be "
        "differences between settings. Every run counts to its end, converged or not; censored runs are left out.",
        f"Runs: {', '.join(f'{count} {kind}' for kind, count in counts.items() if count)}.",
        "Step axis linear up to 10, logarithmic beyond.",
        thinned_note(max(_num_recorded(analysis, family) for family in families), "steps"),
    ]
    return Figure(
        name, title, "Attention metrics over steps: median and middle half of the runs of each outcome.",
        finish(chart, title, caption(analysis, *parts)),
    )  # fmt: skip


def _finding(rows: Rows) -> str:
    """The last medians of both outcomes, of the metric in which they differ most; empty where there are not both."""
    last = {(row["family"], row["outcome"]): row["median"] for row in sorted(rows, key=lambda row: row["step"])}
    gaps = {
        family: abs(last[family, CONVERGED] - last[family, UNCONVERGED])
        for family in ATTENTION_METRICS
        if (family, CONVERGED) in last and (family, UNCONVERGED) in last
    }
    if not gaps:
        return ""
    family = max(gaps, key=gaps.__getitem__)
    ends = f"{last[family, CONVERGED]:.2g} in runs that converge, at {last[family, UNCONVERGED]:.2g} in the others"
    return f"The {ATTENTION_METRICS[family][1]} ends at {ends}"


def _progress_panel(values: Any, title: str, x: alt.X, colour: alt.Color, dash: alt.StrokeDash) -> Any:
    base = alt.Chart().encode(x=x, color=colour)
    shown = band(
        base, title, value="median", scale=alt.Scale(zero=False), opacity=0.2, stroke=2, point=14, strokeDash=dash
    )
    return alt.layer(*shown.layer, data=values).properties(width=250, height=220)


def _progress_rows(analysis: Analysis, family: str) -> Rows:
    pick, _ = ATTENTION_METRICS[family]
    extreme_RT = pick.reduce([analysis.history.values[m] for m in _family_metrics(analysis, family)], axis=0)
    rows: Rows = []
    for kind in OUTCOME_KINDS:
        kind_RT = extreme_RT[analysis.outcomes.is_kind_R(kind)]
        if kind == CENSORED or not len(kind_RT):
            continue
        recorded = np.flatnonzero(~np.all(np.isnan(kind_RT), axis=0))
        for t in recorded[evenly(len(recorded), MOST_POINTS)]:
            low, median, high = np.nanquantile(kind_RT[:, t], [0.25, 0.5, 0.75])
            step = int(analysis.history.steps_T[t])
            shared = {"family": family, "outcome": kind, "step": step}
            rows.append(shared | {"low": number(low), "median": number(median), "high": number(high)})
    return rows


def _num_recorded(analysis: Analysis, family: str) -> int:
    is_known = [~np.isnan(analysis.history.values[m]).all(axis=0) for m in _family_metrics(analysis, family)]
    return int(np.count_nonzero(np.logical_or.reduce(is_known)))


def _family_metrics(analysis: Analysis, family: str) -> list[str]:
    def belongs(metric: str) -> bool:
        match = HEAD_METRIC.fullmatch(metric)
        return metric == family or (match is not None and match["base"] == family)

    values = analysis.history.values
    return [metric for metric in sorted(values) if belongs(metric) and not np.all(np.isnan(values[metric]))]


def _log_ticks(analysis: Analysis) -> list[int]:
    return [0, *(10**k for k in range(1, 9) if 10**k <= analysis.history.budget)]
