"""Where the texts of a figure are, as printed: which lie over others, and which axes have no title."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree

# Of Helvetica's characters, in shares of the size of the font: the mean over English text.
CHARACTER_WIDTH, LINE_HEIGHT = 0.5, 0.72
SVG = "{http://www.w3.org/2000/svg}"


def boxes(svg):
    """(text, left, top, right, bottom) of every text of a figure, rotated ones as they stand."""
    found = []

    def walk(element, at_x, at_y):
        moved = re.match(r"translate\(([-\d.]+),([-\d.]+)\)(?: rotate\((-?\d+))?", element.get("transform", ""))
        if moved:
            at_x, at_y = at_x + float(moved[1]), at_y + float(moved[2])
        if element.tag == f"{SVG}text" and element.get("opacity") != "0":
            size = float(element.get("font-size", "12px").removesuffix("px"))
            lines = [part.text or "" for part in element.findall(f"{SVG}tspan")] or [element.text or ""]
            width = CHARACTER_WIDTH * size * max(map(len, lines))
            left = {"middle": -width / 2, "end": -width}.get(element.get("text-anchor"), 0.0)
            low = LINE_HEIGHT * size
            high = 0.2 * size * (len(lines) > 1) + 1.2 * size * (len(lines) - 1)
            box = (at_x + left, at_y - low, at_x + left + width, at_y + high)
            if moved and moved[3] == "-90":
                box = (at_x - low, at_y - left - width, at_x + high, at_y - left)
            found.append((" ".join(lines), *box))
        for child in element:
            walk(child, at_x, at_y)

    walk(ElementTree.fromstring(svg), 0.0, 0.0)
    return [box for box in found if box[0].strip()]


def overlaps(svg):
    """Pairs of texts of which one lies over the other by more than a pixel."""
    every = boxes(svg)
    return [
        (one[0], other[0])
        for number, one in enumerate(every)
        for other in every[:number]
        if min(one[3], other[3]) - max(one[1], other[1]) > 1 and min(one[4], other[4]) - max(one[2], other[2]) > 1
    ]


def untitled(specification):
    """The position channels of a specification, at any depth, that have neither a title nor a row of names for one."""
    if isinstance(specification, list):
        return [found for each in specification for found in untitled(each)]
    if not isinstance(specification, dict):
        return []
    found = [
        (channel, encoding["field"])
        for channel, encoding in specification.get("encoding", {}).items()
        if channel in ("x", "y") and "field" in encoding
        if not encoding.get("title") and encoding.get("type") != "nominal"
    ]
    return found + [each for value in specification.values() for each in untitled(value)]
