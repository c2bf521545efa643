"""Small sweeps that tests train, and ways to compare what came of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.launch import launch_inline, unfinished
from pipeline.pack import Progress
from pipeline.planning import Machine
from pipeline.results import open_results, plan_for
from pipeline.runs import RunConfig
from pipeline.spec import SweepSpec
from pipeline.store import SweepStore

TASKS = {
    "dictionary_lookup": {"name": "dictionary_lookup", "num_keys": 4, "num_values": 4, "num_pairs": 4},
    "linear_regression": {"name": "linear_regression", "dim": 3, "num_pairs": 4},
}
MODELS = {
    "dictionary_lookup": {"name": "attention_only", "width": 8, "head_width": 4},
    "linear_regression": {"name": "linear_self_attention"},
}


def tiny(task: str = "dictionary_lookup", **changes: Any) -> SweepSpec:
    """A sweep of a few runs that trains within a second or two."""
    data: dict[str, Any] = {
        "name": "tiny",
        "task": TASKS[task],
        "model": MODELS[task],
        "optimiser": {"name": "adamw", "lr": 3e-3, "clip": 1.0},
        "batch_size": 16,
        "budget": 30,
        "seeds": {"together": [0, 1, 2, 3]},
        "grid": {"chunk": 10, "eval_items": 32, "probe_items": 16},
        "resources": {"width": 4},
        "tracking": {"mode": "disabled"},
    }
    return SweepSpec.model_validate(data | changes)


def configs(spec: SweepSpec) -> list[RunConfig]:
    return spec.runs()


def opened(spec: SweepSpec, folder: Path, num_workers: int = 1) -> SweepStore:
    """The results folder of `spec`, planned and written, nothing trained."""
    return open_results(plan_for(spec, folder, Machine.cpu(num_workers)), folder, spec.to_yaml())


def trained(
    spec: SweepSpec,
    folder: Path,
    num_workers: int = 1,
    on_progress: Callable[[str, Progress], None] = lambda pack_id, progress: None,
) -> SweepStore:
    """The same, trained inline to the end."""
    store = opened(spec, folder, num_workers)
    launch_inline(store, unfinished(store), on_progress)
    return store


def rows(store: SweepStore) -> dict[tuple[str, int, str], bytes]:
    """(run_id, step, metric) -> the bits of the recorded value."""
    history = store.history()
    return {
        (run.run_id, int(step), metric): np.float64(values_RT[r, t]).tobytes()
        for metric, values_RT in history.values.items()
        for r, run in enumerate(history.runs)
        for t, step in enumerate(history.steps_T)
        if not np.isnan(values_RT[r, t])
    }


def weights(store: SweepStore) -> dict[str, str]:
    """run_id -> SHA-256 of its last weights."""
    return {run: end.weights_sha256 for record in store.newest_records().values() for run, end in record.ends.items()}
