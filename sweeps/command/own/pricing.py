"""What a class of one's own costs: measured on this computer, in a few seconds, beside one that comes with seedbed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from analysis.contracts.predictors import TARGETS, TRAIN
from analysis.contracts.synthetic import synthetic_history
from analysis.predictors.base import PREDICTORS
from analysis.statistics.base import STATISTICS
from pipeline.contracts.readings import READING_CONTRACT, weights_read
from pipeline.contracts.small_sweeps import fitting, pair, tasks_for, trained_block
from pipeline.engine.program import compiled_engine_of, missing_part
from pipeline.models.base import MODELS
from pipeline.numerics.compiler import HOW_TO_INSTALL
from pipeline.spec.registered import declared
from pipeline.spec.run_config import RunConfig
from pipeline.spec.sweep import SweepSpec

_TIMED_S = 0.3
_SLOTS = 16
_BATCH_SIZE = 64


def price(cls: Any, kind: str) -> Iterator[str]:
    """Sentences on the time that the class takes; nothing of stopping rules, which take next to none."""
    if kind in ("task", "model", "optimiser", "schedule"):
        yield from _price_of_training(cls, kind)
    elif kind == "reading":
        case = READING_CONTRACT.cases(cls)[0]
        _, task, model = case.arguments
        weights = weights_read(task, model, seeds=tuple(range(_SLOTS)))
        taken_s = _seconds(lambda: cls()(weights)) / _SLOTS
        yield f"a reading of a run {case.label} takes {_shown(taken_s)}, both tiny"
    elif kind == "statistic":
        window = synthetic_history(4, 64).window(0.25)
        own_s, ours_s = (_seconds(partial(one(), window)) for one in (cls, STATISTICS["slope"]))
        yield f"takes {_shown(own_s)} for {len(window.runs)} runs; our `slope` takes {_shown(ours_s)}"
    elif kind == "predictor":
        own_s, ours_s = (_seconds(partial(one().fit, TRAIN, TARGETS)) for one in (cls, PREDICTORS["ridge_time"]))
        yield f"is fitted to {len(TRAIN)} runs in {_shown(own_s)}; our `ridge_time` in {_shown(ours_s)}"


def _price_of_training(cls: Any, kind: str) -> Iterator[str]:
    own, ours = _run({kind: cls}), _run({})
    own_s, ours_s = _step_s(own, "torch"), _step_s(ours, "torch")
    yield (
        f"a step of a run takes {_shown(own_s)} by torch, {_SLOTS} runs side by side with batches of {_BATCH_SIZE}; "
        f"with our {_part(ours, kind)} in its place {_shown(ours_s)}"
    )
    compiled = compiled_engine_of(own) if not missing_part(own) else None
    reference = own if compiled is not None else ours
    engine = compiled if compiled is not None else compiled_engine_of(ours)
    if engine is None:
        yield f"compiled programs cannot be built here: there is no g++ that works; {HOW_TO_INSTALL}"
        return
    compiled_s = _step_s(reference, engine)
    if compiled is not None:
        yield f"it has a compiled form, which takes {_shown(compiled_s)}: {own_s / compiled_s:.0f} times as fast"
    else:
        yield (
            f"it has no compiled form, so its runs are trained by torch; ours, compiled, takes {_shown(compiled_s)} "
            f"a step, which is {own_s / compiled_s:.0f} times as fast"
        )


def _part(run: RunConfig, kind: str) -> str:
    return f"{kind} {getattr(run, kind).name}"


def _run(parts: dict[str, Any]) -> RunConfig:
    """A run of the tiny sweep with this part in it, and beside it the first that fits."""
    sections: dict[str, Any] = pair("dictionary_lookup", "attention_only")
    if "task" in parts:
        task = parts["task"].tiny()
        sections = {"task": declared(task), "model": declared(MODELS[fitting(task)[0]].tiny(task))}
    if "model" in parts:
        fits = [task.tiny() for task in tasks_for(parts["model"])]
        sections = {"task": declared(fits[0]), "model": declared(parts["model"].tiny(fits[0]))}
    sections["optimiser"] = {"name": "adamw", "lr": 1e-3}
    if "optimiser" in parts:
        sections["optimiser"] = declared(parts["optimiser"].tiny())
    if "schedule" in parts:
        sections["schedule"] = declared(parts["schedule"].tiny())
    data = {"name": "price", "batch_size": _BATCH_SIZE, "budget": 100, "seeds": {"together": [0]}, **sections}
    return SweepSpec.model_validate(data).runs()[0]


def _step_s(run: RunConfig, engine: str) -> float:
    """Seconds that a step of one run takes, of `_SLOTS` copies side by side."""
    block = trained_block([run] * _SLOTS, _SLOTS, steps=5, engine=engine)
    return _seconds(lambda: block.train(5)) / (5 * _SLOTS)


def _seconds(work: Callable[[], object]) -> float:
    """Of one call, the fastest of those that fit into a third of a second; the first is not timed."""
    work()
    taken: list[float] = []
    started = time.perf_counter()
    while not taken or time.perf_counter() - started < _TIMED_S:
        before = time.perf_counter()
        work()
        taken.append(time.perf_counter() - before)
    return min(taken)


def _shown(seconds: float) -> str:
    for unit, size in (("us", 1e-6), ("ms", 1e-3)):
        if seconds < 1000 * size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.3g} s"
