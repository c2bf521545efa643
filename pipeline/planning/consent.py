"""Which code of their own a user has run: kept by hash, so that a results folder cannot make them run another.

A sweep file and `--import` name code that is then run. A results folder only names what its sweep imported: that is
imported again if this user has named files with the same names and content before, on this computer, those that they
import of their own among them.
"""

from __future__ import annotations

from pipeline.numerics.program_cache import cache_folder
from pipeline.own_code.imported import allowed, consult

_FOLDER = "allowed-imports"


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
