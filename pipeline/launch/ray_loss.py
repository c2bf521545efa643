"""Ends a launch whose Ray is lost: Tune itself would wait for a dead raylet or control service for ever."""

from __future__ import annotations

import _thread
import contextlib
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import wraps
from types import FrameType
from typing import Any, Concatenate, ParamSpec, TypeVar

from pipeline.store.pack_store import StoreError

# A service that has not answered for so long is lost: refused at once, or a computer that does not answer at all.
PATIENCE_S = 20.0
_INTERVAL_S, _CONNECT_S = 2.0, 5.0
# The launch is interrupted so often, so many seconds apart, since Tune tidies up and waits again; then it is ended.
_INTERRUPTS, _LEAVING_S = 5, 2.0
# Python's handler of this signal ends the wait of the main thread; nobody sends it from outside.
_SIGNAL = signal.SIGRTMIN
_Given = ParamSpec("_Given")
_Result = TypeVar("_Result")


class _LostError(BaseException):
    """Raised in the main thread. Not an Exception, which Tune would take for a fault of its own and go on."""


def ends_when_ray_is_lost(
    launch: Callable[Concatenate[Any, _Given], _Result],
) -> Callable[Concatenate[Any, _Given], _Result]:
    """`launch(ray, ...)`, which raises StoreError within about half a minute once Ray's services do not answer."""

    @wraps(launch)
    def watched(ray: Any, /, *given: _Given.args, **options: _Given.kwargs) -> _Result:
        with _watching(_services(ray)):
            return launch(ray, *given, **options)

    return watched


def _services(ray: Any) -> dict[str, tuple[str, int]]:
    """Name -> host and port of the services that the driver depends on: the control service, its own raylet."""
    context = ray.get_runtime_context()
    host, _, port = context.gcs_address.rpartition(":")
    found = {"control service (GCS)": (host.strip("[]"), int(port))}
    for node in ray.nodes():
        if node["NodeID"] == context.get_node_id():
            found["raylet of this computer"] = (node["NodeManagerAddress"], int(node["NodeManagerPort"]))
    return found


@contextlib.contextmanager
def _watching(services: dict[str, tuple[str, int]]) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    is_over, lost = threading.Event(), list[str]()
    before = signal.signal(_SIGNAL, _raise)
    watcher = threading.Thread(target=_watch, args=(services, is_over, lost), daemon=True)
    watcher.start()
    try:
        yield
    except _LostError:
        raise StoreError(lost[0]) from None
    except Exception:
        # What Ray makes of the loss is not the cause.
        if lost:
            raise StoreError(lost[0]) from None
        raise
    finally:
        is_over.set()
        with contextlib.suppress(_LostError):
            signal.signal(_SIGNAL, signal.SIG_IGN)
            watcher.join()
            signal.signal(_SIGNAL, before)


def _raise(number: int, frame: FrameType | None) -> None:
    raise _LostError


def _watch(services: dict[str, tuple[str, int]], is_over: threading.Event, lost: list[str]) -> None:
    """Look at the services until `is_over`; once one is lost, put why into `lost` and end the launch."""
    answered = dict.fromkeys(services, time.monotonic())
    while not is_over.wait(_INTERVAL_S):
        for name, place in services.items():
            if _answers(*place):
                answered[name] = time.monotonic()
            elif time.monotonic() - answered[name] > PATIENCE_S:
                lost.append(_told(name, *place))
                _end_launch(is_over, lost[0])
                return


def _answers(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=_CONNECT_S).close()
    except OSError:
        return False
    return True


def _told(name: str, host: str, port: int) -> str:
    return (
        f"Ray's {name} at {host}:{port} does not answer any more, so this launch has ended; what was committed stays, "
        "and `seedbed resume` goes on"
    )


def _end_launch(is_over: threading.Event, reason: str) -> None:
    """Interrupt the main thread; if it does not leave, because Ray's own calls wait for the dead, end the process."""
    for _ in range(_INTERRUPTS):
        _thread.interrupt_main(_SIGNAL)
        if is_over.wait(_LEAVING_S):
            return
    print(reason, file=sys.stderr, flush=True)
    os._exit(2)
