"""Shared figure style: colours, fonts, captions, thinning and rounding of data."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import altair as alt
import numpy as np

from analysis.outcomes.outcomes import OUTCOME_KINDS
from analysis.summary.text import describe_provenance

if TYPE_CHECKING:
    from analysis.forecasting.evaluation import Evaluation, WindowEvaluation
    from analysis.summary.analyse import Analysis

# Okabe and Ito (2008), told apart under the common forms of colour blindness; grey for what is unknown.
OUTCOME_COLOURS = dict(zip(OUTCOME_KINDS, ("#0072B2", "#CC3377", "#E69F00", "#999999"), strict=True))
OUTCOME_DASHES = dict(zip(OUTCOME_KINDS, ([1, 0], [7, 3], [3, 2], [1, 3]), strict=True))
# Predictors share no colour with outcomes, and have a shape each; the primary one comes first.
PREDICTOR_COLOURS = ("#000000", "#009E73", "#D55E00", "#56B4E9", "#8C5FBF", "#8A6D00", "#777777")
PREDICTOR_SHAPES = ("circle", "square", "triangle-up", "diamond", "cross", "triangle-down", "triangle-right")
GREY = "#666666"
FONT = "Helvetica, Arial, sans-serif"
CAPTION_COLUMNS = 125
LABEL_COLUMNS = 40
# Points of a line, in panels of at most 250 pixels.
MOST_POINTS = 100
# Vega cannot break a label by itself; a character that no label holds marks the place.
LINE_END = "\u00a6"
BROKEN_LABEL = f"split(datum.label, '{LINE_END}')"

Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Figure:
    """A figure, or the reason why there is none: `chart` is None then, and `text` says what was lacking.

    `name` is a file name without ending; `text` says in words what the figure shows.
    """

    name: str
    title: str
    text: str
    chart: Any | None


def caption(analysis: Analysis, *parts: str, columns: int = CAPTION_COLUMNS) -> list[str]:
    """The lines under a figure's title: what is seen, and last its sweep, number of runs and commit."""
    facts = f"{analysis.history.name}: {len(analysis.history.runs)} runs, {describe_provenance(analysis.provenance)}."
    return captioned(parts, [facts], columns)


def captioned(parts: Sequence[str], facts: Sequence[str], columns: int = CAPTION_COLUMNS) -> list[str]:
    """Sentences on what is seen, in lines; then, on lines of their own, where it comes from."""
    texts = [" ".join(part for part in parts if part), " ".join(facts)]
    return [line for text in texts for line in textwrap.wrap(text, columns, break_on_hyphens=False)]


def finish(chart: Any, title: str, lines: Sequence[str]) -> Any:
    """The chart with its title, caption, fonts and quiet axes."""
    return (
        chart.properties(
            title=alt.TitleParams(
                title, subtitle=list(lines), anchor="start", fontSize=16, subtitleFontSize=12, subtitleColor="#444444",
                subtitlePadding=6, offset=14, subtitleLineHeight=16,
            ),
            background="white",
            padding=14,
        )
        .configure(font=FONT)
        .configure_view(stroke="#DDDDDD")
        .configure_axis(
            labelFontSize=12, titleFontSize=12, titleFontWeight="normal", gridColor="#EEEEEE", labelSeparation=5
        )
        .configure_header(labelFontSize=12, titleFontSize=12, labelLimit=270)
        .configure_legend(labelFontSize=12, titleFontSize=12, titleFontWeight="normal", labelLimit=260)
    )  # fmt: skip


def outcome_colour(kinds: Iterable[str]) -> alt.Color:
    """Colour by outcome, with a legend of the kinds that occur."""
    present = [kind for kind in OUTCOME_KINDS if kind in set(kinds)]
    scale = alt.Scale(domain=present, range=[OUTCOME_COLOURS[kind] for kind in present])
    return alt.Color("outcome:N", scale=scale, title="outcome", legend=_line_legend())


def outcome_dash(kinds: Iterable[str]) -> alt.StrokeDash:
    """Dash by outcome, in one legend with the colour."""
    present = [kind for kind in OUTCOME_KINDS if kind in set(kinds)]
    scale = alt.Scale(domain=present, range=[OUTCOME_DASHES[kind] for kind in present])
    return alt.StrokeDash("outcome:N", scale=scale, title="outcome", legend=_line_legend())


def _line_legend() -> alt.Legend:
    return alt.Legend(orient="right", symbolType="stroke", symbolOpacity=1, symbolStrokeWidth=2.5, symbolSize=300)


def windows_text(evaluation: Evaluation) -> str:
    """The windows as shares of the budget and steps, `0.05 (70), 0.1 (140)`."""
    return ", ".join(window_text(window) for window in evaluation.windows)


def window_text(window: WindowEvaluation) -> str:
    """A window as share and step, `0.05 (70)`."""
    return f"{window.fraction:.3g} ({window.last_step})"


def own_axes(facets: Any) -> Any:
    """Panels each with an axis of steps: where the last row is short, a shared one would stand below no panel."""
    return facets.resolve_axis(x="independent")


def broken(label: str) -> str:
    """The label with LINE_END where it must break to fit a panel; shown as lines by BROKEN_LABEL."""
    lines = [line for part in label.split(LINE_END) for line in textwrap.wrap(part, LABEL_COLUMNS)]
    return LINE_END.join(lines) or label


def number(value: float) -> float | None:
    """Four significant digits, to keep figures small; None for NaN and infinities, which JSON does not know."""
    return float(f"{value:.4g}") if np.isfinite(value) else None


def evenly(count: int, most: int) -> list[int]:
    """At most `most` of the indices 0 to count - 1, evenly spread, first and last among them where most > 1."""
    if count <= most:
        return list(range(count))
    return sorted(set(np.linspace(0, count - 1, most).round().astype(int).tolist()))


def thinned_note(num_points: int, what: str) -> str:
    """What the caption says of lines that have more points than are drawn; empty where they have not.

    >>> thinned_note(250, "evaluations"), thinned_note(50, "evaluations")
    ('Lines are drawn through 100 of 250 evaluations, evenly sampled.', '')
    """
    return f"Lines are drawn through {MOST_POINTS} of {num_points} {what}, evenly sampled." * (num_points > MOST_POINTS)


def data(rows: Rows) -> Any:
    """Rows as inline data."""
    return alt.InlineData(values=rows)
