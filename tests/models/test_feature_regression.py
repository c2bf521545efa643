"""In-context regression on features (Huang, Cheng and Liang 2024): closed forms, the reduction, and what they found."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from pipeline.contracts.tasks import sample
from pipeline.engine.block import Block, to_host
from pipeline.engine.parameter_layout import Layout
from pipeline.models.base import MODELS, ParameterSpec
from pipeline.spec.sweep import SweepSpec
from pipeline.tasks.base import TASKS
from tests.support import configs, tiny

FEATURES, LAYER = TASKS["feature_regression"], MODELS["merged_softmax_attention"]
UNBALANCED = {"num_features": 4, "num_pairs": 6, "dominant_probability": 0.4}


def block_of(task, model, num_seeds=1, batch_size=1, **changes):
    """A block with a run of each seed, in float64 unless told otherwise."""
    data = {
        "task": {"name": "feature_regression", **task},
        "model": {"name": "merged_softmax_attention", **model},
        "batch_size": batch_size,
        "seeds": {"together": {"range": [0, num_seeds]}},
        "dtype": "float64",
    }
    spec = SweepSpec.model_validate(tiny("feature_regression").identity() | data | changes)
    block = Block(configs(spec)[0], num_seeds, torch.device("cpu"))
    for slot, run in enumerate(configs(spec)):
        block.load_run(slot, run, block.start(run))
    return block


def parameters_of(model, num_features, seed=0):
    """Leaves with a basis of two slots, and a Q that is neither zero nor symmetric."""
    generator = torch.Generator().manual_seed(seed)
    shape = (2, model.width, model.width)
    found = {"bilinear": torch.randn(shape, generator=generator, dtype=torch.float64)}
    if model.basis == "random":
        found["basis"] = torch.linalg.qr(torch.randn(shape, generator=generator, dtype=torch.float64))[0][
            :, :num_features
        ]
    return {name: value.requires_grad_(name == "bilinear") for name, value in found.items()}


def plain_prediction(features_ND, values_N, query_D, bilinear):
    """The layer on full tokens: columns (x_i, y_i) and (x_query, 0), merged matrices, the query masked out."""
    width = len(query_D)
    tokens = torch.cat([features_ND.T, values_N[None]])
    query = torch.cat([query_D, torch.zeros(1, dtype=torch.float64)])
    key_query = torch.zeros(width + 1, width + 1, dtype=torch.float64)
    key_query[:width, :width] = bilinear
    value = torch.zeros(width + 1, width + 1, dtype=torch.float64)
    value[-1, -1] = 1.0
    return (value @ tokens @ torch.softmax(tokens.T @ key_query @ query, 0))[-1]


@pytest.mark.parametrize("basis", ["random", "one_hot"])
def test_counts_of_features_give_the_prediction_and_gradient_of_full_tokens(basis):
    task, model = FEATURES(**UNBALANCED), LAYER(width=6, basis=basis)
    streams = sample(task, (0, 1), num_rows=9)
    inputs = streams.inputs.double()
    parameters = parameters_of(model, 4)
    ours = model.predict(parameters, inputs)[..., 0]
    rows = []
    for slot, example in itertools.product(range(2), range(9)):
        counts, is_query, values = inputs[slot, example].unbind(1)
        vectors = parameters["basis"][slot] if basis == "random" else torch.eye(6, dtype=torch.float64)[:4]
        context = torch.repeat_interleave(torch.arange(4), counts.long())
        assert len(context) == task.num_pairs
        rows.append(
            plain_prediction(
                vectors[context], values[context], vectors[is_query.argmax()], parameters["bilinear"][slot]
            )
        )
        assert streams.targets[slot, example] == streams.inputs[slot, example, is_query.argmax(), 2]
    plain = torch.stack(rows).view(2, 9)
    torch.testing.assert_close(ours, plain, rtol=0, atol=1e-12)
    gradients = [
        torch.autograd.grad(task.losses(found.unsqueeze(-1), streams.targets.double()).sum(), parameters["bilinear"])[0]
        for found in (ours, plain)
    ]
    assert gradients[0].abs().max() > 1e-3
    torch.testing.assert_close(*gradients, rtol=0, atol=1e-12)


def test_the_exact_objective_is_the_mean_of_the_sampled_one_over_query_and_values():
    task, exact = FEATURES(**UNBALANCED), FEATURES(**UNBALANCED, objective="exact")
    model = LAYER(width=6)
    parameters = parameters_of(model, 4)
    counts = sample(exact, (0, 1), num_rows=5).inputs.double()
    batch = sample(exact, (0, 1), num_rows=5)
    ours = exact.losses(model.predict(parameters, counts, 4), batch.targets).view(2, 5, 4).mean(2)
    total = torch.zeros(2, 5, dtype=torch.float64)
    # The loss is quadratic in the values, so that these four stand for all of N(0, I).
    for query, value in itertools.product(range(4), range(4)):
        marks = torch.zeros(2, 5, 4, 2, dtype=torch.float64)
        marks[:, :, query, 0] = 1.0
        marks[:, :, value, 1] = 2.0
        predictions = model.predict(parameters, torch.cat([counts, marks], -1))
        total += task.probabilities()[query] / 4 * task.losses(predictions, marks[:, :, query, 1])
    torch.testing.assert_close(ours, total, rtol=0, atol=1e-12)


def contexts(task):
    """Every context with its probability: (M, K) counts and (M,)."""
    size, shares = task.num_features, np.array(task.probabilities())
    tokens = np.array(list(itertools.product(range(size), repeat=task.num_pairs)))
    return (tokens[:, :, None] == np.arange(size)).sum(1), shares[tokens].prod(1)


@pytest.mark.parametrize("dominant", [None, 0.5])
def test_floor_and_chance_are_those_of_explicit_predictors_over_every_context(dominant):
    task = FEATURES(num_features=3, num_pairs=4, dominant_probability=dominant)
    counts_MK, weights_M = contexts(task)
    shares = np.array(task.probabilities())
    assert weights_M.sum() == pytest.approx(1.0)
    # Given the context, the answer is N(0, 1) where the query is absent, and known elsewhere.
    floor = 0.5 * (weights_M[:, None] * shares * (counts_MK == 0)).sum()
    assert task.floor_loss() == pytest.approx(floor, rel=1e-12)
    # E[(w_q - sum_n c_n w_n)^2] = sum_n (1[n = q] - c_n)^2, at its best coefficients, found numerically.
    present = counts_MK > 0
    losses = []
    for scale in (0.9, 1.0, 1.1):
        given = np.where(present, scale * shares, 0.0)
        error = ((np.eye(3)[None] - given[:, None]) ** 2).sum(2)
        losses.append(0.5 * (weights_M[:, None] * shares * error).sum())
    assert losses[1] == min(losses)
    assert task.chance_loss() == pytest.approx(losses[1], rel=1e-12)


@pytest.mark.parametrize("objective", ["sampled", "exact"])
def test_the_reference_reaches_the_floor(objective):
    task = FEATURES(**UNBALANCED, objective=objective)
    losses = task.reference_losses(sample(task, (0, 1), num_rows=20000)).unflatten(1, (20000, -1)).mean(2).flatten()
    assert abs(float(losses.mean()) - task.floor_loss()) < 4 * float(losses.std()) / len(losses) ** 0.5
    assert task.floor_loss() > 0.03


def test_a_layer_that_attends_to_the_query_alone_pays_at_most_twice_the_floor():
    task, model = FEATURES(**UNBALANCED, objective="exact"), LAYER(width=4, basis="one_hot")
    counts_MK, weights_M = contexts(task)
    inputs = torch.from_numpy(counts_MK)[None, :, :, None].double()
    sharp = {"bilinear": 1000 * torch.eye(4, dtype=torch.float64)[None]}
    targets = torch.arange(4).expand(1, len(counts_MK), 4).flatten(1)
    losses = task.losses(model.predict(sharp, inputs, 4), targets).view(-1, 4).mean(1)
    assert 1.2 * task.floor_loss() < float((losses * torch.from_numpy(weights_M)).sum()) < 2 * task.floor_loss()


def test_contexts_and_queries_follow_the_probabilities():
    task = FEATURES(num_features=5, num_pairs=40, dominant_probability=0.5)
    inputs = sample(task, (0, 1), num_rows=4000).inputs.double().flatten(0, 1)
    shares = np.array(task.probabilities())
    assert inputs[:, :, 0].sum(1).eq(40).all()
    for column, trials in ((0, 40), (1, 1)):
        error = np.sqrt(shares * (1 - shares) / (trials * len(inputs)))
        assert (np.abs(inputs[:, :, column].mean(0).numpy() / trials - shares) < 4 * error).all()
    assert abs(float(inputs[:, :, 2].std()) - 1) < 0.02


def test_a_fixed_training_set_is_the_same_at_every_step_and_not_the_one_that_is_evaluated():
    task = FEATURES(prompts="fixed")
    first, later = (sample(task, (0, 1), [step, step + 5]).inputs for step in (0, 7))
    assert torch.equal(first, later)
    assert not torch.equal(first[0], first[1])
    block = block_of({"prompts": "fixed"}, {"width": 10}, batch_size=8)
    trained = block.sample("train", block.steps_S, 8).inputs
    evaluated = block.sample("label", block.steps_S, 8).inputs
    assert not torch.equal(trained, evaluated)


@pytest.mark.parametrize("dominant", [None, 0.5])
def test_a_run_starts_from_uniform_attention_whose_loss_is_known(dominant):
    block = block_of({"dominant_probability": dominant, "num_pairs": 20, "objective": "exact"}, {"width": 10})
    square = sum(p**2 for p in block.task.probabilities())
    loss = float(block.evaluate(8000)["label_loss"])
    assert loss == pytest.approx(0.5 * (1 - square) * (1 + 1 / 20), rel=5e-3)
    found = to_host(block.probe(4000))[0]
    for feature, share in enumerate(block.task.probabilities(), 1):
        assert found[f"feature_attention.k{feature}"][0] == pytest.approx(share, abs=5e-3)


def test_probes_measure_the_weights_between_features():
    block = block_of({"num_features": 4, "num_pairs": 9}, {"width": 6})
    with torch.no_grad():
        block.parameters["bilinear"].normal_(generator=torch.Generator().manual_seed(1))
    basis, bilinear = (block.parameters[name][0].detach().numpy() for name in ("basis", "bilinear"))
    weights = basis @ bilinear @ basis.T
    found = {name: value[0] for name, value in to_host(block.probe(32))[0].items()}
    counts = block.sample("probe", block.steps_S * 0, 32).inputs[0, :, :, 0].numpy()
    for query in range(4):
        assert found[f"own_weight.k{query + 1}"] == pytest.approx(weights[query, query])
        others = [weights[key, query] for key in range(4) if key != query]
        assert found[f"cross_weight.k{query + 1}"] == pytest.approx(np.mean(others))
        mass = counts * np.exp(weights[:, query])
        attention = mass / mass.sum(1, keepdims=True)
        assert found[f"feature_attention.k{query + 1}"] == pytest.approx(attention[:, query].mean())
        error = ((attention - np.eye(4)[query]) ** 2).sum(1)
        assert found[f"feature_loss.k{query + 1}"] == pytest.approx(0.5 * error.mean())
        if query:
            assert found[f"first_weight.k{query + 1}"] == pytest.approx(weights[0, query])
    assert "first_weight.k1" not in found


def test_the_basis_is_orthonormal_drawn_by_the_init_seed_and_not_trained():
    sgd = {"name": "sgd", "lr": 1.0, "weight_decay": 0.1}
    block = block_of({}, {"width": 20}, num_seeds=2, batch_size=30, optimiser=sgd)
    before = block.parameters["basis"].detach().clone()
    torch.testing.assert_close(before @ before.transpose(1, 2), torch.eye(10, dtype=torch.float64).expand(2, 10, 10))
    assert not torch.allclose(before[0], before[1])
    fewer = block_of({"num_features": 4}, {"width": 20}).parameters["basis"]
    torch.testing.assert_close(fewer[0], before[0, :4], msg="the first of more")
    block.train(5)
    assert torch.equal(block.parameters["basis"], before)
    assert block.parameters["bilinear"].abs().max() > 0


def test_orthonormal_rows_are_those_of_gram_and_schmidt_and_init_scale_leaves_what_is_not_trained():
    def initial(*specs, scale=1.0):
        layout = Layout(specs, torch.float64)
        return layout.views(layout.initial_weights({"init/basis": 5, "init/free": 5}, scale)[None])

    kept = ParameterSpec("basis", 3, 7, 1.0, "orthonormal", trainable=False)
    free = ParameterSpec("free", 3, 7, 0.5)
    once, twice = initial(kept, free), initial(kept, free, scale=2.0)
    assert torch.equal(once["basis"], twice["basis"])
    torch.testing.assert_close(2 * once["free"], twice["free"])
    draws = initial(ParameterSpec("basis", 3, 7, 1.0))["basis"][0]
    along = once["basis"][0] @ draws.T
    assert along.tril(-1).abs().max() < 1e-12
    assert (along.diagonal() > 0).all()


@pytest.mark.parametrize(("optimiser", "matters"), [("sgd", False), ("adamw", True)])
def test_the_basis_matters_under_adam_and_not_under_gradient_descent(optimiser, matters):
    weights = []
    for model in ({"width": 12}, {"width": 12, "basis": "one_hot"}):
        block = block_of({"prompts": "fixed"}, model, batch_size=40, optimiser={"name": optimiser, "lr": 1e-2})
        block.train(20)
        found = to_host(block.probe(8))[0]
        weights.append([found[f"own_weight.k{feature}"][0] for feature in range(1, 11)])
    assert np.allclose(*weights, rtol=1e-9, atol=0) != matters


def times(num_features, dominant, lr):
    """When the errors of the first and last features fall to 0.01, and the swap, in the mean field at unit rate."""
    task = {
        "num_features": num_features,
        "dominant_probability": dominant,
        "prompts": "mean_field",
        "objective": "exact",
    }
    model = {"width": num_features, "basis": "one_hot"}
    block = block_of(task, model, optimiser={"name": "sgd", "lr": lr})
    rows = []
    while not rows or max(rows[-1][:2]) > 0.01:
        found = block.engine.probe(1, [0])
        names = ("feature_loss.k1", "feature_loss.k", "own_weight.k", "first_weight.k")
        rows.append([float(found[name + str(num_features) * name.endswith("k")]) for name in names])
        block.train(1)
    first_T, last_T, own_T, cross_T = np.array(rows).T
    swap = np.argmax(np.diff(own_T) > -np.diff(cross_T))
    return np.argmax(first_T <= 0.01) * lr, np.argmax(last_T <= 0.01) * lr, swap * lr


@pytest.mark.parametrize(
    ("num_features", "balanced", "dominant", "rare", "swap"),
    [(5, 183, 61.7, 305, 8), (10, 491, 69.1, 949, 90), (20, 1282, 75.4, 2671, 428)],
)
def test_mean_field_gradient_flow_takes_the_known_times(num_features, balanced, dominant, rare, swap):
    assert times(num_features, None, num_features / 5)[0] == pytest.approx(balanced, rel=0.03)
    first, last, swapped = times(num_features, 0.5, num_features / 5)
    assert first == pytest.approx(dominant, rel=0.03, abs=4)
    assert last == pytest.approx(rare, rel=0.03)
    assert swapped == pytest.approx(swap, rel=0.05)


@pytest.mark.parametrize("dominant", [None, 0.5])
def test_features_are_learned_in_stages_from_300_prompts(dominant):
    adam = {"name": "adamw", "lr": 2e-3}
    task = {"prompts": "fixed", "dominant_probability": dominant}
    block = block_of(task, {}, num_seeds=3, batch_size=300, optimiser=adam, dtype="float32")
    losses, attention = [], []
    for num_steps in (0, 40, 360):
        block.train(num_steps)
        found = to_host(block.probe(128))[0]
        for name, column in (("feature_loss", losses), ("feature_attention", attention)):
            column.append(np.stack([found[f"{name}.k{feature}"] for feature in range(1, 11)], 1))
    start, early, late = losses
    if dominant is None:
        assert (np.abs(start - 0.454) < 0.01).all()
        assert (late < 0.005).all()
        assert (attention[2] > 0.92).all()
    else:
        assert (early[:, 0] < 0.02).all(), "the dominant feature is learned first"
        assert (early[:, 1:] > 0.1).all(), "and no rare one by then"
        assert np.median(late[:, 1:]) < 0.01


@pytest.mark.parametrize(
    ("task", "model", "message"),
    [
        ({}, {"width": 9}, r"width \(9\) must be at least the number of features \(10\)"),
        ({}, {"init_scale": 2.0}, "init_scale has no effect"),
        ({"prompts": "mean_field"}, {}, "mean_field needs objective: exact"),
    ],
)
def test_what_does_not_go_together_is_refused(task, model, message):
    with pytest.raises(ValueError, match=message):
        block_of(task, model)
