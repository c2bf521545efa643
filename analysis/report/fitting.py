"""Figures and tables of a report cut to their shares of its size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from markupsafe import escape

from analysis.figures.figures import svg_to_png
from analysis.page.html import ShownFigure
from analysis.page.size import AS_TEXT, FIGURES_SHARE, TABLES_SHARE, rows_that_fit
from analysis.summary.settings import SettingSummary

# Tags around a row of a table, and its numbers.
_OF_ROW = 160


def figures_that_fit(drawn: Sequence[ShownFigure], most_bytes: int = FIGURES_SHARE) -> list[ShownFigure]:
    """The figures as the page shows them: the largest as PNG, and without an image where these are too large, too."""
    shown = list(drawn)
    while _size(shown) > most_bytes:
        place = max(range(len(shown)), key=lambda number: len(shown[number].data_uri))
        figure = shown[place]
        png = b"" if figure.png else svg_to_png(figure.svg, scale=1)
        if png and len(png) < len(figure.svg):
            shown[place] = replace(figure, png=png)
        else:
            text = f"It is too large for this page, and stands in {figure.name}.svg. {figure.text}"
            shown[place] = replace(figure, svg="", png=b"", text=text)
    return shown


def _size(shown: Sequence[ShownFigure]) -> float:
    return sum(AS_TEXT * len(figure.png or figure.svg.encode()) + 4 * len(figure.text) for figure in shown)


def settings_that_fit(settings: Sequence[SettingSummary]) -> tuple[list[SettingSummary], str]:
    """The settings that a table on a page shows, evenly spaced where they are many, and what it says of that."""
    places = rows_that_fit(settings, lambda setting: str(escape(setting.label)) + " " * _OF_ROW, TABLES_SHARE // 2)
    return [settings[place] for place in places], _said("The table has", len(places), len(settings), "settings")


def windows_that_fit(tables: Sequence[Mapping[str, Any]]) -> tuple[list[Mapping[str, Any]], str]:
    """The tables of scores by window, as many as fit, evenly spaced, and what the page says of that."""
    places = rows_that_fit(tables, lambda table: str(table) * 2, TABLES_SHARE // 4)
    return [tables[place] for place in places], _said("There are tables of", len(places), len(tables), "windows")


def facts_that_fit(facts: Mapping[str, str]) -> tuple[dict[str, str], str]:
    """The facts of a table, as many as fit, evenly spaced, and what the page says of that."""
    names = list(facts)
    places = rows_that_fit(names, lambda name: str(escape(name + facts[name])) + " " * _OF_ROW, TABLES_SHARE // 4)
    shown = {names[place]: facts[names[place]] for place in places}
    return shown, _said("The table has", len(shown), len(facts), "facts")


def _said(what: str, num_shown: int, num: int, kind: str) -> str:
    """That there are fewer than there could be, in a sentence; empty where all are there."""
    if num_shown == num:
        return ""
    return f"{what} {num_shown:,} of {num:,} {kind}, evenly spaced; analysis.json has all."
