"""Attention maps for the page: those of the first item of the fixed batch, at 8 bits."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from analysis.page.columns import columns_blob
from pipeline.arrays import Array
from pipeline.store.sweep_store import SnapshotIndex, SweepStore

# Bytes of maps that a page holds at most, before compression.
MOST_BYTES = 1_000_000


def attention_blob(snapshots: SnapshotIndex, runs: Mapping[int, str]) -> bytes:
    """Every kept map of these runs (number -> run_id): entries in plain values, codes (0 to 255) one after another."""
    entries: list[str] = []
    codes: list[Array] = []
    for number, run_id in runs.items():
        for step in sorted(snapshots.of(run_id, "attention")):
            arrays = snapshots.read(run_id, step, "attention")
            for layer, name in enumerate(arrays):
                first_HLL = np.asarray(arrays[name])[0]
                heads, length = first_HLL.shape[:2]
                about = {"run": number, "step": step, "layer": layer, "heads": heads, "length": length}
                entries.append(json.dumps(about))
                codes.append(np.round(255 * np.clip(first_HLL, 0, 1)).astype(np.uint8).reshape(-1))
    maps = np.concatenate(codes) if codes else np.empty(0, np.uint8)
    return columns_blob({"maps": maps}, {"entries": entries})


def shown_maps(stores: Sequence[SweepStore], run_ids: Sequence[str]) -> tuple[list[int], bytes] | None:
    """Numbers of the runs whose maps a page holds, evenly spread over the runs that have some, and their blob."""
    number_of = {run_id: number for number, run_id in enumerate(run_ids)}
    for store in stores:
        snapshots = store.snapshots()
        kept = [run_id for run_id in run_ids if snapshots.of(run_id, "attention")]
        if not kept:
            continue
        most = max(1, MOST_BYTES // max(1, _size(snapshots, kept[0])))
        places = np.linspace(0, len(kept) - 1, min(most, len(kept))).round().astype(int).tolist()
        shown = sorted(number_of[kept[place]] for place in set(places))
        return shown, attention_blob(snapshots, {number: run_ids[number] for number in shown})
    return None


def _size(snapshots: SnapshotIndex, run_id: str) -> int:
    """Bytes of the maps of one run."""
    steps = snapshots.of(run_id, "attention")
    arrays: Mapping[str, Any] = snapshots.read(run_id, next(iter(steps)), "attention")
    return len(steps) * sum(int(array[0].size) for array in arrays.values())
