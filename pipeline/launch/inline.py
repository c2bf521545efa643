"""Packs one after another in this process, without Ray."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.launch.launched import Launched, OnProgress
from pipeline.store.sweep_store import SweepStore
from pipeline.training.abilities import NotHereError
from pipeline.training.worker import run_pack


def launch_inline(store: SweepStore, pack_ids: Sequence[str], on_progress: OnProgress) -> Launched:
    """Run packs in this process, one after another; raises what a pack raises.

    Packs that this machine cannot compute are left, with the reason, and the others trained.
    """
    elsewhere: dict[str, str] = {}
    for pack_id in pack_ids:
        if store.stop_file.exists():
            break
        try:
            run_pack(store.folder, pack_id, lambda progress, pack_id=pack_id: on_progress(pack_id, progress))  # type: ignore[misc]
        except NotHereError as error:
            elsewhere[pack_id] = error.reason
    return Launched({}, elsewhere)
