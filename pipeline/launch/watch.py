"""Watches a worker: when it has got nothing done for too long, says where it is, and ends it.

Time is counted by the watcher's own ticks, so that a computer or a group of processes that is suspended does not count
as a worker that hangs. Run as a program, by its path, this needs the standard library alone.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import re
import signal
import struct
import sys
import time
from pathlib import Path

# A worker may take this long for anything, and this many times as long as for the slowest thing that it did so far.
LEAST_S, FACTOR = 600.0, 50.0
# For opening a pack, which may compile its program, at least.
OPENING_S = 60.0
HANGS = "hangs"
# The signal upon which a watched worker writes where all its threads are.
WHERE_SIGNAL = signal.SIGUSR2
_NOTHING = "nothing was done"
_COUNT = struct.Struct("=Q")
_TICK_S, _TICKS, _WRITING_S = 1.0, 20, 2.0


def least_s() -> float:
    """LEAST_S, or what the environment variable SEEDBED_HANG_S says."""
    return float(os.environ.get("SEEDBED_HANG_S", LEAST_S))


class Watch:
    """Told the count of a worker's pulse at every tick, says whether the worker hangs."""

    def __init__(self, least: float) -> None:
        self.least, self.tick_s = least, min(_TICK_S, least / _TICKS)
        self.waited_s = 0.0
        self.slowest_s = 0.0
        self._count = 0

    def is_hung(self, count: int) -> bool:
        """Whether nothing was done for too long. Opening, until the count is 1, is no measure of what comes after."""
        if count == self._count:
            self.waited_s += self.tick_s
        else:
            if self._count:
                self.slowest_s = max(self.slowest_s, self.waited_s)
            self._count, self.waited_s = count, 0.0
        return self.waited_s > self.limit_s

    @property
    def limit_s(self) -> float:
        """How long the worker may take for what it does now."""
        return max(self.least, FACTOR * self.slowest_s if self._count else OPENING_S)


def log_path(folder: Path, pack_id: str) -> Path:
    """The file that tells where a pack of a sweep's folder hung."""
    return folder / HANGS / f"{pack_id}.log"


def log_hang(path: Path, waited_s: float, traceback: str) -> str:
    """Append to the log where a worker hangs; that in a sentence."""
    found = place_in(traceback)
    told = f"{_NOTHING} for {waited_s:.0f} s{f', at {found}' if found else ''}"
    path.parent.mkdir(mode=0o700, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    with os.fdopen(descriptor, "a", encoding="utf-8") as stream:
        stream.write(f"{told}\n{traceback}\n")
    return f"{told}; see {path}"


def log_size(folder: Path, pack_id: str) -> int:
    """Bytes of that file."""
    path = log_path(folder, pack_id)
    return path.stat().st_size if path.exists() else 0


def last_hang(folder: Path, pack_id: str, since: int) -> str:
    """The newest sentence that was logged after so many bytes; empty without any."""
    path = log_path(folder, pack_id)
    if log_size(folder, pack_id) <= since:
        return ""
    lines = path.read_bytes()[since:].decode(errors="replace").splitlines()
    return f"{[line for line in lines if line.startswith(_NOTHING)][-1]}; see {path}"


def place_in(traceback: str) -> str:
    """The innermost line of the thread that trains a pack, as file, line and function; empty if none does."""
    for thread in traceback.split("\n\n"):
        lines = re.findall(r'File "(.+)", line (\d+) in (.+)', thread)
        if any(name in ("run_pack", "open_pack") for *_, name in lines):
            file, line, name = lines[0]
            return f"{Path(file).name}, line {line}, in {name}"
    return ""


def main(worker: int, count_descriptor: int, where_descriptor: int, least: float, log: Path) -> None:
    """Watch the process `worker`, the parent of this one, until it ends or hangs.

    `count_descriptor` is of its pulse, and upon WHERE_SIGNAL it writes to `where_descriptor`.
    """
    counts, watch = mmap.mmap(count_descriptor, _COUNT.size, prot=mmap.PROT_READ), Watch(least)
    while os.getppid() == worker:
        time.sleep(watch.tick_s)
        if watch.is_hung(_COUNT.unpack(counts[:])[0]):
            end_worker(worker, where_descriptor, watch.waited_s, log)
            return


def end_worker(worker: int, where_descriptor: int, waited_s: float, log: Path) -> None:
    """Log where the process `worker` hangs, and kill it."""
    note = "The process was stopped by a signal.\n" if _is_stopped(worker) else ""
    os.kill(worker, WHERE_SIGNAL)
    # A stopped process writes nothing.
    time.sleep(0.0 if note else _WRITING_S)
    written = os.pread(where_descriptor, 2**20, 0).decode(errors="replace")
    with contextlib.suppress(OSError):
        log_hang(log, waited_s, note + written)
    if os.getppid() == worker:
        os.kill(worker, signal.SIGKILL)


def _is_stopped(worker: int) -> bool:
    try:
        return Path(f"/proc/{worker}/stat").read_text().rpartition(")")[2].split()[0] in "Tt"
    except OSError:
        return False


if __name__ == "__main__":
    # What ends a launch reaches its workers, and this ends with its worker.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGXCPU):
        signal.signal(number, signal.SIG_IGN)
    worker_, count_, where_, least_, log_ = sys.argv[1:]
    main(int(worker_), int(count_), int(where_), float(least_), Path(log_))
