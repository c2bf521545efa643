"""Of several results folders, those that can be read: one that is damaged is named and does not block the others."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console

from pipeline.store.damage import unreadable
from pipeline.store.pack_store import StoreError
from pipeline.store.sweep_store import SweepStore
from sweeps.command.exit_codes import COMPLETE, INCOMPLETE


def readable_among(stores: Sequence[SweepStore], err: Console) -> tuple[list[SweepStore], int]:
    """Those of several sweeps that can be read whole, and an exit code: INCOMPLETE where some are left out, by name.

    A single one (or none) is taken as it is, so that its command refuses it. Raises StoreError where none can be read,
    and for a folder that never was of a sweep, which is a mistake rather than damage.
    """
    if len(stores) < 2:
        return list(stores), COMPLETE
    for store in stores:
        if not store.exists() and not (store.folder / "packs").is_dir():
            _ = store.sweep
    problems = {store.folder: unreadable(store) for store in stores}
    good = [store for store in stores if problems[store.folder] is None]
    if not good:
        raise StoreError("; ".join(dict.fromkeys(str(problem) for problem in problems.values())))
    for folder, problem in problems.items():
        if problem is not None:
            err.print(f"left out: {folder}, which cannot be read: {problem}", style="red", markup=False)
    return good, COMPLETE if len(good) == len(stores) else INCOMPLETE
