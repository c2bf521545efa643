"""Writes tracked runs through wandb. Every wandb run has one writer, which keeps it open while its run trains.

Keeping runs open costs less than opening them at every commit, and an offline run has one folder for each mirror that
wrote to it: uploads of an offline run in many fragments are a weak point of wandb (wandb/wandb#3841).
"""

from __future__ import annotations

import contextlib
import math
import os
import resource
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.spec.sections import Tracking
from pipeline.tracking.folder import rows_written
from pipeline.tracking.forks import PLAIN_FORKS, BranchPoint
from pipeline.tracking.ledger import Entry
from pipeline.tracking.names import RUN_STEPS, STEP
from pipeline.tracking.quality import Table
from pipeline.tracking.rows import TrackedRow
from pipeline.tracking.tracked import TrackedRun

# Open files for each open run, and those that a process needs besides.
_FILES_PER_RUN, _OTHER_FILES = 5, 200
_MOST_OPEN = 2000
_INIT_TIMEOUT_S, _FINISH_TIMEOUT_S = 30.0, 45.0
# Until rows of an offline run can be read by others, and those of an online run are sent. By wandb's own rule (15 s)
# they would come later than need be; requests are made only where there are rows, so by run and commit. The first is a
# timer of every run, also of those that do nothing.
_FLUSH_S, _TRANSMIT_S = 3.0, 3.0
# Between two summaries of a run in training, a third of what a commit would cost; its rows are not held back.
_SUMMARY_S = 300.0
# The longest that wandb's service takes to close a file, and what is waited for the next after one that it did not.
_CLOSES_S, _CLOSES_NEXT_S = 5.0, 0.1


class UploadError(Exception):
    """The server or the disk did not take what was written, or not yet. What is missing is written again later."""


class OpenRun:
    """One wandb run that is being written. `step` is the last step that is written."""

    def __init__(
        self, run: Any, tracked: TrackedRun, step: int, rows_in: Callable[[Path], int | None] | None = None
    ) -> None:
        self._run, self.tracked, self.step = run, tracked, step
        # Where rows are kept in a file: how many it holds once the run is closed, None where it is not whole.
        self._rows_in, self._num_rows = rows_in, 0
        self._folder = Path(run.dir).parent
        # What the summary is to hold, and what it holds.
        self._wanted: dict[str, Any] = {}
        self._summary: dict[str, Any] = {}
        self._summary_due = -math.inf
        self.tags: tuple[str, ...] = ()
        # What the ledger is to hold besides, once this run is closed.
        self.marks: dict[str, Entry] = {}

    @property
    def folder(self) -> str:
        """The name of wandb's folder of the run."""
        return self._folder.name

    def write(self, rows: Iterable[TrackedRow], summary: Mapping[str, Any], tags: Sequence[str]) -> None:
        """Write rows, which follow all earlier ones, and what has changed of summary and tags; waits for no upload."""
        for row in rows:
            axis = {} if self.tracked.job_type == "sweep" else {STEP: row.step}
            recorded = {} if row.at is None else {"_timestamp": row.at}
            # `commit`, or the last row waits for the next one. wandb drops steps that its server already has from a
            # mirror that was killed before it wrote its ledger.
            self._run.log({**axis, **row.values, **recorded}, step=row.step, commit=True)
            self.step = row.step
            self._num_rows += 1
        self._wanted = dict(summary)
        if self.tracked.job_type != "run" or time.monotonic() >= self._summary_due:
            self._write_summary()
        if tuple(tags) != self.tags:
            self._run.tags = self.tags = tuple(tags)

    def _write_summary(self) -> None:
        changed = {key: value for key, value in self._wanted.items() if self._summary.get(key) != value}
        if changed:
            self._run.summary.update(changed)
            self._summary |= changed
            self._summary_due = time.monotonic() + _SUMMARY_S

    def set_tables(self, tables: Mapping[str, Table]) -> None:
        """Replace tables of the summary, by their names in wandb; waits for no upload."""
        import wandb

        made = {
            name: wandb.Table(columns=list(one.columns), data=[list(row) for row in one.rows])
            for name, one in tables.items()
        }
        self._run.summary.update(made)

    def alert(self, title: str, text: str, is_bad: bool, wait_s: float) -> None:
        """Have wandb tell the user, unless it has told them under this title within `wait_s` seconds."""
        self._run.alert(title, text, "WARN" if is_bad else "INFO", wait_s)

    def add_artifact(self, artifact: Any) -> None:
        """Keep an artifact with the run."""
        self._run.log_artifact(artifact)

    def finish(self) -> None:
        """Close the run once everything is written, and uploaded if online. Raises UploadError if it was not.

        An offline run is written when its rows stand in wandb's file, whatever wandb makes of a full disk.
        """
        self._write_summary()
        try:
            self._run.finish()
        except TimeoutError as error:
            raise UploadError(f"the server does not take the rows of {self.tracked.name}") from error
        # wandb ends such a run as it ends any other, and says so nowhere but in its log.
        log = self._folder / "logs" / "debug-internal.log"
        if log.is_file() and b"filestream: fatal error" in log.read_bytes():
            raise UploadError(f"the server refused rows of {self.tracked.name}")
        path = self._folder / f"run-{self.tracked.tracked_id}.wandb"
        if self._rows_in is not None and (found := self._rows_in(path)) != self._num_rows:
            held = "is not whole" if found is None else f"holds {found} of {self._num_rows} rows"
            raise UploadError(f"{path} {held}: wandb could not write it, as on a full disk")


class Writer:
    """Opens wandb runs, with wandb's own data collection disabled. Imports wandb with the first of them."""

    def __init__(self, folder: Path, tracking: Tracking, tell: Callable[[str], None]) -> None:
        self._folder, self._tracking, self._tell = folder, tracking, tell
        self._wandb: Any = None
        self._settings: dict[str, Any] = {}
        self.most_open = _most_open()
        # Tracked ids of parents of which the server makes no forks.
        self._refused: set[str] = set()
        self._patience_s = _CLOSES_S

    def _begin(self) -> None:
        import wandb

        self._wandb = wandb
        # Of wandb's service, which this process starts: threads that look for work cost more than what there is to do.
        os.environ.setdefault("GOMAXPROCS", "1")
        wanted: dict[str, Any] = {
            "mode": self._tracking.mode,
            "root_dir": str(self._folder),
            "host": "",
            "program": "seedbed",
            "console": "off",
            "silent": True,
            "symlink": False,
            "disable_git": True,
            "disable_code": True,
            "save_code": False,
            "disable_job_creation": True,
            "init_timeout": _INIT_TIMEOUT_S,
            "finish_timeout": _FINISH_TIMEOUT_S,
            "finish_timeout_raises": True,
            # "Stop" in the browser is for training, which knows nothing of wandb.
            "stop_fn": _nothing,
            "x_disable_meta": True,
            "x_disable_stats": True,
            "x_disable_machine_info": True,
            "x_save_requirements": False,
            "x_transaction_log_flush_interval": _FLUSH_S,
            # A copy of what is sent, for `wandb sync`: what the server lacks is written again from the store instead.
            "x_skip_transaction_log": self._tracking.mode == "online",
            "x_file_stream_transmit_interval": _TRANSMIT_S,
        }
        # Some are newer than the oldest version of wandb that will do.
        self._settings = {name: wanted[name] for name in wanted if name in wandb.Settings.model_fields}
        wandb.setup(settings=wandb.Settings(**self._settings))

    def open(
        self,
        tracked: TrackedRun,
        config: Mapping[str, Any],
        tags: Sequence[str],
        step: int,
        branch: BranchPoint | None = None,
        may_exist: bool = True,
    ) -> OpenRun:
        """A wandb run to which rows after `step` are to be written. Raises UploadError if the server is not there.

        With `branch` it is forked from another, unless the server has it already, which it `may`, or refuses to.
        """
        if self._wandb is None:
            self._begin()
        try:
            run = self._forked(tracked, config, tags, branch, may_exist)
            run = self._init(tracked, config, tags, resume="allow") if run is None else run
        except (self._wandb.Error, TimeoutError) as error:
            raise UploadError(f"no run could be begun: {_first_line(error)}") from error
        _do_not_poll(run)
        axis = RUN_STEPS if tracked.job_type == "sweep" else STEP
        run.define_metric(axis)
        run.define_metric("*", step_metric=axis)
        opened = OpenRun(run, tracked, step, None if self._tracking.mode == "online" else self._rows_in)
        opened.tags = tuple(tags)
        return opened

    def _forked(
        self,
        tracked: TrackedRun,
        config: Mapping[str, Any],
        tags: Sequence[str],
        branch: BranchPoint | None,
        may_exist: bool,
    ) -> Any:
        """The run as a fork, made or continued; None where it is to be a plain one."""
        if branch is None or branch.tracked_id in self._refused:
            return None
        if may_exist:
            # `fork_from` on a run that is there would write its rows twice, and `resume` alone would make a plain one.
            with contextlib.suppress(self._wandb.errors.UsageError):
                return self._init(tracked, config, tags, resume="must")
        try:
            return self._init(tracked, config, tags, fork_from=branch.moment)
        except self._wandb.Error as error:
            if "timed out" in str(error).lower():
                raise
            refusal = error
        run = self._init(tracked, config, tags, resume="allow")
        if not self._refused:
            self._tell(f"{PLAIN_FORKS}: the server refuses to fork {branch.tracked_id}: {_first_line(refusal)}")
        self._refused.add(branch.tracked_id)
        return run

    def _init(self, tracked: TrackedRun, config: Mapping[str, Any], tags: Sequence[str], **way: str) -> Any:
        """The run in one of three ways that exclude each other. Raises what wandb raises."""
        self._wait_for_a_name(tracked.tracked_id)
        try:
            return self._wandb.init(
                id=tracked.tracked_id,
                project=self._tracking.project,
                entity=self._tracking.entity,
                name=tracked.name,
                group=tracked.group,
                job_type=tracked.job_type,
                tags=list(tags),
                config=dict(config),
                reinit="create_new",
                settings=self._wandb.Settings(**self._settings),
                **way,
            )
        except (self._wandb.Error, TimeoutError):
            self._release(tracked.tracked_id)
            raise

    def _wait_for_a_name(self, tracked_id: str) -> None:
        """wandb names a run's folder by the second, and would write over one that was begun in the same second."""
        folder = self._folder / "wandb"
        while list(folder.glob(f"*run-{time.strftime('%Y%m%d_%H%M%S')}-{tracked_id}")):
            time.sleep(0.02)

    def _release(self, tracked_id: str) -> None:
        """Let a run that could not be begun be tried again: wandb 0.31 takes its id to be in use.

        No public call ends what its service holds of the run, so a wandb without these is left as it is.
        """
        with contextlib.suppress(AttributeError, TimeoutError):
            service = self._wandb.setup().ensure_service()
            service.inform_attach(tracked_id)[1].deliver_exit(1).wait_or(timeout=_FINISH_TIMEOUT_S)
            service.inform_finish(tracked_id)

    def _rows_in(self, path: Path) -> int | None:
        """How many rows a file of wandb's holds, which its service closes some milliseconds after the run."""
        deadline = time.monotonic() + self._patience_s
        while (found := rows_written(path)) is None and time.monotonic() < deadline:
            time.sleep(0.002)
        self._patience_s = _CLOSES_S if found is not None else _CLOSES_NEXT_S
        return found

    def close(self) -> None:
        """End wandb's own processes, and whatever is still open."""
        if self._wandb is not None:
            self._wandb.teardown()


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _nothing() -> None:
    return None


def _do_not_poll(run: Any) -> None:
    """End the threads that ask the server about every open run: two thirds of what an idle run costs.

    They are private, so a wandb without them is left as it is.
    """
    with contextlib.suppress(AttributeError):
        run._run_status_checker.stop()
        run._run_status_checker._stop_checker.stop_soon()


def _most_open() -> int:
    """How many runs may be open at once, with the limit on open files raised as far as it may be."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY or soft < hard:
        wanted = _MOST_OPEN * _FILES_PER_RUN + _OTHER_FILES
        limit = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        soft = max(soft, limit)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return max(1, min(_MOST_OPEN, (soft - _OTHER_FILES) // _FILES_PER_RUN))
