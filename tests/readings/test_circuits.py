"""Circuits against a network written by hand, and against the definitions computed item by item."""

from __future__ import annotations

import math

import pytest
import torch

from pipeline.engine.parameter_layout import Layout
from pipeline.models.attention_only import AttentionOnly
from pipeline.models.linear_self_attention import LinearSelfAttention
from pipeline.models.merged_softmax_attention import MergedSoftmaxAttention
from pipeline.models.transformer import Transformer
from pipeline.readings.base import Weights
from pipeline.readings.circuits import Circuits
from pipeline.tasks.base import Batch
from pipeline.tasks.dictionary_lookup import DictionaryLookup
from pipeline.tasks.feature_regression import FeatureRegression
from pipeline.tasks.linear_regression import LinearRegression
from pipeline.tasks.repeated_sequence import RepeatedSequence
from tests.readings.networks import induction_network, weights_of


def numbers(weights):
    return {name.removeprefix("circuits."): value for name, value in Circuits()(weights).items()}


def test_a_network_written_by_hand_to_do_induction_reads_as_such():
    weights = induction_network()
    logits = weights.model.predict(weights.parameters, weights.batch.inputs)
    assert weights.task.correct(logits, weights.batch.targets).mean() > 0.95
    found = {name: value.item() for name, value in numbers(weights).items()}
    own = {
        "qk0_position_position_previous_token": "qk0_",
        "qk1_embedding_ov0_embedding_induction_via_previous_token": "qk1_",
        "embedding_ov1_unembedding_induction": "embedding_",
    }
    for name, prefix in own.items():
        rivals = [
            value
            for rival, value in found.items()
            if rival.startswith(prefix) and rival != name and rival.endswith(("induction", "previous_token", "evenly"))
        ]
        assert found[name] > 1
        assert max(rivals) < found[name] / 2, name
    assert found["qk0_position_position_previous"] > 1
    assert abs(found["qk1_embedding_embedding_induction"]) < 0.1
    assert found["qk1_key_ov0_embedding_diagonal"] > 10 * abs(found["qk1_embedding_diagonal"])


def content(weights, head=None):
    """source -> (rows, D) of slot 0: rows less their mean over the stream's scale, or what a head of layer 0 writes."""
    raw = {name: weights.parameters[name][0] for name in ("embedding", "position")}
    rows = {name: own - own.mean(1, keepdim=True) for name, own in raw.items()}
    scale = math.sqrt(sum((own**2).mean() for own in rows.values()))
    rows = {name: own / scale for name, own in rows.items()}
    if head is None:
        return rows
    written = {name: own @ matrix(weights, "value", "output", 0, head) for name, own in rows.items()}
    return {name: (own - own.mean(1, keepdim=True)) / scale for name, own in written.items()}


def matrix(weights, left, right, layer, head):
    """QK or OV of a head, slot 0, from rows with mean 0 to rows with mean 0."""
    width = weights.model.head_width
    own = slice(head * width, (head + 1) * width)
    first, second = (weights.parameters[f"layer{layer}.{name}"][0] for name in (left, right))
    if right == "key":
        return first[:, own] @ second[:, own].T / math.sqrt(width)
    return first[:, own] @ second[own]


def tokens_and_places(weights, item):
    tokens = weights.batch.inputs[0, item]
    return {"embedding": tokens, "position": torch.arange(len(tokens))}


def contrast(weights, skill, query, key, layer, head, writer=None, move=None):
    """By the definition, one item and query at a time."""
    masks = weights.task.attention_targets(Batch(weights.batch.inputs[:1], weights.batch.targets[:1]))
    masks = {name.removesuffix("_score"): mask[0] for name, mask in masks.items()}
    qk, held, found = matrix(weights, "query", "key", layer, head), content(weights, writer), []
    for item in range(len(masks[skill])):
        at = tokens_and_places(weights, item)
        for q, row in enumerate(masks[skill][item]):
            keys = held[key][at[key]]
            if move == "evenly":
                keys = torch.stack([keys[: k + 1].mean(0) for k in range(len(keys))])
            elif move is not None:
                rows = masks[move][item].double()
                keys = (rows / rows.sum(1, keepdim=True).clamp_min(1)) @ keys
            logits = (content(weights)[query][at[query][q]] @ qk @ keys.T)[: q + 1]
            if row.any() and not row[: q + 1].all():
                found.append(logits[row[: q + 1]].mean() - logits[~row[: q + 1]].mean())
    return torch.stack(found).mean()


@pytest.fixture(scope="module")
def two_heads():
    model = AttentionOnly(width=11, num_heads=2, head_width=3)
    return weights_of(DictionaryLookup(num_keys=3, num_values=4, num_pairs=3), model, num_items=5)


def test_contrasts_are_means_over_the_pairs_of_every_item(two_heads):
    found = numbers(two_heads)
    for query in ("embedding", "position"):
        for key in ("embedding", "position"):
            for skill in ("previous_token", "induction"):
                heads = torch.stack([contrast(two_heads, skill, query, key, 1, head) for head in (0, 1)])
                name = f"qk1_{query}_{key}_{skill}"
                torch.testing.assert_close(found[name][0], heads.max())
                torch.testing.assert_close(found[f"{name}.mean"][0], heads.mean())


@pytest.mark.parametrize("move", ["evenly", "previous_token"])
def test_contrasts_of_what_earlier_heads_moved_are_over_every_pair_of_heads(two_heads, move):
    pairs = [contrast(two_heads, "induction", "embedding", "embedding", 1, h, w, move) for h in (0, 1) for w in (0, 1)]
    name = f"qk1_embedding_ov0_embedding_induction_via_{move}"
    found = numbers(two_heads)
    torch.testing.assert_close(found[name][0], torch.stack(pairs).max())
    torch.testing.assert_close(found[f"{name}.mean"][0], torch.stack(pairs).mean())


def test_readouts_are_the_right_logit_less_the_mean_of_all(two_heads):
    unembedding, found = two_heads.parameters["unembedding"][0], numbers(two_heads)
    masks = two_heads.task.attention_targets(two_heads.batch)["induction_score"][0]
    for source in ("embedding", "position"):
        heads = []
        for head in (0, 1):
            differences = []
            for item, right in enumerate(two_heads.batch.targets[0]):
                at = tokens_and_places(two_heads, item)[source]
                carried = content(two_heads, head)[source][at][masks[item, -1]].mean(0)
                logits = carried @ unembedding
                differences.append(logits[right] - logits.mean())
            heads.append(torch.stack(differences).mean())
        torch.testing.assert_close(found[f"{source}_ov0_unembedding_induction"][0], torch.stack(heads).max())


def test_composition_scores_are_ratios_of_norms(two_heads):
    found = numbers(two_heads)
    centre = torch.eye(11, dtype=torch.float64) - 1 / 11
    qk = [centre @ matrix(two_heads, "query", "key", 1, head) @ centre for head in (0, 1)]
    ov = [centre @ matrix(two_heads, "value", "output", 0, head) @ centre for head in (0, 1)]
    scores = [((a @ b).norm() / a.norm() / b.norm()).log() for a in ov for b in qk]
    torch.testing.assert_close(found["ov0_query1_composition"][0], torch.stack(scores).max())
    scores = [((a @ b.T).norm() / a.norm() / b.norm()).log() for a in ov for b in qk]
    torch.testing.assert_close(found["ov0_key1_composition.mean"][0], torch.stack(scores).mean())
    torch.testing.assert_close(found["qk1_norm.mean"][0], torch.stack([m.norm().log() for m in qk]).mean())


def test_diagonals_are_sums_of_eigenvalues_of_centred_maps(two_heads):
    found, rows = numbers(two_heads), content(two_heads)["embedding"]
    spread = (rows - rows.mean(0)) / math.sqrt(len(rows))
    maps = [spread @ matrix(two_heads, "query", "key", 0, head) @ spread.T for head in (0, 1)]
    sums = [torch.linalg.eigvals(own).sum().real for own in maps]
    torch.testing.assert_close(found["qk0_embedding_diagonal"][0], torch.stack(sums).max())
    full = [rows @ matrix(two_heads, "query", "key", 0, head) @ rows.T for head in (0, 1)]
    torch.testing.assert_close(sums[0], full[0].diagonal().mean() - full[0].mean())
    unembedding = two_heads.parameters["unembedding"][0]
    logits = spread @ (unembedding - unembedding.mean(1, keepdim=True))
    torch.testing.assert_close(found["embedding_unembedding_norm"][0], logits.norm().log())


@pytest.mark.parametrize(
    ("task", "model"),
    [
        (DictionaryLookup(num_pairs=5), AttentionOnly(width=11, num_heads=3, head_width=3, num_layers=3)),
        (RepeatedSequence(num_tokens=13, period=7), Transformer(width=24, num_heads=2, head_width=5, mlp_width=9)),
        (DictionaryLookup(), AttentionOnly()),
    ],
)
def test_values_do_not_depend_on_the_batch_at_odd_sizes_either(task, model):
    """To the bit, in groups of every size and at every place."""
    layout = Layout(model.parameter_specs(task.shape()), torch.float64)
    whole = weights_of(task, model, seeds=tuple(range(33)), num_items=16)

    def read(slots):
        views = layout.views(torch.zeros(len(slots), layout.row_width, dtype=torch.float64))
        for name, view in views.items():
            view.copy_(whole.parameters[name][slots])
        own = Batch(whole.batch.inputs[slots].clone(), whole.batch.targets[slots].clone())
        return Circuits()(Weights(task, whole.model, views, own))

    together = read(list(range(33)))
    for slots in ([32], [4, 31], [7, 6, 5], list(range(32, 0, -1)), [9] * 17):
        for name, value in read(slots).items():
            assert torch.equal(value, together[name][slots]), name


def test_slots_with_items_of_their_own_are_read_with_them():
    task, model = DictionaryLookup.tiny(), AttentionOnly(width=8)
    shared = weights_of(task, model, seeds=(0, 0), num_items=8)
    inputs, targets = shared.batch.inputs.clone(), shared.batch.targets.clone()
    inputs[1], targets[1] = inputs[1].flip(0), (targets[1].flip(0) + 1) % 4
    found = numbers(Weights(task, shared.model, shared.parameters, Batch(inputs, targets)))
    alone = Batch(inputs[1:], targets[1:])
    own = numbers(Weights(task, shared.model, {n: v[1:] for n, v in shared.parameters.items()}, alone))
    name = "embedding_ov1_unembedding_induction"
    assert found[name][0] != found[name][1]
    assert found[name][1] == own[name][0]


def test_a_gradient_step_of_linear_self_attention_reads_as_one():
    task = LinearRegression()
    size = task.shape().size
    inputs = torch.eye(size)
    inputs[-1, -1] = 0
    answer = torch.zeros(size, size)
    answer[-1, -1] = 1
    parameters = {
        "layer0.key": inputs,
        "layer0.query": 2 * inputs,
        "layer0.value": answer,
        "layer0.projection": 0.25 * answer,
    }
    found = numbers(weights_of(task, LinearSelfAttention(), parameters=parameters))
    assert {name: round(value.item(), 12) for name, value in found.items() if not name.endswith("norm")} == {
        "layer0.key_query_diagonal": 2.0,
        "layer0.key_query_alignment": 1.0,
        "layer0.projection_value_answer": 0.25,
        "layer0.projection_value_share": 1.0,
        "layer0.step": 0.5,
    }


def test_features_that_attend_to_themselves_read_as_such():
    task = FeatureRegression.tiny()
    model = MergedSoftmaxAttention(width=task.shape().length + 2, basis="one_hot")
    bilinear = torch.zeros(model.width, model.width)
    num = task.shape().length
    bilinear[:num, :num] = 3 * torch.eye(num) - 1
    bilinear[0, 0], bilinear[1, 0] = 1, 0
    found = numbers(weights_of(task, model, parameters={"bilinear": bilinear}))
    expected = {
        "own_weight": 2 - 1 / num,
        "own_weight_min": 1.0,
        "cross_weight": -1 + 1 / (num * (num - 1)),
        "cross_weight_max": 0.0,
        "margin": 1.0,
    }
    assert {name: value.item() for name, value in found.items() if name != "bilinear_norm"} == pytest.approx(expected)
