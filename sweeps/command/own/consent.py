"""Which code of their own a user has run: kept by hash, so that a results folder cannot make them run another.

A sweep file and `--import` name code that is then run. A results folder only names what its sweep imported: that is
imported again if this user has named files with the same names and content before, on this computer, those that they
import of their own among them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pipeline.numerics.program_cache import cache_folder
from pipeline.own_code.imported import OwnCodeError, allowed, consult, load, resolved
from pipeline.store.pack_store import StoreError

_FOLDER = "allowed-imports"


def import_named(entries: Sequence[str]) -> None:
    """Import what the command line names, and keep that it was. Raises StoreError, naming the file and line."""
    try:
        for entry in entries:
            load(resolved(entry, Path.cwd()))
    except (OwnCodeError, OSError, ValueError) as error:
        raise StoreError(f"--import: {error}") from None
    keep_allowed()


def keep_allowed() -> None:
    """Keep the hashes of all that this process has imported."""
    if hashes := allowed():
        folder = cache_folder() / _FOLDER
        folder.mkdir(mode=0o700, exist_ok=True)
        for digest in hashes:
            (folder / digest).touch(mode=0o600)


def trust_kept() -> None:
    """From now on, results folders may import what this user has named before."""
    consult(lambda digest: (cache_folder() / _FOLDER / digest).is_file())
