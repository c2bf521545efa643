"""Stopping a launch early: signals make all packs commit and stop, instead of ending the process."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from queue import SimpleQueue
from types import FrameType

from rich.console import Console

from pipeline.launch.launched import NOTICES
from pipeline.store.sweep_store import SweepStore


@contextmanager
def leaving(store: SweepStore, out: Console) -> Iterator[list[int]]:
    """In this context SIGINT, SIGTERM and NOTICES make all packs commit and stop; yields the received signals.

    A second SIGINT or SIGTERM raises KeyboardInterrupt at once. Notices stay ignored where they were, as SIGHUP is
    under nohup.
    """
    asked: list[int] = []
    terminals = [descriptor for descriptor in (1, 2) if os.isatty(descriptor)]
    with _printing_apart(out) as tell, _handling(store, asked, terminals, tell):
        yield asked


@contextmanager
def _handling(store: SweepStore, asked: list[int], terminals: list[int], tell: Callable[[str], None]) -> Iterator[None]:
    def ask(number: int, frame: FrameType | None) -> None:
        asked.append(number)
        if number == signal.SIGHUP:
            _redirect_to_nowhere(terminals)
        if number not in NOTICES and sum(other not in NOTICES for other in asked) > 1:
            raise KeyboardInterrupt
        store.stop_file.touch(mode=0o600)
        tell("stopping: packs commit and stop (repeat to end at once)")

    numbers = [signal.SIGINT, signal.SIGTERM]
    numbers += [number for number in NOTICES if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, ask) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _printing_apart(out: Console) -> Iterator[Callable[[str], None]]:
    """Yields what prints a line from a thread of its own.

    A handler may be called while its own thread writes to the same stream, which then refuses a second write.
    """
    lines: SimpleQueue[str | None] = SimpleQueue()

    def print_them() -> None:
        for line in iter(lines.get, None):
            out.print(line)

    printer = threading.Thread(target=print_them, name="printing of signals", daemon=True)
    printer.start()
    try:
        yield lines.put
    finally:
        lines.put(None)
        printer.join()


def must_hurry(asked: Sequence[int]) -> bool:
    """Whether one of these signals is more than a Ctrl-C: who sends it waits for the end, as a batch system does."""
    return bool(set(asked) - {signal.SIGINT})


def _redirect_to_nowhere(descriptors: list[int]) -> None:
    """Discard further output to these descriptors, since writing to a closed terminal raises OSError."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for descriptor in descriptors:
        os.dup2(nowhere, descriptor)
    os.close(nowhere)
