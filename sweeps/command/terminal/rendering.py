"""Draws a view of a sweep, time left first, so that it is never wider or higher than the terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from pipeline.store.progress import Progress
from sweeps.command.terminal.clock import clock
from sweeps.command.terminal.view import Line, View

_BAR_WIDTH, _GAP = 30, 2
_MOST_FAILURES = 3
# Columns, in order, with what each shows; the first of _DROPPED go where there is no room for all.
_COLUMNS: dict[str, Callable[[Line], str]] = {
    "converged": lambda line: f"{line.progress.num_converged:,}/{line.progress.num_runs:,}",
    "diverged": lambda line: f"{line.progress.num_diverged:,}",
    "stopped": lambda line: f"{line.progress.num_stopped:,}",
    "done": lambda line: f"{line.progress.num_done:,}",
    "running": lambda line: f"{line.progress.num_running:,}",
    "waiting": lambda line: f"{line.progress.num_waiting:,}",
    "steps/s": lambda line: f"{line.speed:,.0f}" if line.speed else "-",
}
_DROPPED = ("done", "steps/s", "waiting", "stopped", "diverged", "running")


def picture(view: View, width: int, height: int) -> RenderableType:
    """The view in at most `height` lines of at most `width` columns."""
    head: list[RenderableType] = [_first_line(view), _bar_line(view, width), _text(_counts(view.total, width))]
    head += [_text(view.note)] if view.note else []
    failures = _failures(view)
    room = height - len(head) - len(failures)
    # A title and a blank line for each table; packs get a third of the room, and what settings leave.
    num_settings = len(view.settings) if len(view.settings) > 1 else 0
    for_packs = max(room // 3, room - num_settings - 2) - 2
    shown_packs = folded(view.packs, for_packs, "pack")
    room -= len(shown_packs) + 2 if shown_packs else 0
    shown_settings = folded(view.settings, room - 2, "setting") if num_settings else []
    parts = [*head, *_table("setting", shown_settings, width), *_table("pack", shown_packs, width), *failures]
    return Group(*parts[:height])


def plain_line(view: View) -> str:
    """The view in a line, for where there is no terminal."""
    left = f"{_time_left(view)}: " if view.total.num_done < view.total.num_runs else ""
    total = view.total
    done = f"{total.num_done:,}/{total.num_runs:,} runs done, {total.outcomes_text()}"
    return f"{left}{done}, {view.speed:,.0f} run-steps/s"


def folded(lines: Sequence[Line], room: int, what: str) -> list[Line | str]:
    """The lines, where they fit `room`; else those in training first, and how many more there are in the last one."""
    if len(lines) <= room:
        return list(lines)
    if room < 1:
        return []
    states = [_state(line.progress) for line in lines]
    first = sorted(range(len(lines)), key=lambda place: ("in training", "waiting", "done").index(states[place]))
    shown = sorted(first[: room - 1])
    counts = Counter(states[place] for place in first[room - 1 :])
    told = ", ".join(f"{number:,} {state}" for state, number in counts.items())
    more = len(lines) - len(shown)
    return [*(lines[place] for place in shown), f"and {more:,} more {what}{'s' if more > 1 else ''}: {told}"]


def _state(progress: Progress) -> str:
    if progress.num_done == progress.num_runs:
        return "done"
    return "in training" if progress.num_running else "waiting"


def _first_line(view: View) -> Text:
    text = Text(no_wrap=True, overflow="ellipsis")
    text.append(_time_left(view), style="bold")
    text.append(f"  {view.name}: {view.phase}")
    if view.time_left_s is None:
        text.append(f" ({clock(view.elapsed_s)})")
    if view.num_packs_waiting and view.packs:
        text.append(f", {len(view.packs):,} pack{'s' if len(view.packs) > 1 else ''}")
        text.append(f", {view.num_packs_waiting:,} waiting")
    return text


def _time_left(view: View) -> str:
    if view.total.num_done == view.total.num_runs:
        return "0 s left"
    return "time left unknown" if view.time_left_s is None else f"at most {clock(view.time_left_s)} left"


def _bar_line(view: View, width: int) -> RenderableType:
    total = view.total
    whole = total.run_steps + total.steps_left
    # Steps that runs were spared count as done.
    share = 1 - total.steps_left / whole if whole else 1.0
    told = f"{share:4.0%}  {view.speed:,.0f} run-steps/s"
    bar = max(1, min(_BAR_WIDTH, width - len(told) - _GAP))
    grid = Table.grid(padding=(0, _GAP, 0, 0))
    grid.add_column(width=bar)
    grid.add_column(no_wrap=True, overflow="ellipsis")
    grid.add_row(ProgressBar(total=1.0, completed=share, width=bar), told)
    return grid


def _counts(total: Progress, width: int) -> str:
    """As much as fits."""
    told = f"{total.num_done:,}/{total.num_runs:,} runs done, {total.outcomes_text()}"
    for more in (f", {total.num_running:,} running", f", {total.num_waiting:,} waiting"):
        if len(told) + len(more) <= width:
            told += more
    return told


def _text(text: str, style: str = "") -> Text:
    return Text(text, style=style, no_wrap=True, overflow="ellipsis")


def _failures(view: View) -> list[RenderableType]:
    if not view.failures:
        return []
    newest = view.failures[-_MOST_FAILURES:]
    lines = [_text(f"failed: pack {name}: {reason}", "red") for name, reason in newest]
    more = len(view.failures) - len(newest)
    return [_text(""), *lines, *([_text(f"and {more:,} more packs failed before", "red")] if more else [])]


def _table(title: str, lines: Sequence[Line | str], width: int) -> list[RenderableType]:
    """A blank line, a title, and a line each."""
    if not lines:
        return []
    rows = [line for line in lines if isinstance(line, Line)]
    cells = {name: [cell(line) for line in rows] for name, cell in _COLUMNS.items()}
    for name in ("diverged", "stopped"):
        if not any(getattr(line.progress, f"num_{name}") for line in rows):
            del cells[name]
    widths = {name: max(len(name), *(len(cell) for cell in column or [""])) for name, column in cells.items()}
    longest = max([len(title), *(len(line.label) for line in rows)])
    for name in _DROPPED:
        # Labels have half of the width, where they need it.
        if sum(widths.values()) + _GAP * len(widths) + min(longest, width // 2) > width:
            widths.pop(name, None)
    label_width = max(1, min(longest, width - sum(widths.values()) - _GAP * len(widths)))
    table = Table.grid(padding=(0, _GAP, 0, 0))
    table.add_column(width=label_width, no_wrap=True, overflow="ellipsis")
    for column_width in widths.values():
        table.add_column(width=column_width, justify="right", no_wrap=True, overflow="ellipsis")
    table.add_row(title, *widths, style="bold")
    for place, line in enumerate(rows):
        table.add_row(Text(line.label), *(cells[name][place] for name in widths))
    folds = [_text(line, "dim") for line in lines if isinstance(line, str)]
    return [_text(""), table, *folds]
