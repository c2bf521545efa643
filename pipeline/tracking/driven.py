"""The mirror of a launch: started by the driver, told of failed packs, closed at its end; never in its way."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from pipeline.store.files import PRIVATE_FILE, SHARED_FILE
from pipeline.store.formats.sealed import NewerFormatError
from pipeline.store.pack_store import StoreError
from pipeline.store.sweep_store import SweepStore
from pipeline.tracking.commits import CommitReader
from pipeline.tracking.folder import LEDGER_FILE, is_shared, tracking_of, wandb_folder
from pipeline.tracking.ledger import NOTHING, Ledger


class Mirror:
    """The driver's handle of a mirror process; without a process, the reason why it could not be started."""

    def __init__(self, folder: Path, process: subprocess.Popen[bytes] | None, problem: str = "") -> None:
        self._folder, self._process, self._problem = folder, process, problem
        self._log = folder / "wandb" / "mirror.log"
        self._log_start = self._log.stat().st_size if process is not None else 0

    def tell_failed(self, pack_ids: Iterable[str]) -> None:
        """Have users told that packs failed, by their ids alone: a reason may hold what is not for others to see."""
        if self._process is not None and self._process.stdin is not None:
            with contextlib.suppress(OSError, ValueError):
                for pack_id in pack_ids:
                    self._process.stdin.write(json.dumps({"failed": pack_id}).encode() + b"\n")
                self._process.stdin.flush()

    def close(self, timeout_s: float = 60.0) -> str | None:
        """Wait up to `timeout_s` for its last pass, then end it; returns a warning to show, or None.

        Never raises for errors of the mirror. What is missing is counted in the ledger, whatever the mirror says; a
        later mirror of the folder writes it.
        """
        if self._process is None:
            return self._warning(self._problem)
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        try:
            code = self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            return self._warning(f"was not done after {timeout_s:g} s")
        return self._warning("" if code == 0 else f"ended with {code}: {self._last_line()}")

    def _last_line(self) -> str:
        try:
            text = self._log.read_bytes()[self._log_start :].decode(errors="replace").strip()
        except OSError as error:
            return f"{self._log} cannot be read: {error.strerror}"
        return text.splitlines()[-1] if text else f"{self._log} is empty"

    def _warning(self, problem: str) -> str | None:
        told = [problem.rstrip("."), not_mirrored(self._folder) or ""]
        if not any(told):
            return None
        told[1] = told[1] or "By its ledger nothing is missing"
        return f"wandb mirror: {'. '.join(filter(None, told))}. Nothing else is affected"


def not_mirrored(folder: Path) -> str | None:
    """How much of a sweep no mirror has written yet, and what writes it, in a clause; None where nothing is missing.

    By the ledger and the newest records. A sentence also where these cannot be read; None where tracking is disabled.
    """
    try:
        store = SweepStore(folder)
        if tracking_of(store).mode == "disabled":
            return None
        entries, reader = Ledger.read(folder / "wandb" / LEDGER_FILE).entries, CommitReader(store)
        # Nothing is read but records: a mirror, which reads what they name, has just done so, or will.
        newest = [next(iter(store.pack(pack_id).records()), None) for pack_id in store.pack_ids()]
        reader.set_progress([record for record in newest if record is not None])
    except (StoreError, NewerFormatError, OSError) as error:
        return f"What is mirrored is not known: {error}".rstrip(".")
    progress = {one.tracked_id: reader.progress(one) for one in reader.tracked}
    missing = [key for key, found in progress.items() if found and not entries.get(key, NOTHING).holds(found)]
    if not missing:
        return None
    again = f"seedbed mirror {shlex.quote(str(folder))}"
    return f"{len(missing)} of {len(progress)} wandb runs are not up to date; `{again}` writes what is missing"


def start_mirror(folder: Path) -> Mirror | None:
    """Start the process that follows `folder`, whose sweep must be written; None where tracking is disabled.

    It ends by itself when this process does.
    """
    if tracking_of(SweepStore(folder)).mode == "disabled":
        return None
    try:
        path = wandb_folder(folder) / "mirror.log"
        mode = SHARED_FILE if is_shared(folder) else PRIVATE_FILE
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, mode), "ab") as log:
            # -P: a folder named `pipeline` in the current directory must not be imported.
            # Outside the terminal's process group: Ctrl-C must reach only the driver, which then closes the mirror.
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "pipeline.tracking.mirror", str(folder), "--driven"],
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
