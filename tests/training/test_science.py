"""Closed forms of tasks, models and probes: known answers."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from pipeline.contracts.tasks import sample
from pipeline.engine.block import Block, to_host
from pipeline.engine.probes import attention_entropy, attention_mass
from pipeline.tasks.base import TASKS
from pipeline.training.replay import model
from sweeps.von_oswald_2023.gradient_descent import Descent, construction
from tests.support import configs, tiny, trained

LOOKUP, REGRESSION = TASKS["dictionary_lookup"], TASKS["linear_regression"]


@pytest.mark.parametrize(("sizes", "expected"), [((8, 8, 8), 1.242), ((16, 16, 12), 1.778)])
def test_chance_is_the_loss_of_predicting_label_frequencies(sizes, expected):
    keys, values, pairs = sizes
    task = LOOKUP(num_keys=keys, num_values=values, num_pairs=pairs)
    batch = sample(task, tuple(range(8)), num_rows=4000)
    labels = batch.inputs[:, :, 1::2] - keys
    share = (labels == batch.targets.unsqueeze(-1)).float().mean(-1)
    losses = -share.log().flatten()
    error = float(losses.std() / losses.numel() ** 0.5)
    assert abs(float(losses.mean()) - task.chance_loss()) < 4 * error
    assert task.chance_loss() == pytest.approx(expected, abs=1e-3)


def test_a_lookup_asks_for_the_value_of_a_key_that_stands_in_the_context():
    task = LOOKUP()
    batch = sample(task, (0, 1), num_rows=200)
    keys, labels, query = batch.inputs[:, :, 0:-1:2], batch.inputs[:, :, 1::2] - 8, batch.inputs[:, :, -1:]
    matches = keys == query
    assert matches.any(-1).all()
    assert ((labels == batch.targets.unsqueeze(-1)) | ~matches).all()


def test_pairs_in_one_token_are_the_sequences_of_the_lookup_under_the_same_seeds():
    sizes = {"num_keys": 5, "num_values": 3, "num_pairs": 6}
    task, apart = TASKS["pair_lookup"](**sizes), LOOKUP(**sizes)
    batch, other = (sample(t, (0, 1), num_rows=300) for t in (task, apart))
    assert torch.equal(batch.targets, other.targets)
    assert torch.equal(batch.inputs[:, :, -1], other.inputs[:, :, -1])
    pairs = batch.inputs[:, :, :-1] - 5
    assert torch.equal(pairs // 3, other.inputs[:, :, 0:-1:2])
    assert torch.equal(pairs % 3 + 5, other.inputs[:, :, 1::2])
    assert int(batch.inputs.max()) < task.shape().size == 20
    assert task.chance_loss() == apart.chance_loss()
    mask = task.attention_targets(batch)["lookup_score"]
    answers = torch.where(mask[:, :, -1, :-1], pairs % 3, batch.targets.unsqueeze(-1))
    assert torch.equal(answers, batch.targets.unsqueeze(-1).expand_as(answers)), "what is looked at tells the answer"
    assert mask.any(-1)[:, :, -1].all()
    assert not mask[:, :, :-1].any()


def test_a_repeated_sequence_is_known_from_the_end_of_its_first_period_on():
    task = TASKS["repeated_sequence"](num_tokens=5, period=4)
    batch = sample(task, (0, 1), num_rows=50)
    period, targets = batch.inputs[:, :, :4], batch.targets.view(2, 50, 8)
    assert torch.equal(batch.inputs, torch.cat([period, period], 2))
    assert torch.equal(targets[:, :, :-1], batch.inputs[:, :, 1:])
    assert torch.equal(targets[:, :, -1], period[:, :, 0])
    # Whoever knows the period and guesses before: at positions 3 to 7 the token 4 or 3 places back tells the next.
    known = torch.where(torch.arange(8) >= 3, 50.0, 0.0).view(8, 1)
    predictions = (torch.nn.functional.one_hot(targets, 5) * known).flatten(1, 2)
    assert float(task.losses(predictions, batch.targets).mean()) == pytest.approx(task.floor_loss(), rel=1e-6)
    assert task.floor_loss() == pytest.approx(3 / 8 * math.log(5))
    assert float(task.losses(0 * predictions, batch.targets).mean()) == pytest.approx(task.chance_loss(), rel=1e-6)
    masks = task.attention_targets(batch)
    seen = torch.einsum("sbqk,sbk->sbq", masks["induction_score"].long(), batch.inputs)
    assert torch.equal(seen[:, :, 4:], targets[:, :, 4:]), "an induction head sees what it is asked for"
    assert masks["induction_score"].sum(-1)[0, 0].tolist() == [0, 0, 0, 0, 1, 1, 1, 1]
    assert masks["previous_token_score"].sum(-1)[0, 0].tolist() == [0, 1, 1, 1, 1, 1, 1, 1]


@pytest.mark.parametrize(
    ("num_pairs", "input_range", "expected"),
    [(10, 0.5, 0.2062), (10, 1.0, 0.8249), (25, 0.5, 0.1173), (50, 0.5, 0.0683), (100, 0.5, 0.0372)],
)
def test_one_gradient_step_has_the_closed_form_loss(num_pairs, input_range, expected):
    task = REGRESSION(num_pairs=num_pairs, input_range=input_range)
    assert task.floor_loss() == pytest.approx(expected, abs=6e-5)
    losses = task.reference_losses(sample(task, tuple(range(10)), num_rows=2000)).flatten()
    assert abs(float(losses.mean()) - task.floor_loss()) < 4 * float(losses.std() / losses.numel() ** 0.5)


def test_the_best_step_size_is_where_the_loss_is_least():
    task = REGRESSION()
    assert task.step_size() == pytest.approx(6.061, abs=1e-3)
    batch = sample(task, tuple(range(20)), num_rows=2000)
    direction = task.gradient_step(batch) / task.step_size()
    predictions = (direction * batch.inputs[:, :, -1, :-1]).sum(-1)
    losses = [float((0.5 * (size * predictions - batch.targets) ** 2).mean()) for size in (5.4, 6.061, 6.7)]
    assert losses[1] == min(losses)


def test_the_construction_is_one_gradient_step():
    (run,) = configs(tiny("linear_regression", seeds={"together": [0]}, dtype="float64"))
    block = Block(run, 2, torch.device("cpu"))
    with torch.no_grad():
        size, num_pairs = run.task.dim + 1, run.task.num_pairs
        for name, matrix in construction(size, num_pairs, Descent.plain(run.task.step_size())).items():
            block.parameters[name][:] = matrix
    batch = block.sample("train", block.steps_S, 50)
    predictions = run.model.forward(block.parameters, batch.inputs).predictions
    expected = (run.task.gradient_step(batch) * batch.inputs[:, :, -1, :-1]).sum(-1, keepdim=True)
    torch.testing.assert_close(predictions, expected, rtol=0, atol=1e-12)
    probed = block.probe(32)
    assert probed["gd_alignment"].tolist() == pytest.approx([1.0, 1.0], abs=1e-9)
    assert max(probed["gd_model_difference"].tolist() + probed["gd_prediction_difference"].tolist()) < 1e-9
    found = block.evaluate(64)
    assert float(found["label_excess"].abs().max()) < 1e-9


def test_entropy_and_mass_of_known_attention():
    uniform = torch.full((1, 2, 1, 4, 4), 0.25)
    assert attention_entropy(uniform).item() == pytest.approx(math.log(4))
    sharp = torch.eye(4).expand(1, 2, 1, 4, 4)
    assert attention_entropy(sharp).item() == 0
    mask = torch.zeros(1, 2, 4, 4, dtype=torch.bool)
    mask[:, :, 2, :2] = True
    assert attention_mass(uniform, mask).item() == pytest.approx(0.5), "one query is asked for, half of it inside"
    assert attention_mass(sharp, mask).item() == 0


def test_probes_of_training_are_what_their_names_say(tmp_path):
    (run,) = configs(tiny(seeds={"together": [0]}))
    block = Block(run, 1, torch.device("cpu"))
    before = block.run_state(0).arrays["weights"]
    block.train(4)
    almost = block.run_state(0).arrays["weights"]
    block.train(1)
    after, found = block.run_state(0).arrays["weights"], to_host(block.probe(16))[0]
    assert found["weight_norm"][0] == pytest.approx(np.linalg.norm(after), rel=1e-5)
    assert found["init_distance"][0] == pytest.approx(np.linalg.norm(after - before), rel=1e-5)
    assert found["update_norm"][0] == pytest.approx(np.linalg.norm(after - almost), rel=1e-4)


def test_attention_snapshots_are_the_maps_of_the_model_at_that_step(tmp_path):
    store = trained(tiny(seeds={"together": [3]}, snapshots={"states": [20], "attention": [0, 20]}), tmp_path / "r")
    run_id = store.plan["runs"][0]["run_id"]
    snapshots = store.snapshots()
    assert sorted(snapshots.of(run_id, "attention")) == [0, 20]
    (run,) = configs(tiny(seeds={"together": [3]}))
    block = Block(run, 1, torch.device("cpu"))
    items = block.sample("probe", torch.zeros_like(block.steps_S), 16).inputs[0, :8]
    expected = model(store, run_id, 20).attention(items)
    stored = snapshots.read(run_id, 20, "attention")
    for layer, attention in enumerate(expected):
        torch.testing.assert_close(torch.from_numpy(stored[f"layer{layer}"].copy()), attention.detach())


def test_linear_self_attention_learns_one_gradient_step(tmp_path):
    spec = tiny(
        "linear_regression",
        optimiser={"name": "adamw", "lr": 1e-2, "beta2": 0.98},
        schedule={"name": "cosine", "horizon": 1500},
        batch_size=128,
        budget=1500,
        stopping={"name": "run_to_budget"},
        grid={"chunk": 50, "eval_every": 500, "eval_items": 4000, "probe_items": 128},
        seeds={"together": {"range": [0, 4]}},
    )
    history = trained(spec, tmp_path / "r").history()
    ours, reference = (history.values[name][:, -1] for name in ("label_loss", "label_reference_loss"))
    learned = history.values["gd_alignment"][:, -1] > 0.9
    assert learned.sum() >= 3, "a seed may stay on the plateau"
    assert np.abs(ours - reference)[learned].max() < 0.01 * reference.max()
