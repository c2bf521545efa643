"""Sweeps that train within a second or two, and ways to compare what came of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import ValidationError

from pipeline.contracts.contract import BrokenClauseError
from pipeline.engine.block import Block, to_host
from pipeline.engine.program import compiled_engine_of
from pipeline.engine.slots import RunState
from pipeline.launch.inline import launch_inline
from pipeline.launch.planned import plan_for
from pipeline.models._module_checks import RAISED
from pipeline.models.base import MODELS, Model
from pipeline.planning.open_sweep import open_results
from pipeline.planning.packs import Machine
from pipeline.spec.parameters import Registered
from pipeline.spec.registered import declared
from pipeline.spec.run_config import RunConfig
from pipeline.spec.sweep import SweepSpec
from pipeline.store.progress import Progress, unfinished
from pipeline.store.sweep_store import SweepStore
from pipeline.tasks.base import TASKS, Task
from pipeline.training.worker import run_pack


def by_default(cls: type[Task]) -> Task:
    """A task with every parameter at its default, or its small one where a parameter has none."""
    try:
        return cls()
    except ValidationError:
        return cls.tiny()


def fitting(task: Task) -> list[str]:
    """Names of the registered models that fit a task, that of the fewest parameters first."""
    names = [name for name, model in MODELS.items() if model.incompatibility(task) is None]
    return sorted(names, key=lambda name: _num_parameters(MODELS[name], task))


def _num_parameters(model: type[Model], task: Task) -> float:
    """Of a small one; infinite where a model of one's own cannot be built for the task."""
    try:
        return sum(spec.rows * spec.columns for spec in model.tiny(task).parameter_specs(task.shape()))
    except Exception:
        return math.inf


def tasks_for(model: type[Model]) -> list[type[Task]]:
    """The registered tasks whose kind of input a model takes, but for those whose sizes its own code does not take.

    Raises BrokenClauseError, with the error, where that is so of all.
    """
    of_kind = [task for task in TASKS.values() if model.incompatibility(task.tiny()) is None]
    errors = {task: _error_on(model, task) for task in of_kind}
    fits = [task for task, error in errors.items() if error is None]
    if of_kind and not fits:
        raise BrokenClauseError(
            f"{errors[of_kind[0]]}; it takes other sizes than all tasks of seedbed have, so it is tried on the data of "
            "its sweep alone, by `seedbed plan`; sizes that come from `task_shape` suit any"
        )
    return fits


def _error_on(model: type[Model], task: type[Task]) -> str | None:
    """What the model's own code raises on batches of a task, small or by default; None if nothing."""
    for one in (task.tiny(), by_default(task)):
        try:
            model.tiny(one).parameter_specs(one.shape())
        except Exception as error:
            # What else goes wrong is for the clauses to tell.
            if RAISED in str(error):
                return str(error)
    return None


def pair(task: str, model: str | None = None) -> dict[str, Any]:
    """The sections `task` and `model` of a spec, both tiny; the model is the first that fits, unless it is given."""
    small = TASKS[task].tiny()
    return {"task": declared(small), "model": declared(MODELS[model or fitting(small)[0]].tiny(small))}


def varied(section: str, part: Registered) -> dict[str, list[Any]]:
    """Dotted path -> three values of every vector parameter that takes three, the given one first."""
    found = {}
    for name in part.vector_fields():
        values = [value for value in _others(getattr(part, name)) if _is_valid(part, name, value)]
        if len(values) == 3:
            found[f"{section}.{name}"] = values
    return found


def _others(value: int | float | None) -> list[int | float | None]:
    if isinstance(value, int):
        return [value, value + 1, value + 2]
    return [value, 0.5 * value, 0.9 * value] if value else [value, 0.1, 0.3]


def _is_valid(part: Registered, name: str, value: Any) -> bool:
    try:
        type(part).model_validate(part.model_dump() | {name: value})
    except ValueError:
        return False
    return True


def tiny(task: str = "dictionary_lookup", **changes: Any) -> SweepSpec:
    """A sweep of a few runs that trains within a second or two, by torch, since compiling takes seconds."""
    data: dict[str, Any] = {
        "name": "tiny",
        **pair(task),
        "optimiser": {"name": "adamw", "lr": 3e-3, "clip": 1.0},
        "batch_size": 16,
        "budget": 30,
        "seeds": {"together": [0, 1, 2, 3]},
        "grid": {"chunk": 10, "eval_items": 32, "probe_items": 16},
        "tracking": {"mode": "disabled"},
    }
    resources = {"engine": "torch", **changes.pop("resources", {"slots": 4})}
    return SweepSpec.model_validate(data | changes | {"resources": resources})


def opened_results(spec: SweepSpec, folder: Path, num_workers: int = 1) -> SweepStore:
    """The results folder of `spec`, planned and written, nothing trained."""
    return open_results(plan_for(spec, folder, Machine.cpu(num_workers)), folder, spec.to_yaml())


def trained_inline(
    spec: SweepSpec,
    folder: Path,
    num_workers: int = 1,
    on_progress: Callable[[str, Progress], None] = lambda pack_id, progress: None,
) -> SweepStore:
    """The same, trained inline to the end."""
    store = opened_results(spec, folder, num_workers)
    launch_inline(store, unfinished(store), lambda pack_id, report: on_progress(pack_id, report))  # type: ignore[arg-type]
    return store


def left_after_every_chunk(spec: SweepSpec, folder: Path) -> tuple[SweepStore, int]:
    """Trains `spec`, asked to stop and resumed at every chunk; the store, and the attempts that it took."""
    store, attempts = opened_results(spec, folder), 0
    while left := unfinished(store):
        for pack_id in left:
            store.stop_file.touch()
            run_pack(store.folder, pack_id, lambda progress: None)
            attempts += 1
    return store, attempts


def trained_block(
    runs: Sequence[RunConfig],
    num_slots: int,
    slots: Sequence[int] | None = None,
    steps: int = 25,
    engine: str = "torch",
    threads: int = 1,
) -> Block:
    """A block of `num_slots` in which `runs` were trained in these slots (None: the first)."""
    block = Block(runs[0], num_slots, torch.device("cpu"), engine, threads=threads)
    slots = range(len(runs)) if slots is None else slots
    for slot, run in zip(slots, runs, strict=True):
        block.load_run(slot, run, block.start(run))
    block.train(steps, slots)
    return block


def states_of(
    runs: Sequence[RunConfig], num_slots: int, slots: Sequence[int] | None = None, **how: Any
) -> list[RunState]:
    """The states of `runs` after training them so, in their order."""
    block = trained_block(runs, num_slots, slots, **how)
    return [block.run_state(slot) for slot in (range(len(runs)) if slots is None else slots)]


def same(one: RunState, other: RunState) -> bool:
    """Whether two states are equal to the bit, NaN equal to NaN."""
    return one.step == other.step and all(
        np.array_equal(one.arrays[name], other.arrays[name], equal_nan=True) for name in one.arrays
    )


def assert_compiled_equals_torch(runs: Sequence[RunConfig]) -> None:
    """Trains six runs in float64 both ways: states, evaluations, probes and attention maps agree to 1e-9."""
    engine = compiled_engine_of(runs[0])
    assert engine is not None, "its compiled program cannot be built here"
    by_torch, compiled = (trained_block(runs, 6, steps=12, engine=kind) for kind in ("torch", engine))
    close = partial(np.testing.assert_allclose, rtol=1e-9, atol=1e-12)
    for slot in range(6):
        one, other = by_torch.run_state(slot), compiled.run_state(slot)
        assert one.step == other.step == 12, "a run is not at its step"
        for name, array in one.arrays.items():
            close(other.arrays[name], array, err_msg=name)
    for look in ("evaluate", "probe"):
        found, expected = (to_host(getattr(block, look)(37))[0] for block in (compiled, by_torch))
        assert found.keys() == expected.keys(), f"other metrics: {sorted(found.keys() ^ expected.keys())}"
        for name, values in expected.items():
            close(found[name], values, err_msg=name)
    for found_map, expected_map in zip(compiled.attention_maps(5), by_torch.attention_maps(5), strict=True):
        close(found_map.numpy(), expected_map.detach().numpy(), err_msg="attention maps")


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
