"""Live progress of a launch: a picture that is drawn over on a terminal, one line a minute elsewhere."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from types import TracebackType
from typing import Any

from rich.console import Console, RenderableType
from rich.live import Live

from pipeline.long_loops import loops_watched_by
from pipeline.store.progress import Progress
from sweeps.command.terminal.phases import is_live
from sweeps.command.terminal.rendering import picture, plain_line
from sweeps.command.terminal.view import DisplayedSweep, Speed, View

_LINE_INTERVAL_S, _REFRESH_S = 60.0, 0.5
# Over which speeds are taken.
_SPEED_WINDOW_S = 30.0


class Display:
    """Shows what the packs report. `packs` holds each pack's progress before this launch, excluded from speeds.

    On a terminal a thread draws it twice a second, at the terminal's size of that moment, and nothing scrolls.
    Elsewhere, as under TERM=dumb, it is a line a minute, and one for every change of phase and every failure.
    A terminal that has closed is written to no more.
    """

    def __init__(
        self,
        console: Console,
        plan: Mapping[str, Any],
        packs: Mapping[str, Progress],
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self.console, self.packs, self.failures = console, dict(packs), dict[str, str]()
        self._sweep, self._speed, self._now_s = DisplayedSweep(plan), Speed(_SPEED_WINDOW_S), now_s
        self._started = self._printed = now_s()
        self._first_steps = self._run_steps()
        self._reporting: dict[str, None] = {}
        self._phase = "starting"
        # Of what the thread reads.
        self._lock = threading.Lock()
        # Determined once: the terminal may close during a launch.
        self._live = _live(console, self._picture) if is_live(console) else None
        self._without_bars = contextlib.ExitStack()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._refresh, daemon=True)

    def __enter__(self) -> Display:
        self._without_bars.enter_context(loops_watched_by(None))
        if self._live is not None:
            with self._open_terminal():
                self._live.start()
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._stopped.set()
            self._thread.join()
            with self._open_terminal():
                self._live.stop()
        self._without_bars.close()
        self._print(self.line())

    def phase(self, phase: str) -> None:
        """Show what is being done now, such as "starting Ray"."""
        if phase != self._phase:
            self._phase = phase
            if self._live is None:
                self._print(f"{self._sweep.name}: {phase}")

    def update(self, pack_id: str, progress: Progress) -> None:
        """Take one pack's newest report."""
        now = self._now_s()
        with self._lock:
            self.packs[pack_id] = progress
            self._reporting[pack_id] = None
            self._speed.add(pack_id, now, progress)
        if self._live is None and now - self._printed >= _LINE_INTERVAL_S:
            self._printed = now
            self._print(plain_line(self.view()))

    def fail(self, pack_id: str, reason: str) -> None:
        """Show that a pack has failed for good, and why."""
        with self._lock:
            self.failures[pack_id] = reason
            self._reporting.pop(pack_id, None)
        if self._live is None:
            self._print(f"pack {pack_id} failed: {reason}", style="red")

    def view(self) -> View:
        """What is shown now."""
        elapsed_s = self._now_s() - self._started
        with self._lock:
            reporting = tuple(self._reporting)
            return self._sweep.view(self.packs, reporting, self._speed, self._phase, elapsed_s, self.failures)

    def line(self) -> str:
        """Runs done, their outcomes, and run-steps per second of the whole launch."""
        view = self.view()
        steps, elapsed_s = self._run_steps() - self._first_steps, max(view.elapsed_s, 1e-9)
        counts = f"{view.total.num_done:,}/{view.total.num_runs:,} runs done, {view.total.outcomes_text()}"
        return f"{counts}, {steps / elapsed_s:,.0f} run-steps/s"

    def _run_steps(self) -> int:
        return sum(progress.run_steps for progress in self.packs.values())

    def _picture(self) -> RenderableType:
        # A line less than there are, for the cursor, and room for the ^C that a terminal echoes: a line that it breaks
        # would be counted as one.
        return picture(self.view(), self.console.width - 2, self.console.height - 1)

    def _refresh(self) -> None:
        width = self.console.width
        while not self._stopped.wait(_REFRESH_S):
            assert self._live is not None
            with self._open_terminal():
                if self.console.width < width:
                    # The lines that are there have been broken: how many rows they take is not known.
                    self.console.clear()
                width = self.console.width
                self._live.refresh()

    def _print(self, text: str, style: str = "") -> None:
        with self._open_terminal():
            self.console.print(text, style=style, highlight=False, markup=False)

    @staticmethod
    @contextlib.contextmanager
    def _open_terminal() -> Iterator[None]:
        """A terminal that closes refuses what is written, before the signal that tells of it."""
        with contextlib.suppress(OSError):
            yield


def _live(console: Console, render: Callable[[], RenderableType]) -> Live:
    return Live(console=console, auto_refresh=False, transient=True, get_renderable=render)
