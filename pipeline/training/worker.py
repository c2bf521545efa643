"""The worker: trains one pack of a sweep's folder from its newest commit to its end. Needs neither Ray nor wandb."""

from __future__ import annotations

import itertools
import math
import os
import time
from collections.abc import Callable
from pathlib import Path

from pipeline.imports import quick_imports, without_dynamo, without_old_garbage, without_scipy_signal
from pipeline.store.progress import Progress, progress_by_pack
from pipeline.store.sweep_store import SweepStore
from pipeline.training.isolation import cause_of, is_out_of_memory
from pipeline.training.memory import halve_slots
from pipeline.training.open_pack import UnloadableError, open_pack

# A kill loses at most this much work; shorter for tests and for preemptible machines.
COMMIT_INTERVAL_S = float(os.environ.get("SEEDBED_COMMIT_S", "60"))
# Between two looks for the stop file; a look at an object store takes tens of milliseconds.
_POLL_INTERVAL_S, _REMOTE_POLL_INTERVAL_S = 0.5, 10.0


def _nothing() -> None:
    """What is done with the pulse of a worker that nobody watches."""


def _never() -> bool:
    """Whether a worker was asked to leave that nobody asks."""
    return False


def run_pack(
    sweep: Path | SweepStore,
    pack_id: str,
    on_progress: Callable[[Progress], None],
    commit_interval_s: float = COMMIT_INTERVAL_S,
    beat: Callable[[], None] = _nothing,
    claim: Callable[[], int] | None = None,
    is_asked: Callable[[], bool] = _never,
) -> Progress:
    """Train a pack of a sweep, or of that in a folder.

    It ends when all its runs have ended, when the sweep's stop file appears, or on `is_asked()`.

    Starts from the newest whole commit, or from nothing; from the newest again, with half the slots, where memory runs
    out. Calls `beat` whenever something was done, and `claim`, where it is given, for the number of each attempt.

    Raises NotHereError when this machine cannot compute it, StoreError when the code has changed, FencedError when a
    later attempt took over, PackMemoryError when fewer slots do not help.
    """
    store = sweep if isinstance(sweep, SweepStore) else SweepStore(sweep)
    for num_halvings in itertools.count():
        try:
            return _trained(store, pack_id, on_progress, commit_interval_s, beat, claim, is_asked)
        except UnloadableError:
            # Its record says why of every run.
            return progress_by_pack(store)[pack_id]
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            cause = cause_of(error)
        # Here, since the exception holds what takes the memory.
        halve_slots(store, pack_id, num_halvings, cause, claim)
    raise AssertionError


def _trained(
    store: SweepStore,
    pack_id: str,
    on_progress: Callable[[Progress], None],
    commit_interval_s: float,
    beat: Callable[[], None],
    claim: Callable[[], int] | None,
    is_asked: Callable[[], bool],
) -> Progress:
    # Here, since Lightning takes seconds to import, and Ray's driver imports this function without calling it.
    with quick_imports(), without_scipy_signal(), without_dynamo():
        from pipeline.training.lightning_module import Committer, fit

    with without_old_garbage():
        loop, stop_file = open_pack(store, pack_id, beat, claim), _StopFile(store)
        report = lambda: on_progress(loop.progress())  # noqa: E731
        # The block computes so anyway; what moves runs in and out of it, and reads them, has as many threads.
        with loop.block.numerics():
            fit(loop, [Committer(commit_interval_s, lambda: is_asked() or stop_file(), report)], loop.block.device)
        return loop.progress()


class _StopFile:
    """Whether packs were asked to stop; looks at most twice a second, and more seldom at an object store."""

    def __init__(self, store: SweepStore) -> None:
        self._store, self._looked, self._found = store, -math.inf, False
        self._interval_s = _POLL_INTERVAL_S if store.is_local else _REMOTE_POLL_INTERVAL_S

    def __call__(self) -> bool:
        now = time.monotonic()
        if not self._found and now - self._looked >= self._interval_s:
            self._looked, self._found = now, self._store.is_stopped()
        return self._found
