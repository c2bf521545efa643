"""The wandb mirror: a separate process that reads a sweep's store and writes tracked runs; no training waits for it.

    python -P -m pipeline.tracking.mirror FOLDER [--follow]

It writes, below FOLDER/wandb:

    mirrored.json        ledger: how far each tracked run is written, and in which folders; sealed
    mirror.log           standard error of the mirrors that drivers started
    mirror.lock          held by the one mirror; empty
    offline-run-*/       wandb's own files, a folder for each time that a tracked run was written to; run-* if online
    set-aside/           folders of mirrors that were killed, whose rows stand elsewhere; safe to delete
    cache/               wandb's own log

A run is written when it has ended, one in progress at the last pass; what is recorded later follows under the same id,
in another folder (`wandb sync` uploads the folders of one id in turn, as one run). A folder of one of this sweep's ids
that the ledger does not name was being written when a mirror was killed: the next mirror sets it aside and writes its
rows again. So after a mirror has ended every row stands exactly once in the folders, and before that, exactly once in
those that the ledger names. Nothing is deleted, other folders are not touched, and no link is followed.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import select
import shlex
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipeline.spec.sections import Tracking
from pipeline.store.files import PRIVATE_FILE, SHARED_FILE, NewerFormatError, make_folder, open_lock
from pipeline.store.pack_store import StoreError
from pipeline.store.sweep_store import SweepStore
from pipeline.tracking.ledger import CommitReader, Entry, Ledger
from pipeline.tracking.rows import MAX_TRACKED_RUNS, RUNNING, TrackedRow, TrackedRun

_POLL_INTERVAL_S = 5.0
_NICENESS = 10
# Tracked runs written between two writes of the ledger, each of which is synced to disk.
_LEDGER_INTERVAL = 16
# The WANDB_* variables that are kept: account and server. Modes, names and ids come from the spec.
_KEPT_VARIABLES = ("API_KEY", "BASE_URL", "ENTITY", "IDENTITY_TOKEN_FILE", "CREDENTIALS_FILE", "CONFIG_DIR")


class Mirror:
    """The driver's handle of a mirror process; without a process, the reason why it could not be started."""

    def __init__(self, folder: Path, process: subprocess.Popen[bytes] | None, problem: str = "") -> None:
        self._folder, self._process, self._problem = folder, process, problem
        self._log = folder / "wandb" / "mirror.log"
        self._log_start = self._log.stat().st_size if process is not None else 0

    def close(self, timeout_s: float = 60.0) -> str | None:
        """Wait up to `timeout_s` for its last pass, then end it; returns a warning to show, or None.

        Never raises for errors of the mirror. A later mirror of the folder writes what is missing.
        """
        if self._process is None:
            return self._warning(self._problem)
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            code = self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            return self._warning(f"was not done after {timeout_s:g} s")
        return None if code == 0 else self._warning(f"ended with {code}: {self._last_line()}")

    def _last_line(self) -> str:
        text = self._log.read_bytes()[self._log_start :].decode(errors="replace").strip()
        return text.splitlines()[-1] if text else f"{self._log} is empty"

    def _warning(self, problem: str) -> str:
        again = f"python -P -m pipeline.tracking.mirror {shlex.quote(str(self._folder))}"
        return f"wandb mirror: {problem.rstrip('.')}. Nothing else is affected; `{again}` mirrors what is missing"


def start_mirror(folder: Path) -> Mirror | None:
    """Start the process that follows `folder`, whose sweep must be written; None where tracking is disabled.

    It ends by itself when this process does.
    """
    if _tracking(SweepStore(folder)).mode == "disabled":
        return None
    try:
        path = _wandb_folder(folder) / "mirror.log"
        mode = SHARED_FILE if _is_shared(folder) else PRIVATE_FILE
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, mode), "ab") as log:
            # -P: a folder named `pipeline` in the current directory must not be imported.
            # Outside the terminal's process group: Ctrl-C must reach only the driver, which then closes the mirror.
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "pipeline.tracking.mirror", str(folder), "--follow"],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        return Mirror(folder, process)
    except (StoreError, OSError) as error:
        return Mirror(folder, None, f"could not be started: {error}")


def sync_hint(folder: Path) -> str | None:
    """The command that uploads what is mirrored in `folder`; None if there is nothing to upload."""
    found = sorted((folder / "wandb").glob("offline-run-*"))
    return f"wandb sync {shlex.quote(str(folder / 'wandb'))}/offline-run-*" if found else None


def _tracking(store: SweepStore) -> Tracking:
    return Tracking.model_validate(store.sweep["spec"]["tracking"])


def _wandb_folder(folder: Path) -> Path:
    if (folder / "wandb").is_symlink():
        raise StoreError(f"{folder / 'wandb'} is a link, and the mirror follows none: move it away")
    make_folder(folder / "wandb", _is_shared(folder))
    return folder / "wandb"


def _is_shared(folder: Path) -> bool:
    return bool(folder.stat().st_mode & 0o020)


class Writer:
    """Writes tracked runs through wandb, one at a time, with wandb's own data collection disabled."""

    def __init__(self, folder: Path, tracking: Tracking, tags: Sequence[str]) -> None:
        import wandb

        self._wandb, self._tracking, self._tags = wandb, tracking, list(tags)
        self._settings: dict[str, Any] = {
            "mode": tracking.mode,
            "root_dir": str(folder),
            "host": "",
            "console": "off",
            "silent": True,
            "symlink": False,
            "disable_git": True,
            "disable_code": True,
            "save_code": False,
            "disable_job_creation": True,
            "x_disable_meta": True,
            "x_disable_stats": True,
            "x_disable_machine_info": True,
            "x_save_requirements": False,
        }
        wandb.setup(settings=wandb.Settings(**self._settings))

    def write(self, tracked: TrackedRun, rows: Iterable[TrackedRow], summary: dict[str, Any]) -> str:
        """Write `rows`, which follow all earlier ones, and the summary; returns the name of their folder."""
        run = self._wandb.init(
            id=tracked.tracked_id,
            project=self._tracking.project,
            entity=self._tracking.entity,
            name=tracked.name,
            group=tracked.group,
            job_type=tracked.job_type,
            tags=self._tags,
            config=dict(tracked.config),
            resume="allow",
            reinit="create_new",
            settings=self._wandb.Settings(**self._settings),
        )
        run.define_metric("step")
        run.define_metric("*", step_metric="step")
        for step, metrics in rows:
            # wandb drops steps that its server already has from a mirror that was killed before it wrote its ledger.
            run.log({"step": step, **metrics}, step=step)
        run.summary.update(summary)
        folder = Path(run.dir).parent.name
        run.finish()
        return folder

    def close(self) -> None:
        """End wandb's own processes."""
        self._wandb.teardown()


def mirror(
    folder: Path, follow: bool = False, max_runs: int = MAX_TRACKED_RUNS, interval_s: float = _POLL_INTERVAL_S
) -> None:
    """Write what the ledger lacks; with `follow`, every `interval_s` seconds until standard input ends.

    Raises StoreError where the folder holds no sweep, or, without `follow`, another mirror is at work on it.
    """
    store = SweepStore(folder)
    tracking = _tracking(store)
    if tracking.mode == "disabled":
        raise StoreError(f"{folder}: its spec has tracking.mode: disabled")
    with _lock(_wandb_folder(folder) / "mirror.lock", waits=follow):
        ledger = Ledger.read(folder / "wandb" / "mirrored.json")
        ledger.set_aside_unnamed(store.sweep["sweep_id"])
        reader = CommitReader(store, max_runs)
        writer = Writer(folder, tracking, [store.sweep["sweep_id"], store.sweep["name"]])
        try:
            while follow and not _input_ended(interval_s):
                _write_due(reader, writer, ledger, is_last=False)
            _write_due(reader, writer, ledger, is_last=True)
        finally:
            writer.close()


def _write_due(reader: CommitReader, writer: Writer, ledger: Ledger, is_last: bool) -> None:
    reader.refresh()
    due = list(reader.due(ledger, is_last))
    for number, (tracked, progress) in enumerate(due, start=1):
        old = ledger.entries.get(tracked.tracked_id, Entry(-1, RUNNING))
        rows, summary = reader.content(tracked, progress)
        folder = writer.write(tracked, (row for row in rows if row[0] > old.step), summary)
        step = max(progress.step, old.step)
        ledger.entries[tracked.tracked_id] = Entry(step, progress.reason, (*old.folders, folder))
        if number % _LEDGER_INTERVAL == 0 or number == len(due):
            ledger.write()


def _input_ended(timeout_s: float) -> bool:
    """Whether standard input ends within `timeout_s`; its content is discarded."""
    ready, _, _ = select.select([0], [], [], timeout_s)
    return bool(ready) and not os.read(0, 4096)


@contextmanager
def _lock(path: Path, waits: bool) -> Iterator[None]:
    with os.fdopen(open_lock(path), "wb") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | (0 if waits else fcntl.LOCK_NB))
        except BlockingIOError:
            raise StoreError(f"{path.parent.parent}: another mirror is at work on it") from None
        yield


def _prepare_process(folder: Path) -> None:
    """Lower the priority, match the umask to the folder, and drop WANDB_* variables that would override the spec."""
    os.nice(_NICENESS)
    os.umask(0o007 if _is_shared(folder) else 0o077)
    kept = {f"WANDB_{name}" for name in _KEPT_VARIABLES}
    for name in [name for name in os.environ if name.startswith("WANDB_") and name not in kept]:
        del os.environ[name]
    os.environ["WANDB_ERROR_REPORTING"] = "false"
    os.environ["WANDB_CACHE_DIR"] = str(_wandb_folder(folder) / "cache")


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line of the mirror; exit code 1 with a line on standard error on failure."""
    parser = argparse.ArgumentParser(
        "python -P -m pipeline.tracking.mirror", description="Mirror a sweep's folder to wandb."
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--follow", action="store_true", help="go on until standard input ends")
    parser.add_argument("--max-runs", type=int, default=MAX_TRACKED_RUNS, help="most runs to mirror one by one")
    parser.add_argument(
        "--interval-s", type=float, default=_POLL_INTERVAL_S, help="seconds between two passes of --follow"
    )
    given = parser.parse_args(arguments)
    try:
        _tracking(SweepStore(given.folder))
        _prepare_process(given.folder)
        mirror(given.folder.resolve(), given.follow, given.max_runs, given.interval_s)
    except (StoreError, NewerFormatError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    except ModuleNotFoundError as error:
        print(f"{error}: install it, or set tracking.mode: disabled", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
