"""`--import`: code of one's own that the command line names, imported, and from then on allowed to results folders."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pipeline.own_code.imported import OwnCodeError, load, resolved
from pipeline.planning.consent import keep_allowed
from pipeline.store.pack_store import StoreError


def import_named(entries: Sequence[str]) -> None:
    """Import what the command line names, and keep that it was. Raises StoreError, naming the file and line."""
    try:
        for entry in entries:
            load(resolved(entry, Path.cwd()))
    except (OwnCodeError, OSError, ValueError) as error:
        raise StoreError(f"--import: {error}") from None
    keep_allowed()
