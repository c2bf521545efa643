"""Prints sentences so that a terminal breaks no word."""

from __future__ import annotations

import textwrap

from rich.console import Console

# Longer lines are hard to read, narrower tables of settings have no room for their labels.
_NARROWEST, _WIDEST = 72, 120


def columns_of(out: Console) -> int:
    """Columns for sentences and tables: the terminal's (COLUMNS elsewhere, or 80), but 72 at least and 120 at most."""
    return min(max(out.width, _NARROWEST), _WIDEST)


def print_wrapped(out: Console, text: str, style: str = "") -> None:
    """Print a line; on a terminal as several, where it is too wide, indented further than its beginning."""
    lines = [text]
    if out.is_terminal and len(text) > out.width:
        indent = " " * (len(text) - len(text.lstrip()) + 4)
        lines = textwrap.wrap(text, max(out.width, 2 * len(indent)), subsequent_indent=indent, break_on_hyphens=False)
    for line in lines:
        out.print(line, style=style, markup=False)
