"""The workers of a results folder, as `seedbed status` shows them."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pipeline.store.files import CorruptFileError
from pipeline.store.formats.sealed import NewerFormatError
from pipeline.workers.lease import WorkerState, read_worker, worker_paths


def workers_of(folder: Path) -> list[tuple[WorkerState, float]]:
    """The workers whose documents are there, and the seconds since each last wrote it, by this computer's clock.

    Damaged documents are left out. Whether a worker is alive its document alone cannot say: it may have been killed.
    """
    found = []
    for path in worker_paths(folder):
        with contextlib.suppress(CorruptFileError, NewerFormatError, FileNotFoundError):
            state = read_worker(path)
            found.append((state, max(0.0, time.time() - path.stat().st_mtime)))
    return found


def worker_documents(folder: Path) -> list[dict[str, Any]]:
    """The same as plain values."""
    return [{**asdict(state), "last_beat_s": round(age_s, 1)} for state, age_s in workers_of(folder)]


def worker_lines(folder: Path) -> Iterator[str]:
    """A line for each worker: its pack and attempt, what it has finished, and when it last beat."""
    for state, age_s in workers_of(folder):
        doing = "between two packs" if state.pack_id is None else f"pack {state.pack_id}, attempt {state.attempt}"
        late = " (late)" if age_s > 2 * state.beat_s else ""
        yield f"worker {state.worker}: {doing}; {state.num_packs} finished; last beat {age_s:.0f} s ago{late}"
