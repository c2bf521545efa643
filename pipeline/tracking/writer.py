"""Writes tracked runs through wandb. Every wandb run has one writer, which keeps it open while its run trains.

Keeping runs open costs less than opening them at every commit, and an offline run has one folder for each mirror that
wrote to it: uploads of an offline run in many fragments are a weak point of wandb (wandb/wandb#3841).
"""

from __future__ import annotations

import resource
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.spec.sections import Tracking
from pipeline.tracking.ledger import Entry
from pipeline.tracking.names import RUN_STEPS, STEP
from pipeline.tracking.rows import TrackedRow
from pipeline.tracking.tracked import TrackedRun

# Open files for each open run, and those that a process needs besides.
_FILES_PER_RUN, _OTHER_FILES = 5, 200
_MOST_OPEN = 2000
_INIT_TIMEOUT_S, _FINISH_TIMEOUT_S = 30.0, 45.0
# Until rows of an offline run can be read by others, and those of an online run are sent. By wandb's own rule (15 s)
# they would come later than need be; requests are made only where there are rows, so by run and commit.
_FLUSH_S, _TRANSMIT_S = 3.0, 3.0


class UploadError(Exception):
    """The server did not take what was written, or not yet. What is missing is written again later."""


class OpenRun:
    """One wandb run that is being written. `step` is the last step that is written."""

    def __init__(self, run: Any, tracked: TrackedRun, step: int) -> None:
        self._run, self.tracked, self.step = run, tracked, step
        self._folder = Path(run.dir).parent
        self._summary: dict[str, Any] = {}
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
            time = {} if row.at is None else {"_timestamp": row.at}
            # `commit`, or the last row waits for the next one. wandb drops steps that its server already has from a
            # mirror that was killed before it wrote its ledger.
            self._run.log({**axis, **row.values, **time}, step=row.step, commit=True)
            self.step = row.step
        changed = {key: value for key, value in summary.items() if self._summary.get(key) != value}
        if changed:
            self._run.summary.update(changed)
            self._summary |= changed
        if tuple(tags) != self.tags:
            self._run.tags = self.tags = tuple(tags)

    def alert(self, title: str, text: str, is_bad: bool, wait_s: float) -> None:
        """Have wandb tell the user, unless it has told them under this title within `wait_s` seconds."""
        self._run.alert(title, text, "WARN" if is_bad else "INFO", wait_s)

    def add_artifact(self, artifact: Any) -> None:
        """Keep an artifact with the run."""
        self._run.log_artifact(artifact)

    def finish(self) -> None:
        """Close the run once everything is written, and uploaded if online. Raises UploadError if it was not."""
        try:
            self._run.finish()
        except TimeoutError as error:
            raise UploadError(f"the server does not take the rows of {self.tracked.name}") from error
        # wandb ends such a run as it ends any other, and says so nowhere but in its log.
        log = self._folder / "logs" / "debug-internal.log"
        if log.is_file() and b"filestream: fatal error" in log.read_bytes():
            raise UploadError(f"the server refused rows of {self.tracked.name}")


class Writer:
    """Opens wandb runs, with wandb's own data collection disabled. Imports wandb with the first of them."""

    def __init__(self, folder: Path, tracking: Tracking) -> None:
        self._folder, self._tracking = folder, tracking
        self._wandb: Any = None
        self._settings: dict[str, Any] = {}
        self.most_open = _most_open()

    def _begin(self) -> None:
        import wandb

        self._wandb = wandb
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
            "x_file_stream_transmit_interval": _TRANSMIT_S,
        }
        # Some are newer than the oldest version of wandb that will do.
        self._settings = {name: wanted[name] for name in wanted if name in wandb.Settings.model_fields}
        wandb.setup(settings=wandb.Settings(**self._settings))

    def open(self, tracked: TrackedRun, config: Mapping[str, Any], tags: Sequence[str], step: int) -> OpenRun:
        """A wandb run to which rows after `step` are to be written. Raises UploadError if the server is not there."""
        if self._wandb is None:
            self._begin()
        try:
            run = self._wandb.init(
                id=tracked.tracked_id,
                project=self._tracking.project,
                entity=self._tracking.entity,
                name=tracked.name,
                group=tracked.group,
                job_type=tracked.job_type,
                tags=list(tags),
                config=dict(config),
                resume="allow",
                reinit="create_new",
                settings=self._wandb.Settings(**self._settings),
            )
        except (self._wandb.Error, TimeoutError) as error:
            raise UploadError(f"no run could be begun: {str(error).strip().splitlines()[0]}") from error
        _do_not_poll(run)
        axis = RUN_STEPS if tracked.job_type == "sweep" else STEP
        run.define_metric(axis)
        run.define_metric("*", step_metric=axis)
        opened = OpenRun(run, tracked, step)
        opened.tags = tuple(tags)
        return opened

    def close(self) -> None:
        """End wandb's own processes, and whatever is still open."""
        if self._wandb is not None:
            self._wandb.teardown()


def _nothing() -> None:
    return None


def _do_not_poll(run: Any) -> None:
    """End the threads that ask the server about every open run: two thirds of what an idle run costs.

    They are private, so a wandb without them is left as it is.
    """
    checker = getattr(run, "_run_status_checker", None)
    if checker is not None:
        checker.stop()


def _most_open() -> int:
    """How many runs may be open at once, with the limit on open files raised as far as it may be."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY or soft < hard:
        wanted = _MOST_OPEN * _FILES_PER_RUN + _OTHER_FILES
        limit = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        soft = max(soft, limit)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return max(1, min(_MOST_OPEN, (soft - _OTHER_FILES) // _FILES_PER_RUN))
