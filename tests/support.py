"""Small sweeps that tests train, and ways to compare what came of them."""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path
from typing import Any

from pipeline.contracts.small_sweeps import (
    assert_compiled_equals_torch,
    fitting,
    pair,
    rows,
    same,
    states_of,
    tiny,
    varied,
    weights,
)
from pipeline.contracts.small_sweeps import opened_results as opened
from pipeline.contracts.small_sweeps import trained_block as block_of
from pipeline.contracts.small_sweeps import trained_inline as trained
from pipeline.registry import Registry
from pipeline.spec import registered
from pipeline.spec.run_config import RunConfig
from pipeline.spec.sweep import SweepSpec
from pipeline.store.progress import unfinished
from pipeline.store.sweep_store import SweepStore
from pipeline.training.worker import run_pack

__all__ = [
    "SOURCES",
    "assert_compiled_equals_torch",
    "block_of",
    "configs",
    "drop_in",
    "fitting",
    "interrupted",
    "opened",
    "pair",
    "rows",
    "run_of",
    "same",
    "states_of",
    "tiny",
    "trained",
    "varied",
    "weights",
]

# File name -> the example that docs/extending.md gives for it.
SOURCES = dict(
    re.findall(
        r"`([a-z_/]+\.py)`: .*?```python\n(.*?)```",
        (Path(__file__).resolve().parent.parent / "docs" / "extending.md").read_text(encoding="utf-8"),
        re.S,
    )
)


def drop_in(monkeypatch: Any, folder: Path, kind: str, name: str, source: str) -> Any:
    """The class of `source`, as the file NAME.py of the package of a registry until the test ends.

    `kind` is "task", "model", "optimiser" or "schedule".
    """
    registry = registered.registry(kind)
    assert isinstance(registry, Registry)
    package = importlib.import_module(registry.package)
    (folder / f"{name}.py").write_text(source)
    importlib.invalidate_caches()
    monkeypatch.delitem(sys.modules, f"{registry.package}.{name}", raising=False)
    monkeypatch.setattr(package, "__path__", [*package.__path__, str(folder)])
    again = Registry(registry.package, registry.base_class, registry.helpers)
    # What is cached on the registry itself, which every module holds.
    monkeypatch.setitem(vars(registry), "_classes", again._classes)
    return registry[name]


def run_of(task: dict[str, Any], **changes: Any) -> RunConfig:
    """The first run of a tiny sweep of this very task, in the first model that fits it."""
    data = tiny(task["name"]).identity() | {"task": task} | changes
    return SweepSpec.model_validate(data).runs()[0]


def configs(spec: SweepSpec) -> list[RunConfig]:
    return spec.runs()


def interrupted(spec: SweepSpec, folder: Path, every_chunks: int, monkeypatch: Any) -> tuple[SweepStore, int]:
    """Trains `spec`, leaving and resuming after every few chunks; the store, and the attempts that it took."""
    import pipeline.training.worker as worker

    monkeypatch.setattr(worker, "_POLL_INTERVAL_S", 0.0)
    store = opened(spec, folder)
    attempts = 0
    while unfinished(store):
        for pack_id in unfinished(store):
            store.stop_file.unlink(missing_ok=True)
            chunks = iter(range(every_chunks))
            monkeypatch.setattr(worker._StopFile, "__call__", lambda self, chunks=chunks: next(chunks, None) is None)
            run_pack(store.folder, pack_id, lambda progress: None)
            attempts += 1
    return store, attempts
