"""Snapshots of a sweep's runs: which there are, one at a time, and many as one array."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.arrays import Array
from pipeline.long_loops import loop_over
from pipeline.store.pack_store import PackStore, StoreError
from pipeline.store.records.record import FileEntry
from pipeline.store.records.snapshot_entries import SnapshotEntry

# Snapshot files in memory: callers often alternate between runs of different packs.
_FILES_KEPT = 4


class SnapshotIndex:
    """Index of a sweep's snapshots: those that the newest record of a run's pack names when the run is first asked for.

    Each method raises StoreError where the pack of a run that it is asked for is damaged, whatever the others are.
    """

    def __init__(self, folder: Path, plan: Mapping[str, Any], pack: Callable[[str], PackStore]) -> None:
        self.folder, self._pack = folder, pack
        self._run_ids = [row["run_id"] for row in plan["runs"]]
        self._pack_of = {run_id: pack["pack_id"] for pack in plan["packs"] for run_id in pack["run_ids"]}
        self._read_packs: set[str] = set()
        self._places: dict[tuple[str, str], dict[int, tuple[PackStore, FileEntry, SnapshotEntry]]] = {}
        self._files: dict[FileEntry, dict[str, dict[str, Array]]] = {}

    def of(self, run_id: str, kind: str = "state") -> dict[int, SnapshotEntry]:
        """step -> entry, for one run."""
        pack_id = self._pack_of.get(run_id)
        if pack_id is not None and pack_id not in self._read_packs:
            self._read_pack(self._pack(pack_id))
            self._read_packs.add(pack_id)
        return {step: entry for step, (_, _, entry) in self._places.get((run_id, kind), {}).items()}

    def _read_pack(self, pack: PackStore) -> None:
        record = pack.newest()
        for file, entries in () if record is None else record.snapshots:
            for entry in entries:
                self._places.setdefault((entry.run_id, entry.kind), {})[entry.step] = (pack, file, entry)

    def read(self, run_id: str, step: int, kind: str = "state") -> dict[str, Array]:
        """The arrays of one snapshot, by name. Raises StoreError naming the steps there are."""
        self.require(run_id, step, kind)
        return dict(self._arrays(run_id, step, kind))

    def _arrays(self, run_id: str, step: int, kind: str) -> Mapping[str, Array]:
        pack, file, _ = self._places[run_id, kind][step]
        if file not in self._files:
            if len(self._files) == _FILES_KEPT:
                del self._files[next(iter(self._files))]
            self._files[file] = pack.snapshots(file)
        return self._files[file].get(f"{run_id}/{step}/{kind}", {})

    def stacked(
        self, step: int, kind: str = "state", run_ids: Iterable[str] | None = None
    ) -> tuple[list[str], dict[str, Array]]:
        """The snapshots of many runs at one step: their ids, and name -> (R, ...) arrays, row by row those of the ids.

        Of these runs, or None of all, in the order of the plan; runs without such a snapshot are left out. Each file is
        read once. Raises StoreError where the arrays of two runs have different shapes.
        """
        found = [run_id for run_id in (self._run_ids if run_ids is None else run_ids) if step in self.of(run_id, kind)]
        arrays: dict[str, Array] = {}
        # A file's runs one after another, wherever they stand in the plan.
        by_file = sorted(range(len(found)), key=lambda row: self._places[found[row], kind][step][1].sha256)
        for row in loop_over("reading snapshots", by_file):
            for name, array in self._arrays(found[row], step, kind).items():
                if name not in arrays:
                    arrays[name] = np.zeros((len(found), *array.shape), array.dtype)
                stack = arrays[name]
                if stack.shape[1:] != array.shape:
                    shapes = f"the shapes {stack.shape[1:]} and {array.shape}: name runs of one shape"
                    raise StoreError(f"{self.folder}: {name} of {kind} at step {step} has {shapes}")
                stack[row] = array
        return found, arrays

    def require(self, run_id: str, step: int, kind: str = "state") -> None:
        """Raises StoreError, naming the steps there are, unless this snapshot exists."""
        found = self.of(run_id, kind)
        if step not in found:
            known = ", ".join(map(str, sorted(found))) or "none"
            told = f"{self.folder}: run {run_id} has no {kind} at step {step} (it has: {known})"
            if kind == "state" and step in self.of(run_id, "weights"):
                told += "; of its weights alone, which are kept there, no training can start"
            field = {"state": "states"}.get(kind, kind)
            raise StoreError(f"{told}; snapshots.{field} of its sweep file says at which steps they are kept")

    def weight_steps(self, run_id: str) -> list[int]:
        """The steps at which a run's weights are kept, by themselves or in a state."""
        return sorted({*self.of(run_id), *self.of(run_id, "weights")})

    def weights(self, run_id: str, step: int) -> Array:
        """A run's flat weights at a step of `weight_steps`. Raises StoreError naming the steps there are."""
        kind = "weights" if step in self.of(run_id, "weights") else "state"
        return self.read(run_id, step, kind)["weights"]
