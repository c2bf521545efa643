"""Signals during a launch: the first asks packs to commit and stop, a second one ends it."""

from __future__ import annotations

import io
import os
import signal
import threading
from types import SimpleNamespace

import pytest
from rich.console import Console

from sweeps.command.leaving import leaving


@pytest.fixture
def store(tmp_path):
    return SimpleNamespace(stop_file=tmp_path / "stop")


def send(*numbers):
    for number in numbers:
        os.kill(os.getpid(), number)


@pytest.mark.parametrize(
    "numbers",
    [
        (signal.SIGTERM,),
        (signal.SIGHUP, signal.SIGHUP),
        (signal.SIGHUP, signal.SIGTERM),
        # Slurm's warning, then the end of the time; a CPU limit tells every second.
        (signal.SIGUSR1, signal.SIGTERM),
        (signal.SIGXCPU, signal.SIGXCPU, signal.SIGXCPU),
    ],
)
def test_packs_are_asked_to_stop_and_the_launch_goes_on_waiting(store, numbers):
    before = signal.getsignal(signal.SIGTERM)
    with leaving(store, Console(quiet=True)) as received:
        send(*numbers)
        assert store.stop_file.exists()
    assert received == list(numbers)
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize("numbers", [(signal.SIGINT, signal.SIGTERM), (signal.SIGTERM, signal.SIGHUP, signal.SIGTERM)])
def test_a_second_request_ends_the_launch_at_once(store, numbers):
    with pytest.raises(KeyboardInterrupt), leaving(store, Console(quiet=True)):
        send(*numbers)


class Stream(io.StringIO):
    """Refuses a write during a write of the same thread, as a buffered file does; a signal comes during the first."""

    def __init__(self):
        super().__init__()
        self.writers = set()

    def write(self, text):
        thread = threading.get_ident()
        if thread in self.writers:
            raise RuntimeError("reentrant call")
        self.writers.add(thread)
        if text == "training":
            send(signal.SIGTERM)
        try:
            return super().write(text)
        finally:
            self.writers.remove(thread)


def test_a_signal_that_comes_while_a_line_is_written_is_told_after_it(store):
    stream = Stream()
    with leaving(store, Console(file=stream)) as received:
        print("training", file=stream, end=" ")
    assert received == [signal.SIGTERM]
    assert "stopping: packs commit and stop" in stream.getvalue()
