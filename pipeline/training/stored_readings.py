"""Readings of a sweep from the weights that its folder kept: what its worker would have recorded at those steps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pyarrow as pa
import torch

from pipeline.engine.parameter_layout import Layout
from pipeline.engine.reader import Reader, suitable_readings
from pipeline.planning.packs import expand, stored_spec
from pipeline.readings.base import READINGS
from pipeline.spec.registered import unknown
from pipeline.spec.run_config import RunConfig
from pipeline.store.pack_store import PackStore, StoreError
from pipeline.store.records.record import FileEntry
from pipeline.store.records.snapshot_entries import SnapshotEntry
from pipeline.store.sweep_store import SweepStore

# Weights of so many runs and steps are read and laid out at a time.
_BATCH = 4096


def readings_of(store: SweepStore, names: Sequence[str]) -> pa.Table:
    """`run_id`, `step` and a column for each number of the named readings, at all steps with kept states or weights.

    Null where a reading cannot read the model of a run, or gives no finite number. Values are those that a worker
    records, to the bit where library and processor are the same.
    Raises StoreError for an unknown reading, for one that can read no run, where no weights are kept, and where what is
    kept are no weights of the run's model.
    """
    if strange := [name for name in names if name not in READINGS]:
        raise StoreError(unknown("reading", strange[0], READINGS))
    spec = stored_spec(store)
    configs = {config.run_id: config for config in expand(spec)}
    readers: dict[str, Reader | None] = {}
    parts = []
    for entries, weights_NP in _kept(store):
        if strange := sorted({entry.run_id for entry in entries} - configs.keys()):
            raise StoreError(f"{store.folder}: keeps weights of runs that its sweep does not have: {strange[0]}, ...")
        keys = np.array([configs[entry.run_id].static_key() for entry in entries])
        for key in np.unique(keys).tolist():
            chosen = np.flatnonzero(keys == key)
            own = [configs[entries[n].run_id] for n in chosen]
            if key not in readers:
                suitable = suitable_readings(names, own[0])
                readers[key] = Reader(own[0], suitable, spec.grid.probe_items) if suitable else None
            reader = readers[key]
            if reader is not None:
                stacked_SP = _stacked(store, own[0], [entries[n] for n in chosen], [weights_NP[n] for n in chosen])
                parts.append(_table(reader, own, [entries[n] for n in chosen], stacked_SP))
    if not readers:
        raise StoreError(
            f"{store.folder}: no weights are kept; snapshots.weights of a sweep file says at which steps they are"
        )
    if not parts:
        config = next(iter(configs.values()))
        reasons = [READINGS[name].unsuitable(config.task, config.model) for name in names]
        raise StoreError(f"{store.folder}: {'; '.join(str(reason) for reason in reasons)}")
    return pa.concat_tables(parts, promote_options="default")


def _kept(store: SweepStore) -> Iterator[tuple[list[SnapshotEntry], list[np.ndarray | None]]]:
    """Snapshots that hold weights, each run and step once, and the flat weights, None where missing, file by file."""
    seen: set[tuple[str, int]] = set()
    for pack_id, record in store.newest_records().items():
        for file, entries in record.snapshots:
            fresh = {}
            for entry in entries:
                place = (entry.run_id, entry.step)
                if entry.kind in ("state", "weights") and place not in seen:
                    fresh[place] = entry
            seen |= fresh.keys()
            yield from _batches(store.pack(pack_id), file, list(fresh.values()))


def _batches(
    pack: PackStore, file: FileEntry, entries: list[SnapshotEntry]
) -> Iterator[tuple[list[SnapshotEntry], list[np.ndarray | None]]]:
    if not entries:
        return
    arrays = pack.arrays(file, ending="/weights")
    for first in range(0, len(entries), _BATCH):
        chosen = entries[first : first + _BATCH]
        yield chosen, [arrays.get(f"{entry.run_id}/{entry.step}/{entry.kind}/weights") for entry in chosen]


def _layout(config: RunConfig) -> Layout:
    return Layout(config.model.parameter_specs(config.task.shape()), getattr(torch, config.dtype))


def _stacked(
    store: SweepStore, config: RunConfig, entries: Sequence[SnapshotEntry], weights_NP: Sequence[np.ndarray | None]
) -> torch.Tensor:
    """Compact weights of runs of one static setting, a row each."""
    expected, good = ((_layout(config).num_parameters,), config.dtype), []
    for entry, weights_P in zip(entries, weights_NP, strict=True):
        found = ("missing", "") if weights_P is None else (weights_P.shape, weights_P.dtype.name)
        if weights_P is None or found != expected:
            raise StoreError(
                f"{store.folder}: the weights of run {entry.run_id} at step {entry.step} are not those of its model: "
                f"{' '.join(map(str, found)).strip()}, in place of {' '.join(map(str, expected))}"
            )
        good.append(weights_P)
    return torch.from_numpy(np.stack(good))


def _table(
    reader: Reader, configs: Sequence[RunConfig], entries: Sequence[SnapshotEntry], weights_SP: torch.Tensor
) -> pa.Table:
    """The readings of runs of one static setting."""
    found = reader.read(_layout(configs[0]).split(weights_SP), configs)
    columns: Mapping[str, np.ndarray] = {name: values.numpy() for name, values in found.items()}
    return pa.table(
        {
            "run_id": pa.array([entry.run_id for entry in entries]),
            "step": pa.array([entry.step for entry in entries], pa.int64()),
            **{name: pa.array(values, mask=np.isnan(values)) for name, values in columns.items()},
        }
    )
