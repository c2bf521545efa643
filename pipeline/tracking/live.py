"""One pass over the newest commits: what the ledger lacks is written, runs in training stay open.

A run is named in the ledger when its folder is closed, with every row uploaded if online. A folder of one of this
sweep's ids that the ledger does not name was being written when a mirror was killed, or was not taken by the server: it
is set aside, and its rows are written again. So after a mirror has ended every row stands exactly once in the folders,
and before that, at most once in those that lie there. A server that has some of the rows already drops these by their
steps, which increase.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from pipeline.tracking.alerts import Alerts
from pipeline.tracking.commits import CommitReader
from pipeline.tracking.forks import BranchPoint
from pipeline.tracking.labels import tags_of
from pipeline.tracking.ledger import BEGUN, NOTHING, Entry, Ledger
from pipeline.tracking.names import OUTCOME_TABLE
from pipeline.tracking.pictures import ReportFiles, attention_pictures, has_pictures, representative_of
from pipeline.tracking.progress import RUNNING, CommittedProgress, outcome_of
from pipeline.tracking.quality import ForecastQuality, analysis_stamps, outcome_table
from pipeline.tracking.rows import TrackedRow
from pipeline.tracking.tracked import TrackedRun
from pipeline.tracking.writer import OpenRun, UploadError, Writer

# Tracked runs closed between two writes of the ledger, each of which is synced to disk.
_LEDGER_INTERVAL = 16
# Seconds until a server that was not there is asked again, doubled each time.
_FIRST_WAIT_S, _LONGEST_WAIT_S = 5.0, 300.0


class LiveRuns:
    """The tracked runs of one sweep while a mirror is at work on it."""

    def __init__(
        self,
        reader: CommitReader,
        writer: Writer,
        ledger: Ledger,
        is_online: bool,
        clock: Callable[[], float] = time.monotonic,
        branches: Mapping[str, BranchPoint] | None = None,
    ) -> None:
        self._reader, self._writer, self._ledger, self._clock = reader, writer, ledger, clock
        self._branches = branches or {}
        self._sweep = reader.store.sweep
        self._alerts = Alerts(reader, is_enabled=is_online)
        self._open: dict[str, OpenRun] = {}
        # Not written yet: the server was not there, or too many runs are open.
        self._waiting: dict[str, TrackedRun] = {one.tracked_id: one for one in reader.tracked}
        self._wait_s, self._not_before = _FIRST_WAIT_S, -1.0
        self._num_closed = 0
        # The newest analysis that was read, and what it was read from.
        self._stamps: tuple[int, ...] = ()
        self._quality: ForecastQuality | None = None

    def write_new(self, failed_packs: Iterable[str] = ()) -> None:
        """Write what was committed since the last pass; what a server or disk does not take is written later."""
        self._alerts.add_failed(failed_packs)
        self._pass(is_last=False)

    def write_last(self, failed_packs: Iterable[str] = ()) -> None:
        """Write all that is committed, and close every run. Raises UploadError where something is missing."""
        self._alerts.add_failed(failed_packs)
        self._not_before = -1.0
        self._pass(is_last=True)

    def _pass(self, is_last: bool) -> None:
        due = self._waiting | {one.tracked_id: one for one in self._reader.refresh()}
        if is_last:
            due |= {key: opened.tracked for key, opened in self._open.items()}
        self._waiting = {}
        problems: dict[str, None] = {}
        try:
            for tracked in self._in_order(due.values()):
                progress = self._reader.progress(tracked)
                if progress is None:
                    continue
                try:
                    self._write(tracked, progress, is_last)
                except (UploadError, OSError) as error:
                    problems[str(error)] = None
                    self._waiting[tracked.tracked_id] = tracked
                    self._put_off()
        finally:
            if self._num_closed:
                self._write_ledger(is_last)
        if not problems:
            self._wait_s = _FIRST_WAIT_S
        elif is_last:
            raise UploadError(f"{len(self._waiting)} tracked runs are not written: {next(iter(problems))}")

    def _write_ledger(self, is_last: bool) -> None:
        """Write the ledger; in the next pass where a disk does not take it, unless this is the last."""
        try:
            self._ledger.write()
            self._num_closed = 0
        except OSError:
            if is_last:
                raise

    def _in_order(self, due: Iterable[TrackedRun]) -> list[TrackedRun]:
        """Those that are open first, since closing them makes room."""
        return sorted(due, key=lambda one: one.tracked_id not in self._open)

    def _write(self, tracked: TrackedRun, progress: CommittedProgress, is_last: bool) -> None:
        key, is_sweep = tracked.tracked_id, tracked.job_type == "sweep"
        entry, opened = self._ledger.entries.get(key, NOTHING), self._open.get(key)
        report, quality = (self._new_report(), self._new_quality()) if is_sweep else (None, None)
        alerts = self._alerts.take(progress) if is_sweep else []
        if opened is None:
            if entry.holds(progress) and not alerts and report is None and quality is None:
                return
            if (not is_last and self._clock() < self._not_before) or len(self._open) >= self._writer.most_open:
                self._waiting[key] = tracked
                self._alerts.give_back(alerts)
                return
        content = self._reader.content(tracked, progress, entry.step if opened is None else opened.step)
        tags = tags_of(self._sweep, tracked.job_type, outcome_of(progress) if tracked.job_type == "run" else None)
        if opened is None:
            try:
                opened = self._open_run(tracked, content.config, tags, entry)
            except (UploadError, OSError):
                self._alerts.give_back(alerts)
                raise
            self._open[key] = opened
        opened.write(self._with_attention(tracked, progress, content.rows), content.summary, tags)
        for alert in alerts:
            opened.alert(alert.title, alert.text, alert.is_bad, alert.wait_s)
        if report is not None:
            self._write_report(opened, progress, report)
        if quality is not None:
            opened.set_tables(quality.tables)
            opened.marks[self._key_of("forecasts")] = Entry(0, quality.digest)
        is_done = is_last or progress.reason != RUNNING
        if is_done and is_sweep:
            reader = self._reader
            table = outcome_table(reader.plan, reader.progress_by_run, reader.distinct)
            opened.set_tables({OUTCOME_TABLE: table})
        if is_done:
            self._close(opened, progress, entry)

    def _open_run(self, tracked: TrackedRun, config: Mapping[str, Any], tags: Sequence[str], entry: Entry) -> OpenRun:
        """A fork is made from its parent's wandb run, unless a mirror has closed it before: then it is continued."""
        branch = None if entry.folders else self._branches.get(tracked.tracked_id)
        if branch is None:
            return self._writer.open(tracked, config, tags, entry.step)
        self._ledger.set_begun(tracked.tracked_id)
        return self._writer.open(tracked, config, tags, entry.step, branch, may_exist=entry.reason == BEGUN)

    def _close(self, opened: OpenRun, progress: CommittedProgress, entry: Entry) -> None:
        del self._open[opened.tracked.tracked_id]
        self._num_closed += 1
        try:
            opened.finish()
        except (UploadError, OSError):
            self._ledger.set_aside(opened.folder)
            raise
        step = max(progress.step, opened.step, entry.step)
        self._ledger.entries |= opened.marks
        self._ledger.entries[opened.tracked.tracked_id] = Entry(step, progress.reason, (*entry.folders, opened.folder))
        if self._num_closed % _LEDGER_INTERVAL == 0:
            self._write_ledger(is_last=False)

    def _put_off(self) -> None:
        if self._clock() >= self._not_before:
            self._not_before = self._clock() + self._wait_s
            self._wait_s = min(2 * self._wait_s, _LONGEST_WAIT_S)

    def _with_attention(
        self, tracked: TrackedRun, progress: CommittedProgress, rows: list[TrackedRow]
    ) -> list[TrackedRow]:
        """The rows, with pictures of one run's attention in the last row of a setting."""
        if tracked.job_type != "aggregate" or progress.reason == RUNNING or not rows or not has_pictures():
            return rows
        run_id = representative_of(self._reader.counted(tracked))
        found = self._reader.attention(run_id)
        if found is None:
            return rows
        pictures = attention_pictures(found[1], f"run {run_id}, step {found[0]}")
        return [*rows[:-1], rows[-1]._replace(values={**rows[-1].values, **pictures})]

    def _new_report(self) -> ReportFiles | None:
        """The sweep's report, unless it is the one that was written last."""
        found = ReportFiles.of(self._reader.store.folder)
        return None if found is None or found.digest == self._known("report") else found

    def _new_quality(self) -> ForecastQuality | None:
        """How good forecasts are, unless the same was written last."""
        stamps = analysis_stamps(self._reader.store)
        if stamps != self._stamps:
            self._stamps, self._quality = stamps, ForecastQuality.of(self._reader.store)
        found = self._quality
        return None if found is None or found.digest == self._known("forecasts") else found

    def _known(self, what: str) -> str | None:
        """The digest of what was written last, also to the run that is open."""
        key, opened = self._key_of(what), self._open.get(f"{self._sweep['sweep_id']}-sweep")
        known = self._ledger.entries.get(key)
        known = opened.marks.get(key, known) if opened is not None else known
        return None if known is None else known.reason

    def _write_report(self, opened: OpenRun, progress: CommittedProgress, report: ReportFiles) -> None:
        row = TrackedRow(max(opened.step, progress.step) + 1, report.pictures())
        opened.write([row] if row.values else [], {}, opened.tags)
        opened.add_artifact(report.artifact(self._sweep["sweep_id"]))
        opened.marks[self._key_of("report")] = Entry(0, report.digest)

    def _key_of(self, what: str) -> str:
        return f"{self._sweep['sweep_id']}-{what}"
