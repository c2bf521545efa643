"""Negative controls: permutations that destroy the effect that a claim tests, after which no claim may hold."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from analysis.claims.sweeps import JudgedSweep, Sweeps
from analysis.dynamics.attention import MapReader, permuted_positions
from pipeline.arrays import Floats, Ints
from pipeline.store.history import History

SHUFFLES = ("runs", "metrics", "steps", "positions")


def shuffled(sweeps: Sweeps, how: str, seed: int = 0) -> Sweeps:
    """Every sweep that is there, shuffled.

    "runs": the recordings of whole runs change places, with their ends: what seeds and hyperparameters explain is gone.
    "metrics": so do those of every metric by itself: what links the metrics of a run is gone, too.
    "steps": each run's recorded values of a metric change places: how it developed is gone.
    "positions": in every attention map, the keys that a query may see: where runs attend is gone; needs snapshots.
    Runs change places with runs made at the same fork step (or with no fork) alone. Deterministic in `seed`.
    Raises ValueError for another word.
    """
    if how not in SHUFFLES:
        raise ValueError(f"unknown way to shuffle {how!r} (known: {', '.join(SHUFFLES)})")
    found: dict[str, JudgedSweep] = {}
    for name in sweeps:
        if sweeps.has(name):
            sweep = sweeps[name]
            snapshots = sweep.snapshots
            if how == "positions" and snapshots is not None:
                snapshots = PermutedSnapshots(snapshots, seed)
            found[name] = replace(sweep, history=shuffled_history(sweep.history, how, seed), snapshots=snapshots)
    return Sweeps(found)


def shuffled_history(history: History, how: str, seed: int = 0) -> History:
    """One history, shuffled as `shuffled` says; "positions" leaves it as it is."""
    rng = np.random.default_rng(seed)
    values, ends = dict(history.values), history.ends
    if how == "runs":
        order_R = _exchanged(history, rng)
        values = {metric: values_RT[order_R] for metric, values_RT in values.items()}
        ends = tuple(history.ends[r] for r in order_R)
    elif how == "metrics":
        values = {metric: values_RT[_exchanged(history, rng)] for metric, values_RT in values.items()}
    elif how == "steps":
        values = {metric: _steps_exchanged(values_RT, rng) for metric, values_RT in values.items()}
    return replace(history, values=values, ends=ends)


@dataclass(frozen=True)
class PermutedSnapshots:
    """Snapshots whose attention maps have their positions renamed, in each run its own way at all steps."""

    snapshots: MapReader
    seed: int

    def of(self, run_id: str, kind: str = "state") -> Mapping[int, Any]:
        """The same steps."""
        return self.snapshots.of(run_id, kind)

    def read(self, run_id: str, step: int, kind: str = "state") -> Mapping[str, Any]:
        """The same arrays, but for attention maps. All layers must be of one shape."""
        arrays = self.snapshots.read(run_id, step, kind)
        if kind != "attention":
            return arrays
        maps = np.stack([np.asarray(array) for array in arrays.values()])[None]
        permuted = permuted_positions(maps, self.seed ^ zlib.crc32(run_id.encode()))[0]
        return dict(zip(arrays, permuted, strict=True))


def _exchanged(history: History, rng: np.random.Generator) -> Ints:
    """(R,) an order of the runs in which those made at one fork step change places among themselves."""
    order_R = np.arange(len(history.runs))
    fork_steps = [run.fork_step for run in history.runs]
    for fork_step in dict.fromkeys(fork_steps):
        members = np.flatnonzero([step == fork_step for step in fork_steps])
        order_R[members] = rng.permutation(members)
    return order_R


def _steps_exchanged(values_RT: Floats, rng: np.random.Generator) -> Floats:
    exchanged_RT = values_RT.copy()
    for r, values_T in enumerate(values_RT):
        seen = np.flatnonzero(np.isfinite(values_T))
        exchanged_RT[r, seen] = values_T[rng.permutation(seen)]
    return exchanged_RT
