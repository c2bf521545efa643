"""What holds of every run: over every pair of a task and a model that fits it, every optimiser and every schedule."""

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
def cases():
    """Name of a case -> what it is made of."""
    pairs = {(task, model) for task in TASKS for model in fitting(TASKS[task].tiny())}
    return {
        **{f"{task}, {model}": {"task": task, "model": model} for task, model in sorted(pairs)},
        **{f"optimiser {name}": {"optimiser": name, "schedule": "constant"} for name in OPTIMISERS},
        **{f"schedule {name}": {"optimiser": "sgd", "schedule": name} for name in SCHEDULES},
    }


@pytest.mark.parametrize("check", RUN_CONTRACT.checks, ids=lambda check: check.__name__)
@pytest.mark.parametrize("case", cases())
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
