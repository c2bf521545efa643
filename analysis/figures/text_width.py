"""Widths of texts in Helvetica, by which figures are laid out, and SVGs that keep to them in other fonts."""

from __future__ import annotations

import html
import re

# Thousandths of the font size, from the space to "~", as in Adobe's font metrics of Helvetica and Helvetica-Bold.
_REGULAR = (
    278, 278, 355, 556, 556, 889, 667, 191, 333, 333, 389, 584, 278, 333, 278, 278, 556, 556, 556, 556, 556, 556, 556,
    556, 556, 556, 278, 278, 584, 584, 584, 556, 1015, 667, 667, 722, 722, 667, 611, 778, 722, 278, 500, 667, 556, 833,
    722, 778, 667, 778, 722, 667, 611, 722, 667, 944, 667, 667, 611, 278, 278, 278, 469, 556, 333, 556, 556, 500, 556,
    556, 278, 556, 556, 222, 222, 500, 222, 833, 556, 556, 556, 556, 333, 500, 278, 556, 500, 722, 500, 500, 500, 334,
    260, 334, 584,
)  # fmt: skip
_BOLD = (
    278, 333, 474, 556, 556, 889, 722, 238, 333, 333, 389, 584, 278, 333, 278, 278, 556, 556, 556, 556, 556, 556, 556,
    556, 556, 556, 333, 333, 584, 584, 584, 611, 975, 722, 722, 722, 722, 667, 611, 778, 722, 278, 556, 722, 611, 833,
    722, 778, 667, 778, 722, 667, 611, 722, 667, 944, 667, 667, 611, 333, 278, 333, 584, 556, 333, 556, 611, 556, 611,
    556, 333, 611, 611, 278, 278, 556, 278, 889, 611, 611, 611, 611, 389, 556, 333, 611, 556, 778, 556, 556, 500, 389,
    280, 389, 584,
)  # fmt: skip
_FIRST = ord(" ")
# An element without content ends by itself, "/>".
_TEXT = re.compile(r"<text (?P<attributes>[^>]*[^>/])>(?P<content>.*?)</text>", re.DOTALL)
_SIZE = re.compile(r'font-size="([\d.]+)px"')
_LINE = re.compile(r"<tspan(?P<place>[^>]*)>(?P<line>[^<]*)</tspan>")


def text_width(text: str, size_px: float, *, is_bold: bool = False) -> float | None:
    """Pixels that a text takes in Helvetica, without kerning; None where it has characters other than ASCII."""
    widths = _BOLD if is_bold else _REGULAR
    places = [ord(character) - _FIRST for character in text]
    if not all(0 <= place < len(widths) for place in places):
        return None
    return size_px * sum(widths[place] for place in places) / 1000


def with_fixed_widths(svg: str) -> str:
    """The SVG with the width of each of its texts.

    A viewer without Helvetica, or a font of its widths, shows another one, often wider, so that titles and labels would
    be cut at the edges. Texts with other characters than ASCII are left as they are.
    """
    return _TEXT.sub(_fixed, svg)


def _fixed(match: re.Match[str]) -> str:
    attributes, content = match["attributes"], match["content"]
    size = _SIZE.search(attributes)
    if size is None:
        return match[0]
    size_px, is_bold = float(size[1]), 'font-weight="bold"' in attributes

    def length(text: str) -> str:
        width = text_width(html.unescape(text), size_px, is_bold=is_bold)
        return f' textLength="{width:.1f}" lengthAdjust="spacingAndGlyphs"' if width else ""

    if "<tspan" not in content:
        return f"<text {attributes}{length(content)}>{content}</text>"
    lines = _LINE.sub(lambda line: f"<tspan{line['place']}{length(line['line'])}>{line['line']}</tspan>", content)
    return f"<text {attributes}>{lines}</text>"
