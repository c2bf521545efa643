"""The contract of pipeline.optimisers.base.Optimiser, clause by clause, over the registry.

That whole runs keep the rule and compiled programs the numbers is in test_runs.py, over the same registry.
"""

from __future__ import annotations

import pytest
import torch

from pipeline.engine.slots import Slots
from pipeline.numerics.native_source import twin_of
from pipeline.optimisers.base import OPTIMISERS
from tests.contracts.test_runs import check_4_a_compiled_program_gives_the_numbers_of_the_torch_engine as compiled
from tests.contracts.without_torch import class_read_without_torch
from tests.support import drop_in, varied

NUM_SLOTS, NUM_PARAMETERS, NUM_STEPS = 3, 48, 40
GENERATOR = torch.Generator().manual_seed(0)
START = torch.randn(NUM_SLOTS, NUM_PARAMETERS, generator=GENERATOR, dtype=torch.float64)
GRADIENTS = torch.randn(NUM_STEPS, NUM_SLOTS, NUM_PARAMETERS, generator=GENERATOR, dtype=torch.float64)


def variants(cls):
    """An instance for each slot; no two have an equal value of a vector parameter that can vary."""
    base = cls.tiny()
    rows = varied("own", base)
    return [
        cls.model_validate(
            base.model_dump() | {path.removeprefix("own."): values[slot] for path, values in rows.items()}
        )
        for slot in range(NUM_SLOTS)
    ]


def columns_of(instances, dtype=torch.float64):
    """(S, 1) of every vector parameter but `clip`, which the engine applies."""
    names = [name for name in instances[0].vector_fields() if name != "clip"]
    return {name: torch.tensor([[float(getattr(one, name))] for one in instances], dtype=dtype) for name in names}


def state_of(optimiser, weights):
    state = {name: torch.zeros_like(weights) for name in optimiser.moments}
    return state | {
        name: torch.full((len(weights),), at, dtype=weights.dtype) for name, at in optimiser.scalars.items()
    }


def stepped(optimiser, weights, columns, gradients):
    """(weights, state) after a step on each of `gradients`; the arguments stay as they were."""
    weights, state = weights.clone(), state_of(optimiser, weights)
    for gradient in gradients:
        optimiser.update(weights, gradient.clone(), state, columns)
    return weights, state


def check_1_parameters_are_read_without_torch(cls):
    assert class_read_without_torch(cls).vector_fields() == cls.vector_fields()
    assert {"lr", "clip"} <= set(cls.vector_fields())


def check_2_state_is_named_and_of_these_shapes(cls):
    names = [*cls.moments, *cls.scalars]
    assert len(set(names)) == len(names)
    assert not set(names) & {"weights", "initial_weights", *Slots.LAST}
    assert all(isinstance(start, float) for start in cls.scalars.values())


def check_3_an_update_changes_weights_and_state_alone_and_is_pure(cls):
    optimiser, columns, gradient = cls.tiny(), columns_of(variants(cls)), GRADIENTS[0].clone()
    before = {name: column.clone() for name, column in columns.items()}
    weights = START.clone()
    optimiser.update(weights, gradient, state_of(optimiser, weights), columns)
    assert torch.equal(gradient, GRADIENTS[0])
    assert columns.keys() == before.keys()
    assert all(torch.equal(column, before[name]) for name, column in columns.items())
    assert not torch.equal(weights, START)
    first, second = (stepped(optimiser, START, columns, GRADIENTS) for _ in range(2))
    assert torch.equal(first[0], second[0])
    assert torch.isfinite(first[0]).all()


def check_4_each_slot_moves_as_it_does_by_itself_bit_for_bit(cls):
    instances = variants(cls)
    start, gradients = START.float(), GRADIENTS.float()
    together, state = stepped(instances[0], start, columns_of(instances, torch.float32), gradients)
    for slot, own in enumerate(instances):
        row = slice(slot, slot + 1)
        alone, own_state = stepped(own, start[row], columns_of([own], torch.float32), gradients[:, row])
        assert torch.equal(together[row], alone), f"slot {slot}"
        assert all(torch.equal(state[name][row], value) for name, value in own_state.items())


def check_5_weights_that_are_padding_stay_zero(cls):
    start, gradients = START.clone(), GRADIENTS.clone()
    start[:, 40:], gradients[:, :, 40:] = 0, 0
    weights, _ = stepped(cls.tiny(), start, columns_of(variants(cls)), gradients)
    assert torch.equal(weights[:, 40:], torch.zeros(NUM_SLOTS, 8, dtype=torch.float64))


def check_6_weights_stand_still_at_a_learning_rate_of_zero(cls):
    columns = columns_of(variants(cls))
    columns["lr"] = torch.zeros_like(columns["lr"])
    assert torch.equal(stepped(cls.tiny(), START, columns, GRADIENTS)[0], START)


def check_7_it_descends_a_convex_quadratic(cls):
    optimiser = cls.tiny()
    columns, weights, curvature = columns_of([optimiser]), START[:1].clone(), torch.linspace(0.5, 2, NUM_PARAMETERS)
    state, losses = state_of(optimiser, weights), []
    for _ in range(NUM_STEPS):
        losses.append(0.5 * float((curvature * weights.square()).sum()))
        optimiser.update(weights, curvature * weights, state, columns)
    assert losses[-1] < 0.9 * losses[0]
    assert losses == sorted(losses, reverse=True)


def check_8_every_slot_moves_as_torchs_own_optimiser_moves_one_run(cls):
    for instances in (variants(cls), [cls.tiny()] * NUM_SLOTS):
        found, _ = stepped(instances[0], START, columns_of(instances), GRADIENTS)
        for slot, own in enumerate(instances):
            weights = START[slot].clone().requires_grad_(True)
            theirs = own.counterpart(weights)
            if theirs is not None:
                for gradient in GRADIENTS[:, slot]:
                    weights.grad = gradient.clone()
                    theirs.step()
                torch.testing.assert_close(found[slot], weights.detach(), rtol=1e-10, atol=1e-12)


def check_9_its_twin_gives_the_same_numbers(cls):
    compiled({"optimiser": cls.name, "schedule": "constant"})


CHECKS = [
    check_1_parameters_are_read_without_torch,
    check_2_state_is_named_and_of_these_shapes,
    check_3_an_update_changes_weights_and_state_alone_and_is_pure,
    check_4_each_slot_moves_as_it_does_by_itself_bit_for_bit,
    check_5_weights_that_are_padding_stay_zero,
    check_6_weights_stand_still_at_a_learning_rate_of_zero,
    check_7_it_descends_a_convex_quadratic,
    check_8_every_slot_moves_as_torchs_own_optimiser_moves_one_run,
    check_9_its_twin_gives_the_same_numbers,
]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", OPTIMISERS)
def test_every_optimiser_keeps_its_contract(name, check):
    check(OPTIMISERS[name])


@pytest.mark.parametrize("name", ["adamw", "sgd"])
def test_these_have_a_counterpart_and_a_twin_to_be_held_against(name):
    optimiser = OPTIMISERS[name].tiny()
    assert optimiser.counterpart(START[0].clone().requires_grad_(True)) is not None
    assert twin_of(optimiser) is not None


BROKEN = """
from pipeline.optimisers.base import Optimiser
from pipeline.spec.parameters import vector

class Broken(Optimiser):
    name = "broken"
    momentum: float = vector(0.5, ge=0, lt=1)

    def update(self, weights_SP, grad_SP, state, columns):
        {update}
"""


@pytest.mark.parametrize(
    ("update", "broken_clause"),
    [
        ("weights_SP.sub_(grad_SP.mul_(columns['lr']))", 3),
        ("weights_SP.sub_(grad_SP * self.lr)", 4),
        ("weights_SP.sub_(columns['lr'] * grad_SP / weights_SP.std())", 4),
        ("weights_SP.sub_(columns['lr'] * grad_SP / grad_SP.abs())", 5),
        ("weights_SP.sub_(grad_SP * 1e-3)", 6),
        ("weights_SP.add_(grad_SP * columns['lr'])", 7),
    ],
)
def test_an_optimiser_that_breaks_a_clause_registers_when_dropped_in_and_fails_it(
    update, broken_clause, tmp_path, monkeypatch
):
    cls = drop_in(monkeypatch, tmp_path, "optimiser", "broken", BROKEN.format(update=update))
    with pytest.raises(AssertionError):
        CHECKS[broken_clause - 1](cls)
