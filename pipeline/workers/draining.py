"""Signals to a worker: the first makes its pack commit and leave, and within half a minute the process has ended."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from pipeline.launch.launched import NOTICES

# From the first signal; batch systems and clouds wait half a minute.
LONGEST_DRAIN_S = 25.0


class AskedToLeaveError(BaseException):
    """The worker was asked to leave while it opened a pack, of which nothing is lost by leaving at once.

    Like KeyboardInterrupt it is no Exception, so that no run is blamed for it.
    """


class Drain:
    """Whether this worker was asked to leave. While `is_opening` a request raises AskedToLeaveError."""

    def __init__(self) -> None:
        self.signals: list[int] = []
        self.is_opening = False
        self._event = threading.Event()

    @property
    def is_asked(self) -> bool:
        """Whether it was."""
        return bool(self.signals)

    def wait(self, seconds: float) -> None:
        """Wait so long, or until asked to leave."""
        self._event.wait(seconds)

    def ask(self, number: int) -> None:
        """Take in a signal. Raises KeyboardInterrupt upon the second that is no mere notice."""
        self.signals.append(number)
        self._event.set()
        if number not in NOTICES and sum(other not in NOTICES for other in self.signals) > 1:
            raise KeyboardInterrupt
        if self.is_opening:
            self.is_opening = False
            raise AskedToLeaveError


@contextmanager
def draining(
    drain: Drain, on_signal: Callable[[], None], on_deadline: Callable[[], None], exit_code: int
) -> Iterator[None]:
    """In this context SIGINT, SIGTERM and NOTICES ask to leave, and LONGEST_DRAIN_S after the first the process ends.

    It then calls `on_deadline`, from another thread, and leaves with this code, whatever it does. Notices stay ignored
    where they were, as SIGHUP is under nohup.
    """
    timer = threading.Timer(LONGEST_DRAIN_S, _end, (on_deadline, exit_code))
    timer.daemon = True

    def ask(number: int, frame: FrameType | None) -> None:
        if not drain.is_asked:
            timer.start()
            on_signal()
        drain.ask(number)

    numbers = [signal.SIGINT, signal.SIGTERM]
    numbers += [number for number in NOTICES if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, ask) for number in numbers}
    try:
        yield
    finally:
        timer.cancel()
        for number, handler in before.items():
            signal.signal(number, handler)


def _end(on_deadline: Callable[[], None], exit_code: int) -> None:
    try:
        on_deadline()
    finally:
        os._exit(exit_code)
