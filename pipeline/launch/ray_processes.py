"""Ends a local Ray with all that it started: on a busy computer workers see seconds late that its raylet went."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

# What the driver starts, and what starts everything else.
_RAYLET = "raylet"
# A process that was killed is gone within this time, unless it waits for a disk.
_GONE_S = 2.0


def shut_down(ray: Any, is_local: bool) -> None:
    """Disconnect from Ray; a local one is ended, and no process of it is left, whatever it does at the time."""
    held = _held(below_raylets(os.getpid())) if is_local else []
    try:
        ray.shutdown()
    finally:
        _end(held)


def below_raylets(pid: int) -> list[int]:
    """Ids of the raylets that a process started and of all processes below them."""
    children: dict[int, list[int]] = {}
    names: dict[int, str] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            # The name is in brackets, and may hold any character.
            name, _, rest = path.read_text(errors="replace").partition("(")[2].rpartition(")")
            names[int(path.parent.name)] = name
            children.setdefault(int(rest.split()[1]), []).append(int(path.parent.name))
    found = [child for child in children.get(pid, []) if names[child] == _RAYLET]
    for each in found:
        found += children.get(each, [])
    return found


def _held(pids: Iterable[int]) -> list[int]:
    """Descriptors of processes, which name these even when their ids belong to others."""
    found = []
    for pid in pids:
        with contextlib.suppress(OSError):
            found.append(os.pidfd_open(pid))
    return found


def _end(held: Iterable[int]) -> None:
    """Kill what still runs of these processes, wait until it is gone, and close the descriptors."""
    running, deadline = select.poll(), time.monotonic() + _GONE_S
    left = set(held)
    for descriptor in held:
        with contextlib.suppress(OSError):
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        running.register(descriptor, select.POLLIN)
    while left and (wait_s := deadline - time.monotonic()) > 0:
        for descriptor, _ in running.poll(1000 * wait_s):
            running.unregister(descriptor)
            left.discard(descriptor)
    for descriptor in held:
        os.close(descriptor)
