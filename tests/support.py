"""Small sweeps that tests train, and ways to compare what came of them."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.launch.launch import launch_inline, unfinished
from pipeline.planning.open_sweep import open_results, plan_for
from pipeline.planning.packs import Machine
from pipeline.registry import Registry
from pipeline.spec.run_config import RunConfig
from pipeline.spec.sweep import SweepSpec
from pipeline.store.sweep_store import SweepStore
from pipeline.training.pack import Progress

TASKS = {
    "dictionary_lookup": {"name": "dictionary_lookup", "num_keys": 4, "num_values": 4, "num_pairs": 4},
    "feature_regression": {"name": "feature_regression", "num_features": 3, "num_pairs": 7},
    "linear_regression": {"name": "linear_regression", "dim": 3, "num_pairs": 4},
    "pair_lookup": {"name": "pair_lookup", "num_keys": 4, "num_values": 3, "num_pairs": 5},
    "repeated_sequence": {"name": "repeated_sequence", "num_tokens": 5, "period": 3},
    "separate_regression": {"name": "separate_regression", "dim": 3, "num_pairs": 4},
    "sine_regression": {"name": "sine_regression", "num_pairs": 5},
}
MODELS = {
    "dictionary_lookup": {"name": "attention_only", "width": 8, "head_width": 4},
    "feature_regression": {"name": "merged_softmax_attention", "width": 5},
    "linear_regression": {"name": "linear_self_attention"},
    "pair_lookup": {"name": "attention_only", "width": 8, "head_width": 4, "num_layers": 1},
    "repeated_sequence": {"name": "transformer", "width": 8, "head_width": 4, "num_heads": 2, "mlp_width": 16},
    "separate_regression": {
        "name": "linear_self_attention",
        "num_layers": 2,
        "softmax": "first",
        "position_width": 4,
    },
    "sine_regression": {"name": "embedded_self_attention", "width": 6, "mlp_width": 7},
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
        "tracking": {"mode": "disabled"},
    }
    # Compiling takes seconds: only tests that are about compiled programs ask for them.
    resources = {"mode": "eager", **changes.pop("resources", {"width": 4})}
    return SweepSpec.model_validate(data | changes | {"resources": resources})


def register_model(monkeypatch: Any, folder: Path, name: str, source: str) -> None:
    """Makes `source` the file NAME.py of pipeline/models until the test ends, in the contract tests too."""
    import pipeline.models
    import pipeline.models.base as base
    import tests.contracts.test_models as contract

    (folder / f"{name}.py").write_text(source)
    importlib.invalidate_caches()
    monkeypatch.delitem(sys.modules, f"pipeline.models.{name}", raising=False)
    monkeypatch.setattr(pipeline.models, "__path__", [*pipeline.models.__path__, str(folder)])
    models = Registry("pipeline.models", base.Model, base.MODELS.helpers)
    monkeypatch.setattr(base, "MODELS", models)
    monkeypatch.setattr(contract, "MODELS", models)


def run_of(task: dict[str, Any], **changes: Any) -> RunConfig:
    """The first run of a tiny sweep of this very task, in its usual model."""
    data = tiny(task["name"]).identity() | {"task": task} | changes
    return SweepSpec.model_validate(data).runs()[0]


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
