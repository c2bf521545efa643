"""Runs the `seedbed` command in forked children of a process that has imported everything, so that one takes no start.

The process must have been started with the library of `shim.py` preloaded, and may run no arithmetic of its own.
"""

from __future__ import annotations

import gc
import importlib
import io
import os
import resource
import select
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.faults.shim import COUNT, Fault, arm

# A command that takes longer than this hangs. A whole one takes a second or two.
DEADLINE_S = 120.0
# What a killed command had asked of another program, that program may still answer.
_ENDS_S = 5.0
_AT_RANDOM = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGXCPU)


@dataclass(frozen=True)
class Ended:
    """How a command ended: its exit code, or minus the number of the signal that killed it; what it printed."""

    code: int
    output: str
    took_s: float
    is_hung: bool = False
    left_processes: bool = False


@dataclass(frozen=True)
class Started:
    """A command that runs: its process, where it prints, and when it began."""

    pid: int
    printed: Path
    began_s: float

    def is_frozen(self) -> bool:
        """Wait until it has stopped itself (SIGSTOP), which is True, or has ended."""
        waited = os.waitid(os.P_PID, self.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
        return waited is not None and waited.si_code == os.CLD_STOPPED

    def ended(self, send: Sequence[tuple[int, float]] = ()) -> Ended:
        """Wait until it has ended; `send` are signals and after how many seconds from its start they are sent."""
        code, is_hung = _wait(self.pid, self.began_s, list(send))
        # It leads a group of its own: whoever is still in it was left behind.
        left = _end_group(self.pid)
        output = self.printed.read_text(errors="replace")
        self.printed.unlink()
        return Ended(code, output, time.monotonic() - self.began_s, is_hung, left)


def seedbed(
    arguments: Sequence[str],
    cwd: Path,
    folder: Path,
    fault: Fault = COUNT,
    log: Path | None = None,
    trace: Path | None = None,
    send: Sequence[tuple[int, float]] = (),
    limits: Mapping[int, int] | None = None,
    inherited: Mapping[str, str] | None = None,
) -> Ended:
    """Run `seedbed ARGUMENTS` in `cwd`, with a fault among its calls on files below `folder`; see `start`."""
    return start(arguments, cwd, folder, fault, log, trace, limits, inherited).ended(send)


def start(
    arguments: Sequence[str],
    cwd: Path,
    folder: Path,
    fault: Fault = COUNT,
    log: Path | None = None,
    trace: Path | None = None,
    limits: Mapping[int, int] | None = None,
    inherited: Mapping[str, str] | None = None,
) -> Started:
    """Begin `seedbed ARGUMENTS` in `cwd`; `limits` are of the process (`resource.RLIMIT_...`).

    `inherited` is what the library reads in the processes that this one starts, where that is not the same.
    """
    printed, began_s = cwd / f"printed-{time.monotonic_ns()}", time.monotonic()
    # A signal may end the child before it has made the file.
    printed.touch(mode=0o600)
    # Until it is the command, a child takes no signal.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _AT_RANDOM)
    pid = os.fork()
    if pid == 0:
        _be_command(arguments, cwd, printed, fault.environment(folder, log, trace), limits or {}, inherited or {})
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return Started(pid, printed, began_s)


def _be_command(
    arguments: Sequence[str],
    cwd: Path,
    printed: Path,
    environment: dict[str, str],
    limits: Mapping[int, int],
    inherited: Mapping[str, str],
) -> None:
    code = 70
    try:
        os.setpgid(0, 0)
        os.chdir(cwd)
        descriptor = os.open(printed, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        for number in (1, 2):
            os.dup2(descriptor, number)
        sys.stdout, sys.stderr = (io.TextIOWrapper(os.fdopen(number, "wb"), write_through=True) for number in (1, 2))
        sys.argv = ["seedbed", *arguments]
        for number, value in limits.items():
            resource.setrlimit(number, (value, value))
        arm(environment)
        os.environ.update(inherited)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _AT_RANDOM)
        code = _main()
    except KeyboardInterrupt:
        print("interrupted before it began")
        code = 130
    finally:
        sys.stdout.flush()
        os._exit(code)


def _main() -> int:
    from sweeps.cli.__main__ import main

    try:
        main()
    except SystemExit as left:
        return left.code if isinstance(left.code, int) else int(left.code is not None)
    return 0


def _wait(pid: int, began_s: float, send: list[tuple[int, float]]) -> tuple[int, bool]:
    """The exit code of a child, and whether it had to be killed after the deadline."""
    descriptor, is_hung = os.pidfd_open(pid), False
    try:
        while not select.select([descriptor], [], [], _until(send, began_s))[0]:
            is_hung = not send
            os.kill(pid, send.pop(0)[0] if send else signal.SIGKILL)
    finally:
        os.close(descriptor)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), is_hung


def _until(send: list[tuple[int, float]], began_s: float) -> float:
    """Seconds until the next signal is due, or the deadline."""
    return max(0.0, began_s + (send[0][1] if send else DEADLINE_S) - time.monotonic())


def _end_group(pid: int) -> bool:
    """Kill what is left of a group; whether there was something that did not end by itself within seconds."""
    deadline = time.monotonic() + _ENDS_S
    try:
        while time.monotonic() < deadline:
            os.killpg(pid, 0)
            time.sleep(0.01)
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def import_all(modules: Sequence[str]) -> None:
    """Import what the commands import when they are called, so that children find it; and freeze it for the forks."""
    for name in modules:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()
