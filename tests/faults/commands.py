"""Runs the `seedbed` command in forked children of a process that has imported everything, so that one takes no start.

The process must have been started with the library of `shim.py` preloaded, and may run no arithmetic of its own.
"""

from __future__ import annotations

import gc
import importlib
import io
import os
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.faults.shim import COUNT, Fault, arm

# A command that takes longer than this hangs. A whole one takes a second or two.
DEADLINE_S = 120.0


@dataclass(frozen=True)
class Ended:
    """How a command ended: its exit code, or minus the number of the signal that killed it; what it printed."""

    code: int
    output: str
    took_s: float
    is_hung: bool = False
    left_processes: bool = False


def seedbed(
    arguments: Sequence[str],
    cwd: Path,
    folder: Path,
    fault: Fault = COUNT,
    log: Path | None = None,
    send: tuple[int, float] | None = None,
) -> Ended:
    """Run `seedbed ARGUMENTS` in `cwd`, with a fault among its calls on files below `folder`.

    `send` is a signal and after how many seconds it is sent.
    """
    printed, started = cwd / "printed", time.monotonic()
    # A signal may end the child before it has made the file.
    printed.touch(mode=0o600)
    pid = os.fork()
    if pid == 0:
        _be_command(arguments, cwd, printed, fault.environment(folder, log))
    code, is_hung = _wait(pid, started, send)
    # It leads a group of its own: whoever is still in it was left behind.
    left = _end_group(pid)
    output = printed.read_text(errors="replace")
    printed.unlink()
    return Ended(code, output, time.monotonic() - started, is_hung, left)


def _be_command(arguments: Sequence[str], cwd: Path, printed: Path, environment: dict[str, str]) -> None:
    code = 70
    try:
        os.setpgid(0, 0)
        os.chdir(cwd)
        descriptor = os.open(printed, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        for number in (1, 2):
            os.dup2(descriptor, number)
        sys.stdout, sys.stderr = (io.TextIOWrapper(os.fdopen(number, "wb"), write_through=True) for number in (1, 2))
        sys.argv = ["seedbed", *arguments]
        arm(environment)
        code = _main()
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


def _wait(pid: int, started: float, send: tuple[int, float] | None) -> tuple[int, bool]:
    """The exit code of a child, and whether it had to be killed after the deadline."""
    while True:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status), False
        passed = time.monotonic() - started
        if send is not None and passed >= send[1]:
            os.kill(pid, send[0])
            send = None
        if passed > DEADLINE_S:
            os.kill(pid, signal.SIGKILL)
            return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), True
        time.sleep(0.005)


def _end_group(pid: int) -> bool:
    try:
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
