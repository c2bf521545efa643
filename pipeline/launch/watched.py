"""Training a pack under a watch: by a thread in the driver's process, or by a process beside a worker of Ray."""

from __future__ import annotations

import ctypes
import faulthandler
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from pipeline.launch import watch
from pipeline.launch.pulse import HangError, Pulse
from pipeline.launch.watch import Watch, least_s, log_hang, log_path

_TICKS_BETWEEN = 10


@contextmanager
def watched_from_outside(folder: Path, pack_id: str) -> Iterator[Pulse]:
    """In this context a process beside this one kills it, when it gets nothing done for too long, even if stopped."""
    with Pulse() as pulse, tempfile.TemporaryFile() as where:
        faulthandler.register(watch.WHERE_SIGNAL, where, all_threads=True)
        descriptors = (pulse.descriptor, where.fileno())
        arguments = [os.getpid(), *descriptors, least_s(), log_path(folder.resolve(), pack_id)]
        command = [sys.executable, "-I", "-S", str(Path(watch.__file__).resolve()), *map(str, arguments)]
        watcher = subprocess.Popen(command, pass_fds=descriptors)
        try:
            yield pulse
        finally:
            watcher.kill()
            watcher.wait()
            faulthandler.unregister(watch.WHERE_SIGNAL)


@contextmanager
def watched_by_a_thread(folder: Path, pack_id: str) -> Iterator[Pulse]:
    """In this context HangError is raised when the calling thread gets nothing done for too long.

    Where it does not leave what it does even then, as in code that is not Python, the process ends with exit code 1.
    """
    with Pulse() as pulse:
        guard = _Guard(pulse, log_path(folder, pack_id))
        with guard.interruptible():
            guard.start()
            try:
                yield pulse
            finally:
                guard.is_over.set()
                guard.join()


class _Guard(threading.Thread):
    """Watches the thread that made it."""

    def __init__(self, pulse: Pulse, log: Path) -> None:
        super().__init__(name="watch", daemon=True)
        self.pulse, self.log = pulse, log
        self.is_over = threading.Event()
        self._told = ""
        self._trains = threading.current_thread()

    def run(self) -> None:
        """Look at the pulse at every tick."""
        watch_, num_ticks = Watch(least_s()), 0
        while not self.is_over.wait(watch_.tick_s):
            if not watch_.is_hung(self.pulse.count):
                continue
            if not self._told:
                self._told = log_hang(self.log, watch_.waited_s, _where_all_threads_are())
            # Again from time to time, since code may catch what interrupts it; not while it still cleans up.
            if num_ticks % _TICKS_BETWEEN == 0:
                self._interrupt()
            num_ticks += 1
            if watch_.waited_s > watch_.limit_s + watch_.least:
                os.write(2, f"pack {self.log.stem}: {self._told}; it cannot be interrupted\n".encode())
                os._exit(1)

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """In this context the main thread can be interrupted in whatever it waits for."""
        if self._trains is not threading.main_thread():
            yield
            return
        before = signal.signal(watch.WHERE_SIGNAL, self._raise)
        try:
            yield
        finally:
            signal.signal(watch.WHERE_SIGNAL, before)

    def _interrupt(self) -> None:
        identity = self._trains.ident
        assert identity is not None
        if self._trains is not threading.main_thread():
            ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(identity), ctypes.py_object(HangError))
        elif signal.getsignal(watch.WHERE_SIGNAL) == self._raise:
            signal.pthread_kill(identity, watch.WHERE_SIGNAL)

    def _raise(self, number: int, frame: FrameType | None) -> None:
        if self._told and not self.is_over.is_set():
            raise HangError(self._told)


def _where_all_threads_are() -> str:
    with tempfile.TemporaryFile() as where:
        faulthandler.dump_traceback(where, all_threads=True)
        where.seek(0)
        return where.read().decode(errors="replace")
