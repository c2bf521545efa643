"""Every numbered clause of a contract has its check, in the contract's order, and every check its clause."""

from __future__ import annotations

import re

import pytest

from analysis.predictors.base import Predictor
from analysis.statistics.base import Statistic
from pipeline.models.base import Model
from pipeline.optimisers.base import Optimiser
from pipeline.readings.base import Reading
from pipeline.schedules.base import Schedule
from pipeline.stopping.base import StoppingRule
from pipeline.tasks.base import Task
from tests.contracts import (
    test_models,
    test_optimisers,
    test_predictors,
    test_readings,
    test_runs,
    test_schedules,
    test_statistics,
    test_stopping_rules,
    test_tasks,
)

CONTRACTS = [
    (Task, test_tasks),
    (Model, test_models),
    (Optimiser, test_optimisers),
    (Schedule, test_schedules),
    (Reading, test_readings),
    (StoppingRule, test_stopping_rules),
    (Statistic, test_statistics),
    (Predictor, test_predictors),
    (test_runs, test_runs),
]


@pytest.mark.parametrize(("contract", "module"), CONTRACTS, ids=lambda one: one.__name__)
def test_every_clause_has_its_check_in_order(contract, module):
    clauses = [int(number) for number in re.findall(r"^ *(\d+)\. ", contract.__doc__, re.M)]
    defined = [name for name, value in vars(module).items() if getattr(value, "__module__", "") == module.__name__]
    checked = [int(found[1]) for name in defined if (found := re.match(r"(?:check|test)_(\d+)_", name))]
    assert clauses == list(range(1, len(clauses) + 1))
    assert list(dict.fromkeys(checked)) == clauses
    assert checked == sorted(checked)
    # Where checks are called for what is dropped in, none is left out.
    apart = 1 if module is test_runs else 0
    assert len(getattr(module, "CHECKS", checked)) == len(checked) - apart
