"""What a local Ray started is gone when the launch has ended, whatever it does and whoever else the driver started."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from pipeline.launch.ray_processes import below_raylets, shut_down

# A process named raylet, whose child ignores all that asks it to end, and has a child of its own.
RAYLET = """
import ctypes, signal, subprocess, sys
ctypes.CDLL(None).prctl(15, b"raylet")
ignoring = "import signal, subprocess, sys; signal.signal(15, signal.SIG_IGN); "
ignoring += "below = subprocess.Popen([sys.executable, '-Sc', 'import time; time.sleep(99)']); "
ignoring += "print(below.pid, flush=True); below.wait()"
worker = subprocess.Popen([sys.executable, "-Sc", ignoring], stdout=subprocess.PIPE, text=True)
print(worker.pid, worker.stdout.readline().strip(), flush=True)
worker.wait()
"""


def is_alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


@pytest.fixture
def started():
    """The process named raylet, and the ids of the two below it; a process that is none of Ray's."""
    raylet = subprocess.Popen([sys.executable, "-Sc", RAYLET], stdout=subprocess.PIPE, text=True)
    other = subprocess.Popen([sys.executable, "-Sc", "import time; time.sleep(99)"])
    yield raylet, list(map(int, raylet.stdout.readline().split())), other
    for process in (raylet, other):
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def test_all_below_a_local_raylet_is_gone_when_ray_is_shut_down_and_nothing_else_is(started):
    raylet, below, other = started
    assert sorted(below_raylets(os.getpid())) == sorted([raylet.pid, *below])
    began = time.monotonic()
    # As Ray does it: the raylet ends, and those below it are to notice.
    shut_down(SimpleNamespace(shutdown=raylet.kill), is_local=True)
    assert not [pid for pid in below if is_alive(pid)]
    assert time.monotonic() - began < 2
    assert other.poll() is None


def test_of_a_cluster_nothing_is_ended(started):
    raylet, below, other = started
    shut_down(SimpleNamespace(shutdown=lambda: None), is_local=False)
    assert all(map(is_alive, [raylet.pid, *below, other.pid]))


def test_where_ray_cannot_be_shut_down_its_processes_are_ended_all_the_same(started):
    raylet, below, _ = started

    def fails():
        raise RuntimeError("lost")

    with pytest.raises(RuntimeError, match="lost"):
        shut_down(SimpleNamespace(shutdown=fails), is_local=True)
    assert not [pid for pid in (raylet.pid, *below) if is_alive(pid)]
