"""Live progress of a launch: one bar on a terminal, one line every few seconds elsewhere."""

from __future__ import annotations

import time
from collections.abc import Mapping
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from pipeline.store.progress import Progress as PackProgress
from pipeline.store.progress import summed

_LINE_INTERVAL_S = 10.0


class Display:
    """Sums what the packs report. `packs` holds each pack's progress before this launch, excluded from throughput."""

    def __init__(self, console: Console, packs: Mapping[str, PackProgress]) -> None:
        self.console, self.packs = console, dict(packs)
        # Determined once: the terminal may close during a launch.
        self._has_bar = console.is_terminal
        self._first_steps = self._total("run_steps")
        self._started = self._printed = time.monotonic()
        self._bar = Progress(
            BarColumn(bar_width=30), TextColumn("{task.description}"), TimeElapsedColumn(), console=console
        )
        self._task = self._bar.add_task("starting", total=max(self._total("steps_left"), 1))

    def __enter__(self) -> Display:
        if self._has_bar:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._has_bar:
            self._bar.stop()
        self.console.print(self.line(), highlight=False)

    def update(self, pack_id: str, progress: PackProgress) -> None:
        """Take one pack's newest report, and show the sum."""
        self.packs[pack_id] = progress
        if self._has_bar:
            done = self._bar.tasks[self._task].total or 0
            self._bar.update(self._task, completed=done - self._total("steps_left"), description=self.line())
        elif time.monotonic() - self._printed >= _LINE_INTERVAL_S:
            self._printed = time.monotonic()
            self.console.print(self.line(), highlight=False)

    def _total(self, name: str) -> int:
        return sum(int(getattr(pack, name)) for pack in self.packs.values())

    def line(self) -> str:
        """Runs done, converged, diverged and stopped, run-steps per second of this launch, and time left.

        The time supposes that every run uses its whole budget, hence an upper bound.
        """
        steps, left = self._total("run_steps") - self._first_steps, self._total("steps_left")
        rate = steps / max(time.monotonic() - self._started, 1e-9)
        counts = f"{self._total('num_done')}/{self._total('num_runs')} runs done, "
        counts += summed(self.packs.values()).outcomes_text()
        time_left = f", at most {clock(left / rate)} left" if left and steps else ""
        return f"{counts}, {rate:,.0f} run-steps/s{time_left}"


def clock(seconds: float) -> str:
    """12 s, 3 min 20 s, 2 h 5 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
