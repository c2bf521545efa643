"""The contract of `pipeline.schedules.base.Schedule`."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pipeline.contracts.contract import Case, Contract, require
from pipeline.contracts.runs import require_equal_numbers
from pipeline.contracts.small_sweeps import varied
from pipeline.contracts.without_torch import class_read_without_torch
from pipeline.schedules.base import Schedule

_STEPS = torch.arange(400)


def _instances(cls: type[Schedule]) -> list[Schedule]:
    """The tiny instance, without and with warm-up, and with other values of every parameter."""
    base = cls.tiny()
    rows = {path.removeprefix("own."): values for path, values in varied("own", base).items()}
    others = [{name: values[index] for name, values in rows.items()} for index in (1, 2)]
    return [cls.model_validate(base.model_dump() | changes) for changes in ({"warmup_steps": 0}, *others)]


def _columns(instances: Sequence[Schedule], dtype: torch.dtype = torch.float64) -> dict[str, Tensor]:
    return {
        name: torch.tensor([[float(getattr(one, name))] for one in instances], dtype=dtype)
        for name in instances[0].vector_fields()
    }


def _fractions(schedule: Schedule) -> Tensor:
    """(T,) factors of one run at its first updates, T of its copies side by side."""
    return schedule.fraction(_STEPS, _columns([schedule] * len(_STEPS))).squeeze(1)


def _shown(schedule: Schedule) -> str:
    return ", ".join(f"{name} {value}" for name, value in schedule.model_dump().items())


def _check_1_parameters_are_read_without_torch(cls: type[Schedule]) -> None:
    found = class_read_without_torch(cls).vector_fields()
    require(found == cls.vector_fields(), f"without torch its vector parameters are {', '.join(found)}")


def _check_2_warmup_rises_in_equal_parts_to_one(cls: type[Schedule]) -> None:
    for schedule in _instances(cls):
        warmup = schedule.warmup_steps
        expected = torch.arange(1, warmup + 2, dtype=torch.float64) / (warmup + 1)
        found = _fractions(schedule)[: warmup + 1]
        is_close = torch.allclose(found, expected, rtol=1e-15, atol=0)
        told = f"with {_shown(schedule)} updates 0 to {warmup} have the factors {found.tolist()}"
        require(is_close, f"{told}, not {expected.tolist()}")


def _check_3_after_warmup_it_never_rises_nor_leaves_zero_to_one(cls: type[Schedule]) -> None:
    for schedule in _instances(cls):
        after = _fractions(schedule)[schedule.warmup_steps :]
        rises = (after.diff() > 0).nonzero()
        at = schedule.warmup_steps + 1 + int(rises[0]) if len(rises) else None
        require(at is None, f"with {_shown(schedule)} the factor rises at update {at}")
        is_within = ((after >= 0) & (after <= 1)).all()
        require(is_within, f"with {_shown(schedule)} the factor is {after.min():g} to {after.max():g}")


def _check_4_from_its_horizon_on_it_is_its_final_fraction(cls: type[Schedule]) -> None:
    for schedule in _instances(cls):
        if "horizon" in type(schedule).model_fields:
            horizon, final = int(getattr(schedule, "horizon")), float(getattr(schedule, "final_fraction"))  # noqa: B009
            end = _fractions(schedule)[horizon:]
            is_final = torch.allclose(end, torch.full_like(end, final), rtol=1e-15, atol=1e-15)
            told = f"with {_shown(schedule)} the factor is {end.min():g} to {end.max():g} from its horizon on"
            require(is_final, told)


def _check_5_each_slot_is_at_its_own_place_bit_for_bit(cls: type[Schedule]) -> None:
    instances = _instances(cls)
    for steps in (torch.tensor([0, 5, 9]), torch.tensor([7, 1, 300])):
        together = instances[0].fraction(steps, _columns(instances, torch.float32))
        require(tuple(together.shape) == (3, 1), f"factors have shape {tuple(together.shape)}, not (3, 1)")
        for slot, own in enumerate(instances):
            alone = own.fraction(steps[slot : slot + 1], _columns([own], torch.float32))
            told = f"update {steps[slot]} with {_shown(own)} has another factor beside other slots than by itself"
            require(torch.equal(together[slot : slot + 1], alone), told)


def _check_6_its_program_gives_the_same_numbers(cls: type[Schedule]) -> None:
    require_equal_numbers({"optimiser": "sgd", "schedule": cls.name})


def _cases(cls: type[Schedule]) -> list[Case]:
    return [Case("", (cls,))]


SCHEDULE_CONTRACT = Contract(
    Schedule.__doc__ or "",
    (
        _check_1_parameters_are_read_without_torch,
        _check_2_warmup_rises_in_equal_parts_to_one,
        _check_3_after_warmup_it_never_rises_nor_leaves_zero_to_one,
        _check_4_from_its_horizon_on_it_is_its_final_fraction,
        _check_5_each_slot_is_at_its_own_place_bit_for_bit,
        _check_6_its_program_gives_the_same_numbers,
    ),
    _cases,
)
