"""Forecasts of a sweep while it is launched: made now and then by a process of its own at low priority."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from types import TracebackType

from pipeline.store.sweep_store import SweepStore

# At rest for at least so many seconds per CPU second of a forecast: a twentieth of one core at most.
_REST = 20
# As the mirror. At 19 a forecast of seconds would take minutes beside training on every core.
_NICENESS = 10


class ForecastRefresher:
    """Keeps a sweep's newest forecast fresh, every `interval_s` seconds at most.

    `tick` costs next to nothing and waits for nothing; leaving the context ends whatever is being made.
    """

    def __init__(self, store: SweepStore, interval_s: float) -> None:
        self._store, self._interval_s = store, interval_s
        self._process: subprocess.Popen[bytes] | None = None
        self._next = time.monotonic() + interval_s

    def __enter__(self) -> ForecastRefresher:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def tick(self) -> None:
        """Begin a forecast if one is due and none is being made."""
        now, before_s = time.monotonic(), _children_cpu_s()
        if self._process is not None and self._process.poll() is not None:
            self._next = now + max(self._interval_s, _REST * (_children_cpu_s() - before_s))
            self._end()
        if self._process is None and now >= self._next:
            self._begin(_NICENESS)

    def finish(self, timeout_s: float) -> str:
        """Make a last forecast, of all that is committed; why there is none, in a clause, or empty.

        Ctrl-C ends the waiting.
        """
        self._end()
        try:
            process = self._begin(0)
            _, errors = process.communicate(timeout=timeout_s)
            lines = errors.decode(errors="replace").strip().splitlines()
            return (lines[-1] if lines else "it failed without a word") if process.returncode else ""
        except subprocess.TimeoutExpired:
            return f"it would take longer than {timeout_s:g} s"
        except KeyboardInterrupt:
            return "it was interrupted"
        except OSError as error:
            return f"it could not be started: {error.strerror or error}"
        finally:
            self._end()

    def _begin(self, niceness: int) -> subprocess.Popen[bytes]:
        # -P: a folder named `pipeline` in the current directory must not be imported. In a session of its own: Ctrl-C
        # is for the driver.
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "sweeps.cli", "forecast", str(self._store.folder)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
            start_new_session=True,
        )
        os.setpriority(os.PRIO_PROCESS, self._process.pid, niceness)
        return self._process

    def _end(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


def _children_cpu_s() -> float:
    """CPU seconds of all child processes that have ended and were waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
