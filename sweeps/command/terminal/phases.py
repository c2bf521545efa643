"""What a command waits for, before there is anything to count."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.text import Text

from pipeline.long_loops import loops_watched_by

# Told what begins now: "planning", "compiling 1 of 2".
OnPhase = Callable[[str], None]


def is_live(console: Console) -> bool:
    """Whether text on this console can be drawn over: a terminal that understands how."""
    return console.is_terminal and not console.is_dumb_terminal


@contextlib.contextmanager
def phases(console: Console, *, is_quiet: bool = False) -> Iterator[OnPhase]:
    """In this context the yielded function shows what is waited for.

    On a terminal one line, which goes away at the end; elsewhere a line the first time that each is told, where other
    numbers do not make another one, or nothing if `is_quiet`, as for commands whose output is read by programs.
    """
    if not is_live(console):
        told: set[str] = set()

        def tell(phase: str) -> None:
            kind = re.sub(r"\d+", "", phase)
            if not is_quiet and kind not in told:
                told.add(kind)
                console.print(phase)

        yield tell
        return
    # One line of a terminal at a time is drawn over.
    with loops_watched_by(None), console.status("", spinner="dots") as status:
        yield lambda phase: status.update(Text(phase, no_wrap=True, overflow="ellipsis"))
