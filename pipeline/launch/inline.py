"""Packs one after another in this process, without Ray."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.launch.launched import Launched, OnProgress
from pipeline.store.sweep_store import SweepStore
from pipeline.training.worker import run_pack


def launch_inline(store: SweepStore, pack_ids: Sequence[str], on_progress: OnProgress) -> Launched:
    """Run packs in this process, one after another; raises what a pack raises."""
    for pack_id in pack_ids:
        if store.stop_file.exists():
            break
        run_pack(store.folder, pack_id, lambda progress, pack_id=pack_id: on_progress(pack_id, progress))  # type: ignore[misc]
    return Launched({})
