"""What holds of every run: over every pair of a task and a model that fits it, every optimiser and every schedule.

`make test` has every task and every model in some pair, `make contract-test` has the others: each compiles a program.
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
    """The names of all cases, as parameters, those of the other pairs marked as slow."""
    other = {f"{task}, {model}" for task, model in set(pairs()) - set(first_pairs())}
    return [pytest.param(name, marks=[pytest.mark.slow] if name in other else []) for name in cases()]


@pytest.mark.parametrize("check", RUN_CONTRACT.checks, ids=lambda check: check.__name__)
@pytest.mark.parametrize("case", marked())
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
