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
from pipeline.store.pack_store import StoreError
from pipeline.store.sweep_store import SweepStore
from pipeline.tracking.folder import is_shared, tracking_of, wandb_folder


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

        Never raises for errors of the mirror. A later mirror of the folder writes what is missing.
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
        return None if code == 0 else self._warning(f"ended with {code}: {self._last_line()}")

    def _last_line(self) -> str:
        text = self._log.read_bytes()[self._log_start :].decode(errors="replace").strip()
        return text.splitlines()[-1] if text else f"{self._log} is empty"

    def _warning(self, problem: str) -> str:
        again = f"seedbed mirror {shlex.quote(str(self._folder))}"
        return f"wandb mirror: {problem.rstrip('.')}. Nothing else is affected; `{again}` mirrors what is missing"


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
