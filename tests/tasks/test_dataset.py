"""Batches from data of one's own: orders, held-out items, nested training sets, noise that stays with its item."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from pipeline.contracts.tasks import TASK_CONTRACT, sample, streams_of, vectors_of
from pipeline.models.base import MODELS
from pipeline.tasks.base import TASKS

DATASET = TASKS["dataset"]


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def numbered(tmp_path, monkeypatch):
    """A function that makes a task on 40 items, whose one position is the item's number and whose class is its half."""
    np.savez(tmp_path / "numbered.npz", inputs=np.arange(40.0)[:, None], targets=np.arange(40) // 20)
    monkeypatch.chdir(tmp_path)
    return lambda **given: DATASET(**{"file": "numbered.npz", **given})


def numbers(task, split="train", **given):
    """(S, B): the items of a batch of `numbered`."""
    return sample(task, split=split, **given).inputs[:, :, 0, 0].long()


@pytest.mark.parametrize("options", [{"order": "epochs", "num_train": 11}, {"label_noise": 0.3}])
@pytest.mark.parametrize("check", TASK_CONTRACT.checks, ids=lambda check: check.__name__)
def test_orders_and_noise_keep_the_contract(check, options):
    check(DATASET(**options))


def test_every_item_comes_once_an_epoch_in_another_order(numbered):
    task = numbered(order="epochs", num_train=20)
    batches = [numbers(task, seeds=(3, 4), steps=[step] * 2) for step in range(10)]
    whole_SB = torch.cat(batches, 1)
    # 8 examples a step: the third batch ends one epoch and begins the next.
    epochs = whole_SB.view(2, 4, 20)
    assert all(len(set(epoch.tolist())) == 20 for slot in epochs for epoch in slot)
    assert len({tuple(epoch.tolist()) for slot in epochs for epoch in slot}) == 8
    assert torch.equal(numbers(task, seeds=(4,), steps=[7])[0], batches[7][1])


def test_an_order_is_uniform_over_places(numbered):
    task = numbered(order="epochs", num_train=4)
    first_S = numbers(task, seeds=tuple(range(400)), num_rows=1)[:, 0]
    shares = first_S.unique(return_counts=True)[1] / 400
    assert len(shares) == 4
    assert (shares - 0.25).abs().max() < 4 * math.sqrt(0.25 * 0.75 / 400)


def test_an_evaluation_on_as_many_items_as_there_are_is_on_every_one(numbered):
    task = numbered(held_out_share=0.5)
    assert task.sizes() == {"train": 20, "label": 10, "probe": 10}
    at_5, again, at_6 = (numbers(task, "label", steps=[step], num_rows=10)[0].tolist() for step in (5, 5, 6))
    assert at_5 == again != at_6
    assert len(set(at_5)) == 10
    assert set(at_5) == set(at_6)
    longer = numbers(task, "label", steps=[5], num_rows=25)[0].tolist()
    assert longer[:10] == at_5
    assert sorted(longer[10:20]) == sorted(at_5)
    streams = streams_of(task, (0,), [5], 10, "label")
    part = {name: type(draws)(draws.keys_S2, draws.steps_S, 6, 4) for name, draws in streams.items()}
    assert task.sample(part, vectors_of(task, 1), "float32", "label").inputs[0, :, 0, 0].tolist() == at_5[4:]


def test_smaller_training_sets_are_subsets_and_leave_the_held_out_items_alone(numbered):
    def whole(split, **given):
        return set(numbers(numbered(**given), split, steps=[0], num_rows=400)[0].tolist())

    sets = [whole("train", num_train=size) for size in (4, 12, 32)]
    assert [len(found) for found in sets] == [4, 12, 32]
    assert sets[0] < sets[1] < sets[2]
    held_out = whole("label") | whole("probe")
    assert held_out == whole("label", num_train=4) | whole("probe", num_train=4)
    assert held_out | sets[2] == set(range(40))
    assert whole("train", num_train=4, split_seed=1) != sets[0]


def test_what_the_data_say_is_held_out_is_held_out(tmp_path):
    split = np.array(["train", "test"] * 20)
    np.savez(tmp_path / "given.npz", inputs=np.arange(40.0)[:, None], targets=np.arange(40) % 4, split=split)
    task = DATASET(file=str(tmp_path / "given.npz"), num_train=15)
    assert task.sizes() == {"train": 15, "label": 10, "probe": 10}
    for name, odd in (("train", 0), ("label", 1), ("probe", 1)):
        assert {number % 2 for number in numbers(task, name, num_rows=60)[0].tolist()} == {odd}
    assert not set(numbers(task, "label", num_rows=60)[0].tolist()) & set(
        numbers(task, "probe", num_rows=60)[0].tolist()
    )
    with pytest.raises(ValueError, match=r"held_out_share has no effect: array 'split' of .*given.npz"):
        DATASET(file=str(tmp_path / "given.npz"), held_out_share=0.1)
    with pytest.raises(ValueError, match=r"num_train \(21\) is more than the 20 items"):
        DATASET(file=str(tmp_path / "given.npz"), num_train=21)


def wrong_items(task, noise, seed=0, step=0):
    """The items of `waves` whose target a batch of 600 has wrong, by their inputs, and the wrong targets."""
    streams = streams_of(task, (seed,), [step], 600)
    clean, noisy = (
        task.sample(streams, vectors_of(task, 1, label_noise=[value]), "float32", "train") for value in (0.0, noise)
    )
    assert torch.equal(clean.inputs, noisy.inputs)
    changed_B = (clean.targets != noisy.targets)[0]
    return {
        tuple(item): target
        for item, target in zip(noisy.inputs[0][changed_B].tolist(), noisy.targets[0][changed_B].tolist(), strict=True)
    }, float(changed_B.double().mean())


def test_an_item_keeps_its_wrong_class_and_more_noise_adds_others():
    task = DATASET(order="epochs")
    little, share = wrong_items(task, 0.1)
    much, more = wrong_items(task, 0.4)
    assert share == pytest.approx(0.1, abs=0.05)
    assert more == pytest.approx(0.4, abs=0.08)
    assert little.items() <= much.items()
    assert set(much.values()) == {0, 1, 2, 3}
    # Steps 0 and 1 together are more than an epoch of 960, so they share items.
    later, _ = wrong_items(task, 0.4, step=1)
    shared = much.keys() & later.keys()
    assert len(shared) > 50
    assert all(much[item] == later[item] for item in shared)
    other, _ = wrong_items(task, 0.4, seed=1)
    assert other != much


def test_noise_falls_on_training_items_alone():
    task = DATASET(label_noise=1.0)
    for split in ("label", "probe"):
        assert torch.equal(sample(task, split=split).targets, sample(DATASET(), split=split).targets)
    assert not (sample(task).targets == sample(DATASET()).targets).any()


def test_noise_on_values_has_its_standard_deviation(tmp_path):
    np.savez(tmp_path / "flat.npz", inputs=np.zeros((4000, 2)), targets=np.arange(4000) % 2 * 2.0)
    task = DATASET(file=str(tmp_path / "flat.npz"), kind="regression", order="epochs", label_noise=0.5)
    targets = sample(task, num_rows=3200).targets[0]
    off = targets - targets.div(2).round().clamp(0, 1) * 2
    assert float(off.std()) == pytest.approx(0.5, rel=0.1)
    assert task.chance_loss() == pytest.approx(0.5)
    assert not task.has_accuracy()
    assert task.correct(targets[None, :, None], targets[None]) is None


def test_a_text_is_cut_into_stretches_that_share_no_token_and_every_next_one_is_asked_for(tmp_path):
    np.save(tmp_path / "text.npy", np.arange(1000) % 50)
    task = DATASET(file=str(tmp_path / "text.npy"), kind="next_token", context=7)
    assert task.shape() == type(task.shape())("tokens", 7, 50, 50, 7)
    assert sum(task.sizes().values()) == 125
    batch = sample(task, num_rows=100)
    assert torch.equal(batch.targets.view(1, 100, 7), (batch.inputs + 1) % 50)
    assert task.chance_loss() == pytest.approx(math.log(50), abs=0.05)
    assert MODELS["transformer"].incompatibility(task) is None


def test_chance_is_the_entropy_of_the_classes(tmp_path):
    np.savez(tmp_path / "a.npz", inputs=np.zeros((40, 3, 2)), targets=np.array([0] * 30 + [1] * 10))
    task = DATASET(file=str(tmp_path / "a.npz"), floor=0.1)
    assert task.chance_loss() == pytest.approx(-(0.75 * math.log(0.75) + 0.25 * math.log(0.25)))
    assert task.floor_loss() == 0.1
    assert task.shape() == type(task.shape())("vectors", 3, 2, 2)
    assert "predicts one real value" in MODELS["linear_self_attention"].incompatibility(task)
    with pytest.raises(ValueError, match=r"floor \(0.6\) must be below the loss of guessing \(0.5623\)"):
        DATASET(file=str(tmp_path / "a.npz"), floor=0.6)


def test_real_values_are_given_in_the_dtype_of_the_run(numbered):
    task = numbered()
    streams, vectors = streams_of(task), vectors_of(task, 1)
    assert task.sample(streams, vectors, "float64", "train").inputs.dtype == torch.float64
    assert sample(DATASET()).inputs.dtype == torch.int64
