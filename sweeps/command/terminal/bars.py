"""A bar on the terminal for what takes longer than a moment and knows how much of it is done."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from sweeps.command.terminal.phases import is_live

# Told the share that is done, from 0 to 1.
OnShare = Callable[[float], None]


@contextlib.contextmanager
def bar(console: Console, what: str) -> Iterator[OnShare]:
    """In this context the yielded function shows how much of `what` is done, and for how long it will go on.

    On a terminal that can be drawn over one line, which goes away at the end; elsewhere nothing.
    """
    if not is_live(console):
        yield lambda share: None
        return
    # A label is no markup, whatever brackets a sweep's name has.
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(what, total=1.0)
        yield lambda share: progress.update(task, completed=share)
