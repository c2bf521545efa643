"""The contract of `pipeline.optimisers.base.Optimiser`."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pipeline.contracts.contract import Case, Contract, require
from pipeline.contracts.runs import require_equal_numbers
from pipeline.contracts.small_sweeps import varied
from pipeline.contracts.without_torch import class_read_without_torch
from pipeline.engine.slots import Slots
from pipeline.optimisers.base import Optimiser

_NUM_SLOTS, _NUM_PARAMETERS, _NUM_STEPS = 3, 48, 40
_GENERATOR = torch.Generator().manual_seed(0)
_START = torch.randn(_NUM_SLOTS, _NUM_PARAMETERS, generator=_GENERATOR, dtype=torch.float64)
_GRADIENTS = torch.randn(_NUM_STEPS, _NUM_SLOTS, _NUM_PARAMETERS, generator=_GENERATOR, dtype=torch.float64)


def _variants(cls: type[Optimiser]) -> list[Optimiser]:
    """An instance for each slot; no two have an equal value of a vector parameter that can vary."""
    base = cls.tiny()
    rows = varied("own", base)
    return [
        cls.model_validate(
            base.model_dump() | {path.removeprefix("own."): values[slot] for path, values in rows.items()}
        )
        for slot in range(_NUM_SLOTS)
    ]


def _columns(instances: Sequence[Optimiser], dtype: torch.dtype = torch.float64) -> dict[str, Tensor]:
    """(S, 1) of every vector parameter but `clip`, which the engine applies."""
    names = [name for name in instances[0].vector_fields() if name != "clip"]
    return {name: torch.tensor([[float(getattr(one, name))] for one in instances], dtype=dtype) for name in names}


def _state(optimiser: Optimiser, weights: Tensor) -> dict[str, Tensor]:
    state = {name: torch.zeros_like(weights) for name in optimiser.moments}
    return state | {
        name: torch.full((len(weights),), at, dtype=weights.dtype) for name, at in optimiser.scalars.items()
    }


def _stepped(
    optimiser: Optimiser, weights: Tensor, columns: dict[str, Tensor], gradients: Tensor
) -> tuple[Tensor, dict[str, Tensor]]:
    """(weights, state) after a step on each of `gradients`; the arguments stay as they were."""
    weights, state = weights.clone(), _state(optimiser, weights)
    for gradient in gradients:
        optimiser.update(weights, gradient.clone(), state, columns)
    return weights, state


def _check_1_parameters_are_read_without_torch(cls: type[Optimiser]) -> None:
    found = class_read_without_torch(cls).vector_fields()
    require(found == cls.vector_fields(), f"without torch its vector parameters are {', '.join(found)}")
    require({"lr", "clip"} <= set(found), "lr and clip are no vector parameters of it")


def _check_2_state_is_named_and_of_these_shapes(cls: type[Optimiser]) -> None:
    names = [*cls.moments, *cls.scalars]
    require(len(set(names)) == len(names), f"a part of its state is named twice: {', '.join(names)}")
    taken = set(names) & {"weights", "initial_weights", *Slots.LAST}
    require(not taken, f"{', '.join(sorted(taken))} is the name of another array of a run's state")
    for name, start in cls.scalars.items():
        require(isinstance(start, float), f"{name} starts at {start!r}, which is no float")


def _check_3_an_update_changes_weights_and_state_alone_and_is_pure(cls: type[Optimiser]) -> None:
    optimiser, columns, gradient = cls.tiny(), _columns(_variants(cls)), _GRADIENTS[0].clone()
    before = {name: column.clone() for name, column in columns.items()}
    weights = _START.clone()
    optimiser.update(weights, gradient, _state(optimiser, weights), columns)
    require(torch.equal(gradient, _GRADIENTS[0]), "`update` changes the gradient")
    is_kept = columns.keys() == before.keys()
    is_kept = is_kept and all(torch.equal(column, before[name]) for name, column in columns.items())
    require(is_kept, "`update` changes `columns`")
    require(not torch.equal(weights, _START), "`update` leaves the weights as they were")
    first, second = (_stepped(optimiser, _START, columns, _GRADIENTS) for _ in range(2))
    require(torch.equal(first[0], second[0]), f"the same {_NUM_STEPS} updates give other weights the second time")
    require(torch.isfinite(first[0]).all(), f"weights are not finite after {_NUM_STEPS} updates")


def _check_4_each_slot_moves_as_it_does_by_itself_bit_for_bit(cls: type[Optimiser]) -> None:
    instances = _variants(cls)
    start, gradients = _START.float(), _GRADIENTS.float()
    together, state = _stepped(instances[0], start, _columns(instances, torch.float32), gradients)
    for slot, own in enumerate(instances):
        row = slice(slot, slot + 1)
        alone, own_state = _stepped(own, start[row], _columns([own], torch.float32), gradients[:, row])
        told = f"slot {slot} with {_shown(own)} has other weights beside other slots than by itself"
        require(torch.equal(together[row], alone), told)
        for name, value in own_state.items():
            require(torch.equal(state[name][row], value), f"{name} of slot {slot} differs beside other slots")


def _shown(optimiser: Optimiser) -> str:
    return ", ".join(f"{name} {value}" for name, value in optimiser.model_dump().items())


def _check_5_weights_that_are_padding_stay_zero(cls: type[Optimiser]) -> None:
    start, gradients = _START.clone(), _GRADIENTS.clone()
    start[:, 40:], gradients[:, :, 40:] = 0, 0
    weights, _ = _stepped(cls.tiny(), start, _columns(_variants(cls)), gradients)
    is_zero = torch.equal(weights[:, 40:], torch.zeros(_NUM_SLOTS, 8, dtype=torch.float64))
    require(is_zero, f"weights of 0 whose gradients are 0 become up to {weights[:, 40:].abs().max():g}")


def _check_6_weights_stand_still_at_a_learning_rate_of_zero(cls: type[Optimiser]) -> None:
    columns = _columns(_variants(cls))
    columns["lr"] = torch.zeros_like(columns["lr"])
    moved = (_stepped(cls.tiny(), _START, columns, _GRADIENTS)[0] - _START).abs().max()
    require(moved == 0, f"weights move by up to {moved:g} at a learning rate of 0")


def _check_7_it_descends_a_convex_quadratic(cls: type[Optimiser]) -> None:
    optimiser = cls.tiny()
    columns, weights, curvature = _columns([optimiser]), _START[:1].clone(), torch.linspace(0.5, 2, _NUM_PARAMETERS)
    state, losses = _state(optimiser, weights), []
    for _ in range(_NUM_STEPS):
        losses.append(0.5 * float((curvature * weights.square()).sum()))
        optimiser.update(weights, curvature * weights, state, columns)
    told = f"with {_shown(optimiser)} {_NUM_STEPS} steps take a convex quadratic from {losses[0]:g} to {losses[-1]:g}"
    require(losses[-1] < 0.9 * losses[0], f"{told}, which is no tenth less")
    rises = next((step for step in range(1, _NUM_STEPS) if losses[step] > losses[step - 1]), None)
    require(rises is None, f"{told}, and step {rises} raises it")


def _check_8_every_slot_moves_as_torchs_own_optimiser_moves_one_run(cls: type[Optimiser]) -> None:
    for instances in (_variants(cls), [cls.tiny()] * _NUM_SLOTS):
        found, _ = _stepped(instances[0], _START, _columns(instances), _GRADIENTS)
        for slot, own in enumerate(instances):
            weights = _START[slot].clone().requires_grad_(True)
            theirs = own.counterpart(weights)
            if theirs is not None:
                for gradient in _GRADIENTS[:, slot]:
                    weights.grad = gradient.clone()
                    theirs.step()
                torch.testing.assert_close(found[slot], weights.detach(), rtol=1e-10, atol=1e-12)


def _check_9_its_program_gives_the_same_numbers(cls: type[Optimiser]) -> None:
    require_equal_numbers({"optimiser": cls.name, "schedule": "constant"})


def _cases(cls: type[Optimiser]) -> list[Case]:
    return [Case("", (cls,))]


OPTIMISER_CONTRACT = Contract(
    Optimiser.__doc__ or "",
    (
        _check_1_parameters_are_read_without_torch,
        _check_2_state_is_named_and_of_these_shapes,
        _check_3_an_update_changes_weights_and_state_alone_and_is_pure,
        _check_4_each_slot_moves_as_it_does_by_itself_bit_for_bit,
        _check_5_weights_that_are_padding_stay_zero,
        _check_6_weights_stand_still_at_a_learning_rate_of_zero,
        _check_7_it_descends_a_convex_quadratic,
        _check_8_every_slot_moves_as_torchs_own_optimiser_moves_one_run,
        _check_9_its_program_gives_the_same_numbers,
    ),
    _cases,
)
