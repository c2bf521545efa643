"""The contract of optimisers over the registry. Whole runs are in test_runs.py, over the same registry."""

from __future__ import annotations

import pytest
import torch

from pipeline.contracts.optimisers import OPTIMISER_CONTRACT
from pipeline.optimisers.base import OPTIMISERS
from tests.support import drop_in


@pytest.mark.parametrize("check", OPTIMISER_CONTRACT.checks, ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", OPTIMISERS)
def test_every_optimiser_keeps_its_contract(name, check):
    check(OPTIMISERS[name])


@pytest.mark.parametrize("name", ["adamw", "sgd"])
def test_these_have_a_counterpart_to_be_held_against(name):
    optimiser = OPTIMISERS[name].tiny()
    assert optimiser.counterpart(torch.ones(4, requires_grad=True)) is not None


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
    ("update", "broken_clause", "told"),
    [
        ("weights_SP.sub_(grad_SP.mul_(columns['lr']))", 3, "`update` changes the gradient"),
        ("weights_SP.sub_(grad_SP * self.lr)", 4, "slot 1 with .* has other weights beside other slots"),
        ("weights_SP.sub_(columns['lr'] * grad_SP / weights_SP.std())", 4, "slot 0 with .* has other weights"),
        ("weights_SP.sub_(columns['lr'] * grad_SP / grad_SP.abs())", 5, "weights of 0 whose gradients are 0 become"),
        ("weights_SP.sub_(grad_SP * 1e-3)", 6, "weights move by up to .* at a learning rate of 0"),
        ("weights_SP.add_(grad_SP * columns['lr'])", 7, "no tenth less"),
    ],
)
def test_an_optimiser_that_breaks_a_clause_registers_when_dropped_in_and_is_told_so(
    update, broken_clause, told, tmp_path, monkeypatch
):
    cls = drop_in(monkeypatch, tmp_path, "optimiser", "broken", BROKEN.format(update=update))
    with pytest.raises(AssertionError, match=told):
        OPTIMISER_CONTRACT.checks[broken_clause - 1](cls)
