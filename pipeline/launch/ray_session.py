"""Connects to Ray: a local one that is closed to others and ends with the launch, or an existing cluster."""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipeline.imports import quick_imports
from pipeline.launch.launched import MOST_RETRIES, NOTICES
from pipeline.launch.ray_errors import first_line
from pipeline.store.pack_store import StoreError

# The folder that holds the package `pipeline`.
_ROOT = Path(__file__).resolve().parents[2]
_CONNECT_TIMEOUT_S = 5.0
# Named after the systems on which a Ray that listens on loopback alone is the default.
_ON_LOOPBACK = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
# Without these, glibc returns large buffers to the system at every step, and page faults take half the time.
_WORKER_ENVIRONMENT = {
    "MALLOC_MMAP_THRESHOLD_": str(2**30),
    "MALLOC_TRIM_THRESHOLD_": str(2**32),
    "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
    "OMP_NUM_THREADS": "1",
}


def connect(address: str | None, folder: Path | None = None) -> tuple[Any, Any]:
    """Connect; returns (ray, ray.tune). A local Ray has no dashboard and requires a random token of its clients.

    `folder` is where a local Ray puts its session. Raises StoreError where one would be open to others.
    """
    prepare(address)
    if address is not None:
        _require_answer(address)
    with quick_imports():
        import ray
        from ray import tune

    if not ray.is_initialized():
        _init(
            ray,
            # "local": otherwise Ray joins any cluster that it finds from this machine.
            address=address or "local",
            include_dashboard=None if address else False,
            _temp_dir=None if folder is None else str(folder / "r"),
            log_to_driver=False,
            logging_level=logging.ERROR,
            runtime_env={"env_vars": _WORKER_ENVIRONMENT},
        )
    # Failed packs are reported once, after the launch.
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
    return ray, tune


def prepare(address: str | None) -> None:
    """Set what Ray reads when it is imported: to be called before, wherever a launch follows. Raises StoreError."""
    if address is None:
        _close_to_others()
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
    # The driver handles Ctrl-C: packs commit and stop, then it prints how to resume.
    os.environ.setdefault("TUNE_DISABLE_SIGINT_HANDLER", "1")
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")


def _close_to_others() -> None:
    """Have a local Ray ask for a token and listen on loopback. Raises StoreError where Ray was imported too early.

    Ray reads both when it is imported; later it would start without the token that its own processes then ask for.
    """
    if "ray" in sys.modules and _ON_LOOPBACK not in os.environ:
        raise StoreError(
            "this process imported ray before the launch, which cannot close a local Ray to others any more: launch "
            "from a process that has not, or train without Ray (launch_inline, --inline)"
        )
    if "RAY_AUTH_MODE" not in os.environ:
        os.environ["RAY_AUTH_MODE"] = "token"
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
    # Ray then takes 127.0.0.1 for the address of this computer, and listens there alone.
    os.environ.setdefault(_ON_LOOPBACK, "0")
    # Workers that it starts ahead lack our environment, so that no trial gets one of them.
    os.environ.setdefault("RAY_prestart_worker_first_driver", "0")


def _init(ray: Any, **options: Any) -> None:
    """`ray.init` that keeps this process's signal handlers and makes workers import this copy of the package.

    A Ray that does not start is tried again twice. Raises StoreError.
    """
    for number in range(1, MOST_RETRIES + 2):
        try:
            # Ray puts the driver's current folder first on its workers' path: a folder there that is named as one of
            # our packages would be imported in its place.
            with _signals_kept(), contextlib.chdir(_ROOT):
                ray.init(**options)
                return
        except ConnectionError as error:
            raise StoreError(f"no Ray cluster answers: {first_line(error)}") from None
        except Exception as error:
            # Of a raylet that is late Ray raises an Exception of no other class (`ray/_private/node.py`).
            if type(error) is not Exception and not isinstance(error, RuntimeError | TimeoutError | AssertionError):
                raise
            ray.shutdown()
            if number > MOST_RETRIES:
                raise StoreError(
                    f"Ray did not start in {number} tries ({first_line(error)}); this machine may be too busy: launch "
                    "again later, or train without Ray, with --inline"
                ) from None


@contextlib.contextmanager
def _signals_kept() -> Iterator[None]:
    """Ignore NOTICES inside the block, which processes started there inherit; restore all signal handlers afterwards.

    Ray handles SIGTERM by ending the driver, and its workers with it, before they have committed. Whoever sends a
    notice signals Ray's processes, too: they must stay alive until the driver has asked packs to commit and stop.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, *NOTICES)}
    for number in NOTICES:
        signal.signal(number, signal.SIG_IGN)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _require_answer(address: str) -> None:
    """Raises StoreError if nothing listens at HOST:PORT; Ray itself would wait for minutes."""
    if address == "auto":
        return
    if "://" in address:
        # Ray Client: a launch would be at the mercy of one connection, and nobody has tried it.
        raise StoreError(
            f"--address must be auto or HOST:PORT of the head's control service (port 6379 by default), given "
            f"{address!r}: launch on a machine of the cluster, or hand in a job there"
        )
    host, _, port = address.rpartition(":")
    if not port.isdigit() or not host:
        raise StoreError(f"--address must be auto or HOST:PORT, given {address!r}")
    try:
        socket.create_connection((host, int(port)), timeout=_CONNECT_TIMEOUT_S).close()
    except OSError as error:
        raise StoreError(f"no Ray cluster answers at {address}: {error.strerror or error}") from None
