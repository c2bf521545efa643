"""The report's first figure: how well forecasts rank seeds of one setting, against the share of training seen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import altair as alt
import numpy as np

from analysis.figures.marks import band, points_with_intervals
from analysis.figures.style import GREY, PREDICTOR_COLOURS, Figure, Rows, caption, data, finish, number
from analysis.forecasting.evaluation import PRIMARY, Evaluation, WindowEvaluation
from analysis.forecasting.scoring.score_table import FEWEST_PAIRS
from analysis.uncertainty.intervals import Estimate

if TYPE_CHECKING:
    from analysis.summary.analyse import Analysis

# Registered predictors that see losses alone; the best of them by estimate is drawn at each window.
LOSS_ONLY = ("last_loss",)
_NAME, _TITLE = "discrimination", "Forecasts of which seeds converge, against the share of training seen"
_LABELS = {
    "ceiling": "best possible (forks)",
    "primary": f"forecast ({PRIMARY})",
    "loss": "losses alone",
    "chance": "hyperparameters alone",
}
_COLOURS = ("#8C5FBF", PREDICTOR_COLOURS[0], PREDICTOR_COLOURS[2], GREY)
_DASHES = ([2, 2], [1, 0], [6, 3], [4, 3])
_WIDTH, _HEIGHT, _CAPTION_COLUMNS = 470, 280, 84
# The share of training that the title speaks of, at most.
_EARLY = 0.25


def discrimination(analysis: Analysis) -> Figure:
    """AUROC between seeds of one setting: the primary predictor, the best loss-only baseline, and the ceiling if known.

    Hyperparameters alone are the same for all seeds of a setting, so they have .5.
    """
    evaluation = analysis.evaluation
    if evaluation is None:
        return Figure(_NAME, _TITLE, f"No forecasts: {analysis.problem}", None)
    rows = _rows(evaluation, analysis.ceiling)
    if not rows:
        problems = dict.fromkeys(window.problem for window in evaluation.windows if window.problem)
        told = "; ".join(problems) or "no setting has runs of both outcomes at risk at the end of any window"
        return Figure(_NAME, _TITLE, f"Nothing to compare: {told}.", None)
    lines = [line for line in _LABELS if line == "chance" or any(row["line"] == _LABELS[line] for row in rows)]
    parts = [
        f"AUROC: pairs of runs of one setting and fold, settings weighted by pairs; {evaluation.held_out}. "
        f"Bands: 95% over resampled {evaluation.unit}; none under {FEWEST_PAIRS} pairs.",
        f"Runs scored: {', '.join(f'{w.num_scored} at {_share(w.fraction)}' for w in evaluation.windows)}.",
        _ceiling_text(analysis),
    ]
    # Narrower than other captions, so that the whole figure stays legible on a small screen.
    title = _finding(rows)
    chart = finish(_chart(rows, lines), title, caption(analysis, *parts, columns=_CAPTION_COLUMNS))
    return Figure(_NAME, title, _in_words(evaluation, rows), chart)


def _finding(rows: Rows) -> str:
    """The AUROC from the largest of the windows in the first quarter of training, beside the losses alone."""
    of_line = {line: [row for row in rows if row["line"] == _LABELS[line]] for line in ("primary", "loss")}
    early = [row for row in of_line["primary"] if row["share"] <= _EARLY] or of_line["primary"][:1]
    if not early:
        return _TITLE
    at = early[-1]["share"]
    loss = [f", {row['value']:.2f} of losses alone" for row in of_line["loss"] if row["share"] == at]
    return f"Forecasts at {_share(at)} of training: AUROC {early[-1]['value']:.2f}{''.join(loss)}"


def _rows(evaluation: Evaluation, ceiling: tuple[Mapping[str, Any], ...]) -> Rows:
    found: Rows = []
    for window in evaluation.windows:
        for line, estimate in (("primary", _primary(window)), ("loss", _best_of_losses(window))):
            if np.isfinite(estimate.value):
                found.append(_row(line, window.fraction, window.last_step, estimate))
    if not found:
        return []
    for row in ceiling:
        if row["auroc"] is not None:
            low, high = (np.nan if row[end] is None else row[end] for end in ("low", "high"))
            found.append(_row("ceiling", row["window"], row["step"], Estimate(row["auroc"], low, high)))
    return found


def _row(line: str, fraction: float, step: int, estimate: Estimate) -> dict[str, Any]:
    return {
        "line": _LABELS[line],
        "share": fraction,
        "step": step,
        "value": number(estimate.value),
        "low": number(estimate.low),
        "high": number(estimate.high),
    }


def _primary(window: WindowEvaluation) -> Estimate:
    return window.scores[PRIMARY].auroc_within if PRIMARY in window.scores else Estimate(np.nan)


def _best_of_losses(window: WindowEvaluation) -> Estimate:
    """The highest estimate: chosen after the fact, which favours the baseline."""
    estimates = [window.scores[name].auroc_within for name in LOSS_ONLY if name in window.scores]
    known = [estimate for estimate in estimates if np.isfinite(estimate.value)]
    return max(known, key=lambda estimate: estimate.value, default=Estimate(np.nan))


def _ceiling_text(analysis: Analysis) -> str:
    if not analysis.ceiling:
        return "Best possible: not measured (seedbed ceiling)."
    told = ", ".join(
        f"{row['parents']} x {row['children']} forks at {_share(row['window'])}" for row in analysis.ceiling
    )
    return f"Best possible, of {analysis.history.name}: {told}."


def _in_words(evaluation: Evaluation, rows: Rows) -> str:
    told = [
        f"{_share(row['share'])} of training: {row['value']:.2f}" for row in rows if row["line"] == _LABELS["primary"]
    ]
    return f"AUROC between seeds of one setting of {PRIMARY}: {', '.join(told) or 'undefined'}."


def _share(fraction: float) -> str:
    return f"{100 * fraction:.3g}%"


def _chart(rows: Rows, lines: list[str]) -> Any:
    domain = [_LABELS[line] for line in lines]
    places = [list(_LABELS).index(line) for line in lines]
    colour_scale = alt.Scale(domain=domain, range=[_COLOURS[place] for place in places])
    dash_scale = alt.Scale(domain=domain, range=[_DASHES[place] for place in places])
    legend = alt.Legend(
        title=None, orient="bottom", columns=2, symbolType="stroke", symbolSize=400, symbolStrokeWidth=2.5,
        symbolOpacity=1, symbolFillColor="transparent", labelLimit=200,
    )  # fmt: skip
    colour = alt.Color("line:N", scale=colour_scale, sort=domain, legend=legend)
    dash = alt.StrokeDash("line:N", scale=dash_scale, sort=domain, legend=legend)
    shares = sorted({row["share"] for row in rows})
    steps = {row["share"]: row["step"] for row in rows}
    # Vega writes the labels, by the text that JavaScript makes of a number: the share, and below it the step.
    texts = "{" + ", ".join(f"'{share:g}': '{_share(share)}|{steps[share]}'" for share in shares) + "}"
    axis = alt.Axis(values=shares, labelExpr=f"split({texts}[datum.value], '|')", grid=False, labelOverlap="greedy")
    limits = [0, max(shares) * 1.04]
    x = alt.X("share:Q", title="share of the budget seen (step)", scale=alt.Scale(domain=limits, nice=False), axis=axis)
    lowest = min(0.4, *(row["low"] if row["low"] is not None else row["value"] for row in rows))
    scale = alt.Scale(domain=[np.floor(lowest * 10) / 10, 1], nice=False)
    y = alt.Y("value:Q", title="AUROC between seeds of one setting", scale=scale)
    base = alt.Chart(data(rows)).encode(x=x, color=colour)
    what = "AUROC between seeds of one setting"
    tooltip = ["line:N", "share:Q", "step:Q", "value:Q", "low:Q", "high:Q"]
    if len(shares) == 1:
        shown = points_with_intervals(base, what, scale=scale, mark={"size": 45}, tooltip=tooltip)
    else:
        shown = band(base, what, scale=scale, opacity=0.13, stroke=2.2, point=45, strokeDash=dash, tooltip=tooltip)
    chance = data([{"line": _LABELS["chance"], "value": 0.5}])
    rule = alt.Chart(chance).mark_rule(strokeWidth=1.5).encode(y=y, color=colour, strokeDash=dash)
    return alt.layer(rule, shown).properties(width=_WIDTH, height=_HEIGHT)
