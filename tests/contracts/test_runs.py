"""What holds of every run: over every pair of a task and a model that fits it, every optimiser and every schedule.

`make test` has every task and every model in some pair, and a program of every model; `make contract-test` the rest.
"""

from __future__ import annotations

from functools import cache

import pytest

from pipeline.contracts.runs import RUN_CONTRACT
from pipeline.contracts.small_sweeps import fitting
from pipeline.models.base import MODELS
from pipeline.optimisers.base import OPTIMISERS
from pipeline.schedules.base import SCHEDULES
from pipeline.tasks.base import TASKS


@cache
def pairs():
    """Task and model, of all that fit."""
    return sorted((task, model) for task in TASKS for model in fitting(TASKS[task].tiny()))


def first_pairs():
    """Those of `make test`: in order, each brings a task or a model that those before it lack."""
    found = []
    for task, model in pairs():
        tasks, models = zip(*found, strict=True) if found else ((), ())
        if task not in tasks or model not in models:
            found.append((task, model))
    return found


@cache
def cases():
    """Name of a case -> what it is made of."""
    return {
        **{f"{task}, {model}": {"task": task, "model": model} for task, model in pairs()},
        **{f"optimiser {name}": {"optimiser": name, "schedule": "constant"} for name in OPTIMISERS},
        **{f"schedule {name}": {"optimiser": "sgd", "schedule": name} for name in SCHEDULES},
    }


def marked():
    """Every case with every check, as parameters. Slow are other pairs than the first, and programs of known models."""
    other = {f"{task}, {model}" for task, model in set(pairs()) - set(first_pairs())}
    models = [model for _, model in first_pairs()]
    known = {f"{task}, {model}" for at, (task, model) in enumerate(first_pairs()) if model in models[:at]}
    for name in cases():
        for check in RUN_CONTRACT.checks:
            waits = name in other or (name in known and "compiled_program" in check.__name__)
            yield pytest.param(name, check, id=f"{name}-{check.__name__}", marks=[pytest.mark.slow] if waits else [])


@pytest.mark.parametrize(("case", "check"), list(marked()))
def test_every_run_keeps_the_rule(case, check):
    check(cases()[case])


def test_every_registered_part_is_in_some_case():
    parts = [part for case in cases().values() for part in case.items()]
    registries = {"task": TASKS, "model": MODELS, "optimiser": OPTIMISERS, "schedule": SCHEDULES}
    ours = {
        (kind, name)
        for kind, registry in registries.items()
        for name, cls in registry.items()
        if cls.__module__.startswith("pipeline.")
    }
    assert len(ours) > len(TASKS)
    assert ours <= set(parts)


def test_make_test_has_every_task_and_every_model_in_some_pair():
    tasks, models = zip(*first_pairs(), strict=True)
    assert set(tasks) == set(TASKS)
    assert set(models) == {model for _, model in pairs()}
    assert len(first_pairs()) < len(pairs())
