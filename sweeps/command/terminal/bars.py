"""A bar on the terminal for each long loop of a command, which says how much of it is done."""

from __future__ import annotations

from contextlib import AbstractContextManager, suppress
from threading import Lock, Timer
from typing import TYPE_CHECKING

from rich.console import Console

from pipeline.long_loops import loops_watched_by
from sweeps.command.terminal.phases import is_live

if TYPE_CHECKING:
    from rich.progress import Progress

# A loop that ends sooner has no bar, which would only flicker.
_PATIENCE_S = 0.5


class _Bars:
    """Shows each outermost loop that takes longer than a moment, on one line, which goes away at its end."""

    def __init__(self, console: Console) -> None:
        self._console, self._lock = console, Lock()
        self._progress: Progress | None = None
        self._timer: Timer | None = None
        self._share = 0.0

    def begin(self, what: str) -> None:
        self._share = 0.0
        self._timer = Timer(_PATIENCE_S, self._start, (what,))
        self._timer.daemon = True
        self._timer.start()

    def _start(self, what: str) -> None:
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

        # A label is no markup, whatever brackets a sweep's name has.
        columns = (
            TextColumn("{task.description}", markup=False), BarColumn(), TaskProgressColumn(), TimeRemainingColumn()
        )  # fmt: skip
        # What a terminal that has closed refuses is told by what is printed next.
        with self._lock, suppress(OSError):
            if self._timer is None:
                return
            self._progress = Progress(*columns, console=self._console, transient=True)
            self._progress.update(self._progress.add_task(what, total=1.0), completed=self._share)
            self._progress.start()

    def show(self, share: float) -> None:
        with self._lock:
            self._share = share
            if self._progress is not None:
                self._progress.update(self._progress.task_ids[0], completed=share)

    def end(self) -> None:
        with self._lock:
            if self._timer is not None:
                self._timer.cancel()
            progress, self._timer, self._progress = self._progress, None, None
            if progress is not None:
                with suppress(OSError):
                    progress.stop()


def bars(console: Console) -> AbstractContextManager[None]:
    """In this context loops (see `pipeline.long_loops`) have a bar each, if they take longer than half a second.

    On a terminal that can be drawn over one line, which goes away at the end; elsewhere nothing.
    """
    return loops_watched_by(_Bars(console) if is_live(console) else None)
