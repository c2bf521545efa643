"""The contract of pipeline.schedules.base.Schedule, clause by clause, over the registry.

That whole runs keep the rule and compiled programs the numbers is in test_runs.py, over the same registry.
"""

from __future__ import annotations

import pytest
import torch

from pipeline.schedules.base import SCHEDULES
from tests.contracts.test_runs import check_4_a_compiled_program_gives_the_numbers_of_the_torch_engine as compiled
from tests.contracts.without_torch import class_read_without_torch
from tests.support import drop_in, varied

STEPS = torch.arange(400)


def instances_of(cls):
    """The tiny instance, without and with warm-up, and with other values of every parameter."""
    base = cls.tiny()
    rows = {path.removeprefix("own."): values for path, values in varied("own", base).items()}
    others = [{name: values[index] for name, values in rows.items()} for index in (1, 2)]
    return [cls.model_validate(base.model_dump() | changes) for changes in ({"warmup_steps": 0}, *others)]


def columns_of(instances, dtype=torch.float64):
    return {
        name: torch.tensor([[float(getattr(one, name))] for one in instances], dtype=dtype)
        for name in instances[0].vector_fields()
    }


def fractions(schedule, steps=STEPS):
    """(T,) factors of one run at these updates, T of its copies side by side."""
    return schedule.fraction(steps, columns_of([schedule] * len(steps))).squeeze(1)


def check_1_parameters_are_read_without_torch(cls):
    assert class_read_without_torch(cls).vector_fields() == cls.vector_fields()


def check_2_warmup_rises_in_equal_parts_to_one(cls):
    for schedule in instances_of(cls):
        warmup = schedule.warmup_steps
        expected = torch.arange(1, warmup + 2, dtype=torch.float64) / (warmup + 1)
        torch.testing.assert_close(fractions(schedule)[: warmup + 1], expected, rtol=1e-15, atol=0)


def check_3_after_warmup_it_never_rises_nor_leaves_zero_to_one(cls):
    for schedule in instances_of(cls):
        after = fractions(schedule)[schedule.warmup_steps :]
        assert (after.diff() <= 0).all()
        assert ((after >= 0) & (after <= 1)).all()


def check_4_from_its_horizon_on_it_is_its_final_fraction(cls):
    for schedule in instances_of(cls):
        if "horizon" in type(schedule).model_fields:
            end = fractions(schedule)[schedule.horizon :]
            torch.testing.assert_close(end, torch.full_like(end, schedule.final_fraction), rtol=1e-15, atol=1e-15)


def check_5_each_slot_is_at_its_own_place_bit_for_bit(cls):
    instances = instances_of(cls)
    for steps in (torch.tensor([0, 5, 9]), torch.tensor([7, 1, 300])):
        together = instances[0].fraction(steps, columns_of(instances, torch.float32))
        assert together.shape == (3, 1)
        for slot, own in enumerate(instances):
            alone = own.fraction(steps[slot : slot + 1], columns_of([own], torch.float32))
            assert torch.equal(together[slot : slot + 1], alone)


def check_6_its_twin_gives_the_same_numbers(cls):
    compiled({"optimiser": "sgd", "schedule": cls.name})


CHECKS = [
    check_1_parameters_are_read_without_torch,
    check_2_warmup_rises_in_equal_parts_to_one,
    check_3_after_warmup_it_never_rises_nor_leaves_zero_to_one,
    check_4_from_its_horizon_on_it_is_its_final_fraction,
    check_5_each_slot_is_at_its_own_place_bit_for_bit,
    check_6_its_twin_gives_the_same_numbers,
]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
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
    ("value", "broken_clause"),
    [
        ("(step_S1 < 1) + 0.0", 2),
        ("1 + 0.1 * (step_S1 > columns['warmup_steps'])", 3),
        ("1 - 0.8 * (step_S1 >= columns['horizon'])", 4),
        ("1 - 0.5 * (step_S1 > self.warmup_steps)", 5),
    ],
)
def test_a_schedule_that_breaks_a_clause_registers_when_dropped_in_and_fails_it(
    value, broken_clause, tmp_path, monkeypatch
):
    cls = drop_in(monkeypatch, tmp_path, "schedule", "broken", BROKEN.format(value=value))
    with pytest.raises(AssertionError):
        CHECKS[broken_clause - 1](cls)
