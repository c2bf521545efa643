"""`seedbed mirror`: what wandb lacks of a sweep is written, once or at every commit."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console

from pipeline.store.sweep_store import SweepStore
from pipeline.tracking.driven import sync_hint
from pipeline.tracking.mirror import POLL_INTERVAL_S, mirror
from pipeline.tracking.writer import UploadError
from sweeps.command.exit_codes import COMPLETE, FAILED


def run_mirror(store: SweepStore, follow: bool, out: Console) -> int:
    """Mirror a results folder; with `follow`, until all runs have ended or Ctrl-C. Returns the exit code."""
    try:
        with _asked_to_end() as asked:

            def tell(sentence: str) -> None:
                out.print(sentence, markup=False)

            def wait() -> Sequence[str] | None:
                return None if asked.wait(POLL_INTERVAL_S) else ()

            mirror(store.folder, wait if follow else None, until_over=True, tell=tell)
    except UploadError as error:
        out.print(f"{error}; the same command writes what is missing", style="red", markup=False)
        return FAILED
    except ModuleNotFoundError as error:
        out.print(f"{error}: install it with pip install wandb", style="red", markup=False)
        return FAILED
    if (hint := sync_hint(store.folder)) is not None:
        out.print(f"to upload the dashboards: {hint}", markup=False)
    return COMPLETE


@contextmanager
def _asked_to_end() -> Iterator[threading.Event]:
    """In this context SIGINT and SIGTERM set the event; a second one raises KeyboardInterrupt."""
    asked = threading.Event()

    def ask(*_: object) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
