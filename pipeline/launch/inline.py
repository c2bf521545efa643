"""Packs one after another in this process, without Ray."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from pipeline.launch.launched import MOST_RETRIES, Failed, Launched, OnProgress
from pipeline.launch.pulse import HangError
from pipeline.launch.watched import watched_by_a_thread
from pipeline.store.progress import Progress
from pipeline.store.sweep_store import SweepStore
from pipeline.training.abilities import NotHereError
from pipeline.training.memory import PackMemoryError
from pipeline.training.worker import run_pack


def launch_inline(store: SweepStore, pack_ids: Sequence[str], on_progress: OnProgress) -> Launched:
    """Run packs in this process, one after another.

    Packs that this machine cannot compute are left, with the reason, and the others trained. A pack that hangs is tried
    again twice. One that goes on hanging, or does not fit into memory, has failed. What else a pack raises is raised.
    """
    failures: dict[str, str] = {}
    elsewhere: dict[str, str] = {}
    for pack_id in pack_ids:
        try:
            reason = _failure(store, pack_id, partial(on_progress, pack_id))
        except NotHereError as error:
            elsewhere[pack_id] = error.reason
            continue
        if reason:
            failures[pack_id] = reason
            on_progress(pack_id, Failed(reason))
    return Launched(failures, elsewhere)


def _failure(store: SweepStore, pack_id: str, on_progress: Callable[[Progress], None]) -> str:
    """Train a pack; why that failed, empty if it did not. Nothing is done once the sweep is to stop."""
    reason = ""
    for _ in range(1 + MOST_RETRIES):
        if store.stop_file.exists():
            return reason
        try:
            with watched_by_a_thread(store.folder, pack_id) as pulse:
                run_pack(store.folder, pack_id, on_progress, beat=pulse.beat)
            return ""
        except PackMemoryError as error:
            return str(error)
        except HangError as error:
            reason = str(error)
    return reason
