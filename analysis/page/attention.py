"""Attention maps for the page: those of the first item of the fixed batch, at 8 bits."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from analysis.page.columns import columns_blob
from analysis.page.size import AS_TEXT, MAPS_SHARE, evenly_spaced
from pipeline.arrays import Array
from pipeline.store.snapshot_index import SnapshotIndex
from pipeline.store.sweep_store import SweepStore

# Bytes of maps that a page holds at most, before compression, with 100 of what each map is.
_MOST_BYTES, _OF_MAP = int(MAPS_SHARE / AS_TEXT), 100


def attention_blob(snapshots: SnapshotIndex, runs: Mapping[int, str]) -> bytes:
    """Maps of these runs (number -> run_id): entries in plain values, codes (0 to 255) one after another.

    Those of every step, or of as many as fit, evenly spaced.
    """
    most_steps = _most_steps(snapshots, runs)
    entries: list[str] = []
    codes: list[Array] = []
    for number, run_id in runs.items():
        steps = sorted(snapshots.of(run_id, "attention"))
        for step in (steps[place] for place in evenly_spaced(len(steps), most_steps)):
            arrays = snapshots.read(run_id, step, "attention")
            for layer, name in enumerate(arrays):
                first_HLL = np.asarray(arrays[name])[0]
                heads, length = first_HLL.shape[:2]
                about = {"run": number, "step": step, "layer": layer, "heads": heads, "length": length}
                entries.append(json.dumps(about))
                codes.append(np.round(255 * np.clip(first_HLL, 0, 1)).astype(np.uint8).reshape(-1))
    maps = np.concatenate(codes) if codes else np.empty(0, np.uint8)
    return columns_blob({"maps": maps}, {"entries": entries})


def shown_maps(stores: Sequence[SweepStore], run_ids: Sequence[str]) -> tuple[list[int], bytes, str] | None:
    """Numbers of the runs whose maps a page holds, evenly spread over the runs that have some, and their blob.

    And a sentence on the maps that are left out, empty where none is. None where no run has any, or those of one step
    are larger than all that a page holds.
    """
    number_of = {run_id: number for number, run_id in enumerate(run_ids)}
    for store in stores:
        snapshots = store.snapshots()
        kept = [run_id for run_id in run_ids if snapshots.of(run_id, "attention")]
        if not kept:
            continue
        of_step = _size_of_step(snapshots, kept[0])
        if of_step > _MOST_BYTES:
            continue
        num_steps = len(snapshots.of(kept[0], "attention"))
        most = max(1, _MOST_BYTES // max(1, of_step * num_steps))
        shown = sorted(number_of[kept[place]] for place in evenly_spaced(len(kept), most))
        runs = {number: run_ids[number] for number in shown}
        said = _left_out(len(shown), len(kept), min(num_steps, _most_steps(snapshots, runs)), num_steps)
        return shown, attention_blob(snapshots, runs), said
    return None


def _left_out(num_runs: int, of_runs: int, num_steps: int, of_steps: int) -> str:
    limits = [f"of {num_runs:,} of the {of_runs:,} runs here that kept some"] if num_runs < of_runs else []
    limits += [f"at {num_steps:,} of {of_steps:,} steps"] if num_steps < of_steps else []
    return f"The page holds attention maps {', '.join(limits)}, evenly spaced." if limits else ""


def _most_steps(snapshots: SnapshotIndex, runs: Mapping[int, str]) -> int:
    """Steps whose maps a page has room for, of so many runs."""
    return max(1, _MOST_BYTES // max(len(runs) * _size_of_step(snapshots, next(iter(runs.values()))), 1))


def _size_of_step(snapshots: SnapshotIndex, run_id: str) -> int:
    """Bytes of the maps of one run at one step."""
    steps = snapshots.of(run_id, "attention")
    arrays: Mapping[str, Any] = snapshots.read(run_id, next(iter(steps)), "attention")
    return sum(int(array[0].size) + _OF_MAP for array in arrays.values())
