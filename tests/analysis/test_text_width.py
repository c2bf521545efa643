"""Texts of figures are as wide as Vega laid them out, whichever font a viewer has."""

from __future__ import annotations

import json
import re
from xml.etree import ElementTree

import vl_convert

from analysis.figures.text_width import text_width, with_fixed_widths


def svg_of(label):
    """A chart of one row, whose label is all that stands left of its axis, and how wide Vega thinks the label is."""
    chart = {
        "data": {"values": [{"a": label}]},
        "mark": "point",
        "encoding": {"y": {"field": "a", "type": "nominal", "title": None, "axis": {"labelLimit": 2000}}},
        "padding": 0,
        "config": {
            "font": "Helvetica, Arial, sans-serif",
            "axis": {"labelFontSize": 20, "labelPadding": 0, "tickSize": 0},
        },
    }
    svg = vl_convert.vegalite_to_svg(json.dumps(chart))
    return svg, float(re.search(r"translate\(([\d.]+),", svg)[1])


def test_the_widths_are_those_by_which_figures_are_laid_out():
    # Without the pairs that are set closer to each other than their widths.
    for label in (
        "".join(map(chr, range(33, 80))),
        "head_width=4 (63 of 96)",
        "abcdefghijklmnopqrstuvwxyz{|}~",
        "OPQRSTUVWXYZ",
    ):
        laid_out = svg_of(label)[1]
        assert abs(text_width(label, 20) - laid_out) < 0.02 * laid_out + 1, label


def test_each_text_and_each_line_gets_its_width_and_nothing_else_changes():
    svg = (
        '<g><text x="1" font-size="12px" font-weight="bold">A &amp; b</text>'
        '<text font-size="10px"><tspan>a b</tspan><tspan x="0" dy="16">II</tspan></text></g>'
    )
    found = with_fixed_widths(svg)
    assert re.findall(r'textLength="([\d.]+)"', found) == ["31.3", "13.9", "5.6"]
    assert re.sub(r' textLength="[\d.]+" lengthAdjust="spacingAndGlyphs"', "", found) == svg


def test_a_text_that_ends_by_itself_is_left_alone():
    svg = '<g><text font-size="12px"/><text font-size="12px">II</text></g>'
    assert with_fixed_widths(svg).count("textLength") == 1
    assert ElementTree.fromstring(with_fixed_widths(svg))[1].get("textLength") == "6.7"


def test_a_text_in_other_letters_keeps_the_width_of_its_font():
    svg = '<text font-size="12px">Größe</text><text font-size="12px"></text>'
    assert with_fixed_widths(svg) == svg
    assert text_width("Größe", 12) is None
