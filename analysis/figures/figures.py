"""The list of an analysis' figures, and their rendering to SVG and PNG."""

from __future__ import annotations

import json
import re
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

import altair as alt
import vl_convert
from altair.utils.schemapi import debug_mode

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
# The points of lines and areas, which may be many; arcs and glyphs are small, and stay as they are.
_PATH = re.compile(r' d="[MLHVZ0-9.,e -]*"')
_DECIMALS = re.compile(r"-?\d+\.\d{2,}")
VEGA_LITE = ".".join(alt.SCHEMA_VERSION.lstrip("v").split(".")[:2])


def figures(analysis: Analysis) -> list[Figure]:
    """Every figure, in the order in which the report shows them; those without data have no chart and say why."""
    with _unchecked():
        return [draw(analysis) for draw in REPORT_FIGURES]


def _unchecked() -> AbstractContextManager[None]:
    """Altair holds each part of a chart against the schema, its rows of data included: seconds of a large sweep.

    That of every figure is held against it by the tests.
    """
    return debug_mode(False)


def specification(figure: Figure) -> str:
    """The Vega-Lite specification as strict JSON. Raises ValueError when the figure has no chart."""
    if figure.chart is None:
        raise ValueError(f"figure {figure.name!r} was not drawn: {figure.text}")
    with _unchecked():
        return json.dumps(figure.chart.to_dict(validate=False), allow_nan=False)


def to_svg(figure: Figure) -> str:
    """The figure as SVG, whose texts are as wide in any font as they were laid out."""
    return with_fixed_widths(str(vl_convert.vegalite_to_svg(specification(figure), vl_version=VEGA_LITE)))


def in_tenths(svg: str) -> str:
    """The SVG with the points of lines and areas to a tenth of a pixel, which is what a screen shows.

    >>> in_tenths('<path d="M0.123456,-7.05L10,20.96" transform="translate(0.123456,1)"/>')
    '<path d="M0.1,-7L10,21" transform="translate(0.123456,1)"/>'
    """

    def rounded(path: re.Match[str]) -> str:
        return _DECIMALS.sub(lambda found: f"{float(found[0]):.1f}".removesuffix(".0"), path[0])

    return _PATH.sub(rounded, svg)


def svg_to_png(svg: str, scale: float = 2) -> bytes:
    """An SVG as PNG, at `scale` times the size in pixels."""
    return bytes(vl_convert.svg_to_png(svg, scale=scale))
