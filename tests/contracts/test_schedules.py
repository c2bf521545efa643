"""The contract of schedules over the registry. Whole runs are in test_runs.py, over the same registry."""

from __future__ import annotations

import pytest

from pipeline.contracts.schedules import SCHEDULE_CONTRACT
from pipeline.schedules.base import SCHEDULES
from tests.support import drop_in


@pytest.mark.parametrize("check", SCHEDULE_CONTRACT.checks, ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", SCHEDULES)
def test_every_schedule_keeps_its_contract(name, check):
    check(SCHEDULES[name])


BROKEN = """
import math
from pipeline.schedules.base import Schedule
from pipeline.spec.parameters import vector

class Broken(Schedule):
    name = "broken"
    horizon: int = vector(9, gt=0)
    final_fraction: float = vector(0.1, ge=0, le=1)

    def after_warmup(self, step_S1, columns):
        return {value}
"""


@pytest.mark.parametrize(
    ("value", "broken_clause", "told"),
    [
        ("(step_S1 < 1) + 0.0", 2, "with .* updates 0 to 1 have the factors"),
        ("1 + 0.1 * (step_S1 > columns['warmup_steps'])", 3, "with .* the factor rises at update 1"),
        ("1 - 0.8 * (step_S1 >= columns['horizon'])", 4, "the factor is 0.2 to 0.2 from its horizon on"),
        ("1 - 0.5 * (step_S1 > self.warmup_steps)", 5, "has another factor beside other slots than by itself"),
    ],
)
def test_a_schedule_that_breaks_a_clause_registers_when_dropped_in_and_is_told_so(
    value, broken_clause, told, tmp_path, monkeypatch
):
    cls = drop_in(monkeypatch, tmp_path, "schedule", "broken", BROKEN.format(value=value))
    with pytest.raises(AssertionError, match=told):
        SCHEDULE_CONTRACT.checks[broken_clause - 1](cls)
