"""`seedbed status --watch`: the display of a launch, from the store alone, wherever the launch runs."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.live import Live

from pipeline.long_loops import loops_watched_by
from pipeline.store.progress import Progress, packs_left, progress_by_pack, runs_left
from pipeline.store.records.record import Record
from pipeline.store.stored_forecast import FORECAST_FILE, orders_of, read_forecast
from pipeline.store.sweep_store import SweepStore
from pipeline.store.tails.pack_tail import PackTail
from sweeps.command.forecasts.newest_forecast import ForecastNow
from sweeps.command.terminal.clock import clock
from sweeps.command.terminal.phases import is_live
from sweeps.command.terminal.rendering import picture, plain_line
from sweeps.command.terminal.view import DisplayedSweep, Speed, View

# The store is read this often at most, and at rest for at least _REST times what reading it took.
_READ_INTERVAL_S, _REST, _LINE_INTERVAL_S = 2.0, 20, 60.0
# Packs commit every minute; speeds are taken over a few commits, and a launch without any for longer has ended.
_SPEED_WINDOW_S, _SILENCE_S = 240.0, 180.0


class StoreWatch:
    """Views of a sweep from what is committed. Only packs that have committed since are read again.

    Times are those of files, so those of the machine that the folder is on.
    """

    def __init__(self, store: SweepStore, time_s: Callable[[], float] = time.time) -> None:
        self.store, self._time_s = store, time_s
        self._speed, self._started = Speed(_SPEED_WINDOW_S), time_s()
        self._documents: tuple[int, ...] = ()
        self._tails: dict[str, PackTail] = {}
        self._forecast: tuple[object, str] = (None, "")

    def view(self) -> View:
        """What is committed now. Raises StoreError where the folder holds no sweep, or a pack is damaged throughout."""
        self._read_documents()
        committed = [pack_id for pack_id, tail in self._tails.items() if tail.poll() is not None]
        progress = progress_by_pack(self.store, self._records)
        for pack_id in committed:
            self._note_speed(pack_id, progress[pack_id])
        in_training = tuple(pack_id for pack_id, record in self._records.items() if record.active)
        phase, elapsed_s = self._phase(progress), self._time_s() - self._started
        return self._sweep.view(progress, in_training, self._speed, phase, elapsed_s, {}, self._note())

    def _read_documents(self) -> None:
        """A launch with more seeds or settings replaces them."""
        path = self.store.folder / "sweep.json"
        stat = path.stat() if path.exists() else None
        now = () if stat is None else (stat.st_ino, stat.st_mtime_ns)
        if now != self._documents or not now:
            self._sweep, known = DisplayedSweep(self.store.plan), self._tails
            self._tails = {
                pack_id: known.get(pack_id) or PackTail(self.store.pack(pack_id), reads_history=False)
                for pack_id in self.store.pack_ids()
            }
            self._documents = now

    @property
    def _records(self) -> dict[str, Record]:
        return {pack_id: tail.record for pack_id, tail in self._tails.items() if tail.record is not None}

    def _note_speed(self, pack_id: str, progress: Progress) -> None:
        record, at_s = self._tails[pack_id].record, self._committed_s(pack_id)
        assert record is not None
        if not self._speed.of(pack_id) and record.wall_s:
            # What it was on average before it was watched.
            self._speed.add(pack_id, at_s - record.wall_s, progress.at_its_start())
        self._speed.add(pack_id, at_s, progress)

    def _committed_s(self, pack_id: str) -> float:
        tail = self._tails[pack_id]
        return self._started if tail.record is None else _modified_s(tail.store.record_path(tail.record.order))

    def _phase(self, progress: dict[str, Progress]) -> str:
        if not packs_left(progress):
            return "complete"
        if not self._records:
            return "nothing is committed yet"
        age_s = max(0.0, self._time_s() - max(map(self._committed_s, self._records)))
        state = "training" if age_s < _SILENCE_S else "stopped, it seems"
        return f"{state}, newest commit {clock(age_s)} ago"

    def _note(self) -> str:
        """The newest forecast, as it applies now."""
        path = self.store.folder / FORECAST_FILE
        records = self._records
        state = (orders_of(records), _modified_s(path))
        if state != self._forecast[0]:
            left = runs_left(self.store.plan, records)
            stored = read_forecast(self.store) if left else None
            now = ForecastNow.of(stored, left, orders_of(records))
            self._forecast = (state, "" if now is None else f"forecast: {now.expectation()}")
        return self._forecast[1]


def watch_status(store: SweepStore, out: Console, sleep: Callable[[float], None] = time.sleep) -> None:
    """Show the display until the sweep is complete or Ctrl-C, on a screen of its own, which leaves nothing behind.

    Without a terminal it prints a line a minute, and one for every change of what is done.
    """
    watch = StoreWatch(store)
    try:
        if is_live(out):
            _watch_live(watch, out, sleep)
        else:
            _watch_plainly(watch, out, sleep)
    except KeyboardInterrupt:
        return


def _watch_live(watch: StoreWatch, out: Console, sleep: Callable[[float], None]) -> None:
    view, rest_s = watch.view(), _READ_INTERVAL_S
    with loops_watched_by(None), Live(console=out, screen=True, auto_refresh=False) as live:
        while view.total.num_done < view.total.num_runs:
            live.update(picture(view, out.width, out.height), refresh=True)
            sleep(rest_s)
            started = time.process_time()
            view = watch.view()
            rest_s = max(_READ_INTERVAL_S, _REST * (time.process_time() - started))


def _watch_plainly(watch: StoreWatch, out: Console, sleep: Callable[[float], None]) -> None:
    while (view := watch.view()).total.num_done < view.total.num_runs:
        out.print(plain_line(view))
        sleep(_LINE_INTERVAL_S)


def _modified_s(path: Path) -> float:
    try:
        return os.stat(path).st_mtime
    except FileNotFoundError:
        return 0.0
