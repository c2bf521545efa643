"""What a step asks of a GPU, counted without one: on tensors without numbers, where a look at a number raises."""

from __future__ import annotations

import pytest
import torch

from pipeline.contracts.runs import spec_of
from pipeline.engine.launches import Launches
from tests.engine.on_a_gpu import block_without_numbers, covering, kernel_of_draws, seen_in
from tests.support import run_of

LOOKUP_A = {"name": "dictionary_lookup", "num_keys": 8, "num_values": 8, "num_pairs": 8}
LSA = {"name": "linear_regression"}


@pytest.mark.parametrize("case", covering())
def test_the_host_waits_for_nothing_in_a_step(case, monkeypatch):
    run = spec_of(**covering()[case]).runs()[0]
    with kernel_of_draws(monkeypatch):
        block = block_without_numbers(run)
        # What is kept on the device from the first step on.
        block.train(1)
        assert seen_in(lambda: block.train(2)).waits == []


@pytest.mark.parametrize(
    ("task", "model", "most"), [(LOOKUP_A, "attention_only", 147), (LSA, "linear_self_attention", 112)]
)
def test_a_step_has_few_kernels_and_one_for_each_draw(task, model, most, monkeypatch):
    with kernel_of_draws(monkeypatch):
        block = block_without_numbers(run_of(task, model={"name": model}))
        num_launches = seen_in(lambda: block.engine.steps[False]()).num_launches
    by_torch = seen_in(lambda: block.engine.steps[False]()).num_launches
    assert num_launches <= most
    assert by_torch > num_launches + 160


def test_looks_at_numbers_and_transfers_are_seen():
    numbers = torch.arange(6.0).view(2, 3)
    waits = {
        "_local_scalar_dense": lambda: bool(numbers.any()),
        "nonzero": lambda: numbers.nonzero(),
        "masked_select": lambda: numbers.masked_select(numbers > 1),
        "index": lambda: numbers[numbers > 1],
        "_to_copy": lambda: numbers.to("meta"),
        "copy_": lambda: torch.empty(2, 3, device="meta").copy_(numbers),
    }
    for name, call in waits.items():
        assert name in seen_in(call).waits, name
    assert seen_in(lambda: numbers[:, torch.tensor([0, 2])]).waits == []


def test_views_and_new_memory_launch_nothing_and_backward_passes_count():
    weights = torch.ones(2, 3, requires_grad=True)

    def call():
        torch.autograd.grad((weights.t().reshape(-1).view(3, 2) * 2.0).sum(), weights)
        torch.empty(3)

    # A copy for the reshape, product and sum; backward: a one, the sum's ones, the product and, of views, nothing.
    with Launches() as seen:
        call()
    assert 4 <= seen.num_launches <= 8
    assert any(tensor is weights for tensor in seen.read)
