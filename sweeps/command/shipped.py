"""Sweep files that come with seedbed, found by name from any folder."""

from __future__ import annotations

from pathlib import Path

from pipeline.spec.registered import unknown
from pipeline.store.pack_store import StoreError

_SWEEPS = Path(__file__).resolve().parents[1]


def shipped_sweeps() -> list[Path]:
    """The sweep files that come with seedbed."""
    return sorted(path for path in _SWEEPS.rglob("*.yaml") if path.parent.name not in ("templates", "cluster"))


def name_of(path: Path) -> str:
    """A shipped sweep as `seedbed list` names it, and `seedbed launch` takes it: quickstart, benchmark/parity."""
    return str(path.relative_to(_SWEEPS).with_suffix(""))


def sweep_file(given: Path) -> Path:
    """The file itself if there is one; else the sweep of this name that comes with seedbed.

    Such as quickstart, benchmark/parity, parity, or sweeps/quickstart.yaml. Raises StoreError for a word that could
    only be such a name and is none; any other path is given back, to be missed by who reads it.
    """
    if given.exists() or given.is_symlink():
        return given
    by_name = {name_of(path): path for path in shipped_sweeps()}
    name = str(given.with_suffix("") if given.suffix == ".yaml" else given).removeprefix("sweeps/")
    if name in by_name:
        return by_name[name]
    if given.suffix or given.is_absolute() or len(given.parts) > 2:
        return given
    parts = Path(name).parts
    alike = [path for known, path in by_name.items() if Path(known).parts[-len(parts) :] == parts]
    if len(alike) == 1:
        return alike[0]
    if alike:
        names = ", ".join(name for name, path in by_name.items() if path in alike)
        raise StoreError(f"several sweeps that come with seedbed are called {given}: {names}")
    every = dict.fromkeys([*by_name, *(path.stem for path in by_name.values())])
    told = unknown("sweep", str(given), every).partition(" (valid:")[0]
    raise StoreError(f"there is no file {given}: {told}{'' if told.endswith('?') else ';'} `seedbed list` shows all")
