"""Sparse parity, modular addition and lookup in two hops: what their batches hold, and what chance is."""

from __future__ import annotations

import math

import pytest
import torch

from pipeline.contracts.tasks import sample
from pipeline.numerics.streams import Draws, stream_key
from pipeline.tasks.base import TASKS

ADDITION, PARITY, TWO_HOPS = (TASKS[name] for name in ("modular_addition", "sparse_parity", "two_hop_lookup"))


def test_a_lookup_in_two_hops_shows_two_whole_dictionaries_and_asks_for_the_value_of_a_middle():
    task = TWO_HOPS(num_keys=5, num_values=3, one_hop_share=0.25)
    tokens_RL, targets_R = (part.flatten(0, 1) for part in sample(task, (0, 1), num_rows=200))
    for tokens, target in zip(tokens_RL.tolist(), targets_R.tolist(), strict=True):
        first, second = (dict(zip(part[0::2], part[1::2], strict=True)) for part in (tokens[:10], tokens[10:20]))
        assert first.keys() == {0, 1, 2, 3, 4}
        assert set(first.values()) == second.keys() == {5, 6, 7, 8, 9}
        assert second[first.get(tokens[20], tokens[20])] == 10 + target
    assert float((tokens_RL[:, 20] >= 5).float().mean()) == pytest.approx(0.25, abs=0.08)
    orders = {tuple(order) for order in tokens_RL[:, 0:10:2].tolist()}
    assert len(orders) > 100, "400 of 120 orders, drawn uniformly, leave about 4 out"


def test_attention_in_two_hops_leads_to_the_answer():
    task = TWO_HOPS(num_keys=4, num_values=7)
    tokens_SBL, targets = sample(task, (0, 1), num_rows=50)
    masks = task.attention_targets(sample(task, (0, 1), num_rows=50))
    seen = {name: torch.einsum("sbqk,sbk->sbq", mask.long(), tokens_SBL) for name, mask in masks.items()}
    assert torch.equal(seen["second_hop_score"][:, :, -1] - 8, targets)
    is_key = tokens_SBL[:, :, -1] < 4
    assert torch.equal(masks["first_hop_score"].any(-1)[:, :, -1], is_key)
    looked_for = seen["previous_token_score"][:, :, 1:8:2] == tokens_SBL[:, :, -1:]
    assert torch.equal(
        tokens_SBL[:, :, 1:8:2][looked_for & is_key.unsqueeze(-1)], seen["first_hop_score"][:, :, -1][is_key]
    )
    assert torch.equal(seen["previous_token_score"][:, :, 1:-1:2], tokens_SBL[:, :, 0:-1:2])
    assert all(int(mask.sum(-1).max()) == 1 for mask in masks.values())


@pytest.mark.parametrize("sizes", [(4, 4), (6, 3)])
def test_chance_in_two_hops_is_the_loss_of_predicting_the_frequencies_of_values(sizes):
    task = TWO_HOPS(num_keys=sizes[0], num_values=sizes[1])
    batch = sample(task, tuple(range(8)), num_rows=4000)
    values = batch.inputs[:, :, 2 * sizes[0] + 1 :: 2] - 2 * sizes[0]
    losses = -(values == batch.targets.unsqueeze(-1)).float().mean(-1).log().flatten()
    assert abs(float(losses.mean()) - task.chance_loss()) < 4 * float(losses.std() / losses.numel() ** 0.5)


def test_a_parity_is_that_of_the_first_bits_and_no_smaller_set_tells_it():
    task = PARITY(num_bits=6, num_relevant=3)
    tokens_SBL, targets = sample(task, (0, 1), num_rows=4000)
    bits = tokens_SBL[:, :, :6]
    assert (tokens_SBL[:, :, 6] == 2).all()
    assert set(bits.unique().tolist()) == {0, 1}
    assert torch.equal(targets, (bits[:, :, 0] + bits[:, :, 1] + bits[:, :, 2]) % 2)
    for other in range(1, 64):
        parity = bits[:, :, [bit for bit in range(6) if other >> bit & 1]].sum(-1) % 2
        agreement = float((parity == targets).float().mean())
        assert agreement == pytest.approx(1.0 if other == 7 else 0.5, abs=0.03)
    assert task.chance_loss() == pytest.approx(math.log(2))
    mask = task.attention_targets(sample(task))["relevant_score"]
    assert mask[0, 0].nonzero().tolist() == [[6, 0], [6, 1], [6, 2]]


def test_a_parity_of_more_bits_than_there_are_is_refused():
    with pytest.raises(ValueError, match=r"num_relevant \(4\) must be at most num_bits \(3\)"):
        PARITY(num_bits=3, num_relevant=4)


def pairs_of(task, split, num_rows=4000):
    """The pairs (a, b) that a batch of a split holds, whatever the key of its stream."""
    draws = Draws(torch.tensor([stream_key("data", 3)]), torch.tensor([7]), num_rows)
    tokens_SBL, targets = task.sample({"data": draws}, {}, "float32", split)
    assert torch.equal(targets, tokens_SBL[:, :, :2].sum(2) % task.modulus)
    assert (tokens_SBL[:, :, 2] == task.modulus).all()
    return {tuple(pair) for pair in tokens_SBL[0, :, :2].tolist()}


def test_modular_addition_trains_on_some_pairs_and_asks_for_others():
    task = ADDITION(modulus=11, train_share=0.6)
    sets = {split: pairs_of(task, split) for split in ("train", "label", "probe")}
    assert {split: len(pairs) for split, pairs in sets.items()} == {"train": 73, "label": 24, "probe": 24}
    assert len(set.union(*sets.values())) == 11**2
    assert pairs_of(ADDITION(modulus=11, train_share=0.6, split_seed=1), "train") != sets["train"]
    assert len({a for a, _ in sets["label"]}) > 6, "held-out pairs lie anywhere"


def test_a_share_that_leaves_a_set_empty_is_refused():
    with pytest.raises(ValueError, match=r"train_share \(0.99\) of 9 pairs leaves a set empty"):
        ADDITION(modulus=3, train_share=0.99)
