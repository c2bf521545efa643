"""The list of an analysis' figures, and their rendering to SVG and PNG."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import altair as alt
import vl_convert

from analysis.figures.attention import attention_progress
from analysis.figures.discrimination import discrimination
from analysis.figures.forecasts import calibration, forecast_quality
from analysis.figures.history import converged_fraction, learning_curves_by_outcome, times_to_convergence
from analysis.figures.style import Figure
from analysis.figures.text_width import with_fixed_widths

if TYPE_CHECKING:
    from analysis.summary.analyse import Analysis

REPORT_FIGURES = (
    discrimination,
    learning_curves_by_outcome,
    converged_fraction,
    times_to_convergence,
    attention_progress,
    forecast_quality,
    calibration,
)
VEGA_LITE = ".".join(alt.SCHEMA_VERSION.lstrip("v").split(".")[:2])


def figures(analysis: Analysis) -> list[Figure]:
    """Every figure, in the order in which the report shows them; those without data have no chart and say why."""
    return [draw(analysis) for draw in REPORT_FIGURES]


def specification(figure: Figure) -> str:
    """The Vega-Lite specification as strict JSON. Raises ValueError when the figure has no chart."""
    if figure.chart is None:
        raise ValueError(f"figure {figure.name!r} was not drawn: {figure.text}")
    return json.dumps(figure.chart.to_dict(), allow_nan=False)


def to_svg(figure: Figure) -> str:
    """The figure as SVG, whose texts are as wide in any font as they were laid out."""
    return with_fixed_widths(str(vl_convert.vegalite_to_svg(specification(figure), vl_version=VEGA_LITE)))


def svg_to_png(svg: str) -> bytes:
    """An SVG as PNG, at twice the size in pixels."""
    return bytes(vl_convert.svg_to_png(svg, scale=2))
