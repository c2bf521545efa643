"""The outcomes of settings as lines of text, as wide as a terminal, 80 columns elsewhere."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from analysis.summary.settings import SettingSummary
from analysis.uncertainty.intervals import short
from pipeline.counted import counted

# Columns where nothing says how many there are.
WIDTH = 80
_LEAST_LABEL, _GAP = 16, 2


def setting_table(settings: Sequence[SettingSummary], most: int | None = None, width: int = WIDTH) -> list[str]:
    """A title and a line per setting, of at most `most` settings; divergence and censoring where there is any.

    Labels that are too long for `width` columns go on in further lines.
    """
    shown = settings[:most]
    columns = {
        "runs": [str(setting.num_runs) for setting in shown],
        "converged": [setting.converged_text() for setting in shown],
        "diverged": [str(setting.num_diverged) for setting in shown],
        "censored": [str(setting.num_censored) for setting in shown],
        "half by step": [short(setting.half_by, 0) for setting in shown],
    }
    for name in ("diverged", "censored"):
        if not any(getattr(setting, f"num_{name}") for setting in settings):
            del columns[name]
    widths = {name: max(len(name), *map(len, column)) for name, column in columns.items()}
    room = max(width - sum(widths.values()) - _GAP * len(widths), _LEAST_LABEL)
    label_width = min(room, max(len("setting"), *(len(setting.label) for setting in shown)))
    rows = [
        ("setting", tuple(columns)),
        *zip([s.label for s in shown], zip(*columns.values(), strict=True), strict=True),
    ]
    lines = [line for label, cells in rows for line in _table_row(label, label_width, cells, tuple(widths.values()))]
    more = len(settings) - len(shown)
    return [*lines, f"and {counted(more, 'more setting')}"] if more else lines


def _table_row(label: str, label_width: int, cells: Sequence[str], widths: Sequence[int]) -> list[str]:
    """One line, and further ones where the label is too long for its column: settings must stay tellable apart."""
    first, *rest = textwrap.wrap(label, label_width, subsequent_indent="  ") or [""]
    figures = (f"{'':{_GAP}}{cell:>{width}}" for cell, width in zip(cells, widths, strict=True))
    return [f"{first:<{label_width}}{''.join(figures)}", *rest]


def wrap(text: str, width: int = WIDTH, indent: str = "") -> list[str]:
    """The text in lines of at most `width` columns, all but the first after `indent`."""
    return textwrap.wrap(text, width, break_long_words=True, subsequent_indent=indent) or [""]
