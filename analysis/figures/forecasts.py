"""Figures of forecasts: scores by window for every predictor, and calibration."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import altair as alt
import numpy as np

from analysis.figures.marks import diagonal, points_with_intervals, reference
from analysis.figures.style import (
    PREDICTOR_COLOURS,
    PREDICTOR_SHAPES,
    Figure,
    Rows,
    caption,
    data,
    finish,
    number,
    own_axes,
    window_text,
    windows_text,
)
from analysis.forecasting.evaluation import PRIMARY, Evaluation, WindowEvaluation
from analysis.forecasting.scoring.score_table import FEWEST_PAIRS
from analysis.summary.text import OF_FITTED
from analysis.uncertainty.intervals import Estimate, short

if TYPE_CHECKING:
    from analysis.summary.analyse import Analysis

# The share of training that titles speak of, at most.
_EARLY = 0.25


def forecast_quality(analysis: Analysis) -> Figure:
    """AUROC inside a setting, and Brier score, of every predictor against the window."""
    name, title = "forecast_quality", "Forecasts of convergence, by window"
    evaluation = analysis.evaluation
    if evaluation is None:
        return Figure(name, title, f"No forecasts: {analysis.problem}", None)
    within = _score_rows(evaluation, "auroc_within")
    brier = _score_rows(evaluation, "brier")
    if not within and not brier:
        return Figure(name, title, _nothing(evaluation), None)
    title = _quality_title(evaluation) or title
    panels = [
        _panel(evaluation, within, "AUROC between seeds of one setting", [0, 1], 0.5),
        _panel(evaluation, brier, "Brier score (lower is better)", None, None),
    ]
    undefined = ", ".join(window_text(w) for w in evaluation.windows if w.pairs_within == 0)
    parts = [
        f"Windows {windows_text(evaluation)} of the budget (step). Held-out seeds "
        f"({evaluation.held_out}); n: runs scored, all at risk. Bars: 95% over resampled {evaluation.unit}. "
        f"{OF_FITTED} AUROC: pairs in one setting and fold, settings weighted by pairs; "
        f"no bar under {FEWEST_PAIRS} pairs.",
        *(f"{sentence[0].upper()}{sentence[1:]}." for sentence in evaluation.notes),
        f"AUROC n/a, no pairs: {undefined}." if undefined else "",
        *(f"Window {window_text(w)} n/a: {w.problem}." for w in evaluation.windows if w.problem),
    ]
    chart = finish(alt.hconcat(*panels, spacing=40), title, caption(analysis, *parts))
    return Figure(name, title, "AUROC inside a setting and Brier score of each predictor at each window.", chart)


def calibration(analysis: Analysis) -> Figure:
    """Share that converged against the forecast of the primary predictor, in bins of equal mass, window by window."""
    name, title = "calibration", f"Calibration of the {PRIMARY} predictor"
    evaluation = analysis.evaluation
    if evaluation is None or PRIMARY not in evaluation.predictors:
        return Figure(name, title, f"No forecasts by {PRIMARY}. {analysis.problem}".strip(), None)
    rows = [row for window in evaluation.windows for row in _bin_rows(window)]
    if not rows:
        return Figure(name, title, _nothing(evaluation), None)
    title = _calibration_title(evaluation) or title
    # With room for whole points at both ends.
    unit = alt.Scale(domain=[-0.03, 1.03], nice=False)
    x = alt.X("forecast:Q", title="forecast probability", scale=unit, axis=alt.Axis(tickCount=5))
    y = alt.Y("value:Q", title="share that converged", scale=unit, axis=alt.Axis(tickCount=5))
    base = alt.Chart().encode(x=x, color=alt.value(PREDICTOR_COLOURS[0]))
    points = points_with_intervals(base, "share that converged", scale=unit, mark={"size": 50}, tooltip=["runs:Q"])
    panel = alt.layer(diagonal(x, y, 0, 1), *points.layer, data=data(rows)).properties(width=210, height=210)
    labels = list(dict.fromkeys(row["window"] for row in rows))
    header = alt.Header(labelExpr="split(datum.label, '|')")
    # Rows of like length, of four at most.
    columns = -(-len(labels) // -(-len(labels) // 4))
    chart = own_axes(panel.facet(alt.Facet("window:N", sort=labels, title=None, header=header), columns=columns))
    parts = [
        f"Windows {windows_text(evaluation)} of the budget (step), held-out seeds.",
        "Bins of equal mass; bars: 95% Wilson intervals, as if runs were independent. A perfect forecaster is on the "
        f"dashed line, with slope 1; slope with 95% over resampled {evaluation.unit}. {OF_FITTED}",
        *(f"Window {window_text(w)} n/a: {w.problem}." for w in evaluation.windows if w.problem),
    ]
    text = "Share of runs that converged in each bin of the forecast probability, one panel per window."
    return Figure(name, title, text, finish(chart, title, caption(analysis, *parts)))


def _at_a_quarter(evaluation: Evaluation) -> WindowEvaluation | None:
    """The largest window in the first quarter of training that is scored; the first where there is none."""
    scored = [window for window in evaluation.windows if PRIMARY in window.scores and window.num_scored]
    early = [window for window in scored if window.fraction <= _EARLY]
    return early[-1] if early else scored[0] if scored else None


def _quality_title(evaluation: Evaluation) -> str:
    """AUROC and Brier score of the primary predictor, beside those of the reference."""
    window = _at_a_quarter(evaluation)
    if window is None or not np.isfinite(window.scores[PRIMARY].brier.value):
        return ""
    own, reference = window.scores[PRIMARY], window.scores[evaluation.reference]
    brier = f"Brier score {own.brier.text()}, {short(reference.brier.value)} of {evaluation.reference}"
    return f"From {100 * window.fraction:.3g}% of training: AUROC {own.auroc_within.text()} between seeds; {brier}"


def _calibration_title(evaluation: Evaluation) -> str:
    """The slope of the calibration line, and whether 1 is inside its interval."""
    window = _at_a_quarter(evaluation)
    slope = Estimate(np.nan) if window is None else window.scores[PRIMARY].calibration_slope
    if window is None or not np.isfinite([slope.value, slope.low, slope.high]).all():
        return ""
    # An interval that holds 1 may hold much else.
    unknown = "not shown to be too extreme or too cautious"
    verdict = "too extreme" if slope.high < 1 else "too cautious" if slope.low > 1 else unknown
    return f"From {100 * window.fraction:.3g}% of training, forecasts are {verdict}: slope {slope.text()}"


def _score_rows(evaluation: Evaluation, score: str) -> Rows:
    rows: Rows = []
    for window in evaluation.windows:
        for predictor in evaluation.predictors:
            estimate: Estimate = getattr(window.scores[predictor], score)
            if np.isfinite(estimate.value):
                shared = {"window": _window_label(window), "predictor": predictor, "value": number(estimate.value)}
                rows.append(shared | {"low": number(estimate.low), "high": number(estimate.high)})
    return rows


def _panel(evaluation: Evaluation, rows: Rows, title: str, domain: list[float] | None, chance: float | None) -> Any:
    names = sorted(evaluation.predictors, key=lambda name: name != PRIMARY)
    colours = [PREDICTOR_COLOURS[i % len(PREDICTOR_COLOURS)] for i in range(len(names))]
    shapes = [PREDICTOR_SHAPES[i % len(PREDICTOR_SHAPES)] for i in range(len(names))]
    order = [_window_label(window) for window in evaluation.windows]
    split = "split(datum.label, '|')"
    axis = alt.Axis(labelExpr=split, labelAngle=0, labelLineHeight=14)
    x = alt.X(
        "window:N", sort=order, scale=alt.Scale(domain=order), title="window, share of the budget (step)", axis=axis
    )
    scale = alt.Scale(domain=domain) if domain is not None else alt.Scale(zero=True)
    base = alt.Chart(data(rows)).encode(
        x=x,
        xOffset=alt.XOffset("predictor:N", sort=names, scale=alt.Scale(domain=names, paddingOuter=0.4)),
        color=alt.Color("predictor:N", sort=names, scale=alt.Scale(domain=names, range=colours), title="predictor"),
    )
    points = points_with_intervals(
        base, title, scale=scale, mark={"size": 55}, stroke=1.5,
        shape=alt.Shape("predictor:N", sort=names, scale=alt.Scale(domain=names, range=shapes), title="predictor"),
        tooltip=["predictor:N", "value:Q", "low:Q", "high:Q"],
    )  # fmt: skip
    behind = [] if chance is None else [reference(chance)]
    return alt.layer(*behind, points).properties(width=max(150, 95 * len(order)), height=260)


def _window_label(window: WindowEvaluation) -> str:
    return f"{window_text(window)}|n={window.num_scored}"


def _nothing(evaluation: Evaluation) -> str:
    """Why no window was scored."""
    problems = dict.fromkeys(f"Window {window_text(w)}: {w.problem}." for w in evaluation.windows if w.problem)
    return " ".join(problems) or "No run was at risk at the end of any window."


def _bin_rows(window: WindowEvaluation) -> Rows:
    bins = window.calibration(PRIMARY)
    label = f"{window_text(window)}, n={window.num_scored}|slope {window.scores[PRIMARY].calibration_slope.text()}"
    return [
        {
            "window": label,
            "forecast": number(found.forecast),
            "value": number(found.share.value),
            "low": number(found.share.low),
            "high": number(found.share.high),
            "runs": found.num_runs,
        }
        for found in bins
    ]
