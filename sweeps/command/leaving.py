"""Stopping a launch early: signals make all packs commit and stop, instead of ending the process."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from rich.console import Console

from pipeline.store.sweep_store import SweepStore


@contextmanager
def leaving(store: SweepStore, out: Console) -> Iterator[list[int]]:
    """In this context SIGINT, SIGTERM and SIGHUP make all packs commit and stop; yields the received signals.

    A second SIGINT or SIGTERM raises KeyboardInterrupt at once. SIGHUP stays ignored where it was, as under nohup.
    """
    asked: list[int] = []
    terminals = [descriptor for descriptor in (1, 2) if os.isatty(descriptor)]

    def ask(number: int, frame: FrameType | None) -> None:
        asked.append(number)
        if number == signal.SIGHUP:
            # Shell and kernel both send it when a terminal closes, so a second one is not a second request.
            _redirect_to_nowhere(terminals)
        elif len([other for other in asked if other != signal.SIGHUP]) > 1:
            raise KeyboardInterrupt
        store.stop_file.touch(mode=0o600)
        out.print("stopping: packs commit and stop (repeat to end at once)")

    numbers = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    before = {number: signal.signal(number, ask) for number in numbers}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _redirect_to_nowhere(descriptors: list[int]) -> None:
    """Discard further output to these descriptors, since writing to a closed terminal raises OSError."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for descriptor in descriptors:
        os.dup2(nowhere, descriptor)
    os.close(nowhere)
