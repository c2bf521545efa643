"""The worker: trains one pack of a sweep's folder from its newest commit to its end. Needs neither Ray nor wandb."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

from pipeline.store.progress import Progress
from pipeline.store.sweep_store import SweepStore
from pipeline.training.open_pack import open_pack

# A kill loses at most this much work; shorter for tests and for preemptible machines.
COMMIT_INTERVAL_S = float(os.environ.get("SEEDBED_COMMIT_S", "60"))
_POLL_INTERVAL_S = 0.5


def run_pack(
    folder: Path, pack_id: str, on_progress: Callable[[Progress], None], commit_interval_s: float = COMMIT_INTERVAL_S
) -> Progress:
    """Train a pack until all its runs have ended, or until the sweep's stop file appears.

    Starts from the newest whole commit, or from nothing. Raises NotHereError when this machine cannot compute it,
    StoreError when the code has changed, FencedError when a later attempt took over.
    """
    # Here, since Lightning takes seconds to import, and Ray's driver imports this function without calling it.
    from pipeline.training.lightning_module import Committer, fit

    store = SweepStore(folder)
    loop = open_pack(store, pack_id)
    committer = Committer(commit_interval_s, _StopFile(store.stop_file), lambda: on_progress(loop.progress()))
    fit(loop, [committer], loop.block.device)
    return loop.progress()


class _StopFile:
    """Whether the driver asked packs to stop; reads the disk at most twice a second."""

    def __init__(self, path: Path) -> None:
        self._path, self._looked, self._found = path, 0.0, False

    def __call__(self) -> bool:
        now = time.monotonic()
        if not self._found and now - self._looked >= _POLL_INTERVAL_S:
            self._looked, self._found = now, self._path.exists()
        return self._found
