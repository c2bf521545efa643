"""Processes of one launch or of one Ray node: found in /proc, measured, killed by id, and what is left of them."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
# Two of Ray's own, which end up to a minute after a driver that was killed, and hold no data of the sweep.
LINGERING = ("ray::DashboardAgent", "ray::RuntimeEnvAgent")
# What is killed -> words of its command line.
KINDS = {
    "raylet": "raylet/raylet ",
    "control service (GCS)": "gcs/gcs_server",
    "mirror": "pipeline.tracking.mirror",
    "worker": "ray::ImplicitFunc",
}
_MARK = "SEEDBED_CLUSTER_MARK"


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat after the name: state, parent, ...; empty if there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def is_alive(pid: int) -> bool:
    """Whether the process runs: it exists and is no zombie."""
    fields = _stat(pid)
    return bool(fields) and fields[0] not in "ZX"


def command_line(pid: int) -> str:
    """The words of a process's command; empty if it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text(errors="replace").replace("\0", " ")
    except OSError:
        return ""


def cpu_s(pid: int) -> float:
    """CPU seconds of a process in user and system mode, those of its children that have ended included."""
    fields = _stat(pid)
    return sum(map(int, fields[11:15])) / TICKS_PER_S if fields else 0.0


def descendants(pid: int) -> list[int]:
    """Ids of the children of a process, their children, and so on."""
    children: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*"):
        fields = _stat(int(path.name))
        if fields:
            children.setdefault(int(fields[1]), []).append(int(path.name))
    found, todo = [], [pid]
    while todo:
        found += (new := children.get(todo.pop(), []))
        todo += new
    return found


def until(condition: Callable[[], object], timeout_s: float, interval_s: float = 0.1) -> bool:
    """Wait for a condition; whether it came true in time."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(interval_s)
    return True


class Started:
    """A command with every process that it brings about, its output in a file.

    Processes whose parent has ended are found by a variable of their environment.
    """

    def __init__(
        self, command: Sequence[object], cwd: Path, environment: Mapping[str, str], name: str = "printed"
    ) -> None:
        self.printed = cwd / f"{name}.txt"
        self._mark = f"{cwd}-{name}-{time.monotonic_ns()}"
        self.started = time.monotonic()
        self._seen: dict[int, str] = {}
        values = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), **environment, _MARK: self._mark}
        with self.printed.open("wb") as stream:
            # As a terminal has it: a shell in the background leaves SIGINT ignored.
            self.process = subprocess.Popen(
                [str(word) for word in command],
                cwd=cwd,
                env=values,
                stdout=stream,
                stderr=stream,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                preexec_fn=_default_signals,
            )

    @property
    def pid(self) -> int:
        """Id of the first process."""
        return self.process.pid

    @property
    def output(self) -> str:
        """What was printed so far."""
        return self.printed.read_text(errors="replace")

    def processes(self) -> dict[int, str]:
        """Id -> command line of every process that lives and was brought about by this command, itself included."""
        found = {pid: command_line(pid) for pid in (self.pid, *descendants(self.pid), *self._marked())}
        self._seen |= {pid: found.get(pid) or self._seen.get(pid, "") for pid in (*found, *self._seen)}
        self._seen = {pid: line for pid, line in self._seen.items() if is_alive(pid)}
        return dict(self._seen)

    def _marked(self) -> list[int]:
        wanted, found = f"{_MARK}={self._mark}".encode(), []
        for path in Path("/proc").glob("[0-9]*/environ"):
            with contextlib.suppress(OSError):
                if wanted in path.read_bytes().split(b"\0"):
                    found.append(int(path.parent.name))
        return found

    def of_kind(self, kind: str) -> list[int]:
        """Ids of the living processes of a kind; see KINDS."""
        return sorted(pid for pid, line in self.processes().items() if KINDS[kind] in line and pid != self.pid)

    def wait(self, timeout_s: float) -> int | None:
        """The exit code, or minus the number of the signal that ended it; None if it is still there."""
        started, looked = time.monotonic(), 0.0
        while self.process.poll() is None and time.monotonic() - started < timeout_s:
            # Looking at all processes costs as much as a small step of training.
            if time.monotonic() - looked > 2:
                looked = time.monotonic()
                self.processes()
            time.sleep(0.05)
        return self.process.poll()

    def left(self, within_s: float) -> list[str]:
        """Command lines of what still runs so many seconds after it should have ended, less LINGERING."""

        def others() -> list[str]:
            return [line for line in self.processes().values() if not line.startswith(LINGERING)]

        until(lambda: not others(), within_s)
        return others()

    def kill_all(self) -> None:
        """Kill whatever of it still runs, by id."""
        for pid in self.processes():
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()


def _default_signals() -> None:
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, signal.SIG_DFL)


def seedbed(*arguments: object) -> list[object]:
    """The command `seedbed ARGUMENTS` of this copy of the package."""
    return [sys.executable, "-m", "sweeps.cli", *arguments]
