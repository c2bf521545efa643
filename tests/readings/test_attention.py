"""Forces and interventions against finite differences, attention computed by itself, and a network written by hand."""

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
from pipeline.readings.forces import Forces
from pipeline.readings.interventions import CLAMP, Interventions
from pipeline.tasks.base import Batch
from pipeline.tasks.dictionary_lookup import DictionaryLookup
from pipeline.tasks.feature_regression import FeatureRegression
from pipeline.tasks.linear_regression import LinearRegression
from pipeline.tasks.repeated_sequence import RepeatedSequence
from tests.readings.networks import induction_network, weights_of


def numbers(cls, weights):
    return {name.removeprefix(f"{cls.name}."): value for name, value in cls()(weights).items()}


@pytest.fixture(scope="module")
def two_heads():
    model = AttentionOnly(width=11, num_heads=2, head_width=3)
    return weights_of(DictionaryLookup(num_keys=3, num_values=4, num_pairs=4), model, num_items=40)


def loss_under(weights, layer, change):
    """Loss of slot 0 on the first 32 items with `change` (B, H, L, L) added to the logits of a layer."""
    inputs, targets = weights.batch.inputs[:1, :32], weights.batch.targets[:1, :32]
    bias = [torch.zeros(1, 32, 2, *[inputs.shape[2]] * 2, dtype=torch.float64) for _ in range(2)]
    bias[layer] = bias[layer] + change
    own = {name: value[:1] for name, value in weights.parameters.items()}
    predictions = weights.model.forward(own, inputs, attention_bias=bias).predictions
    return weights.task.losses(predictions, targets).mean()


def masks(weights):
    batch = Batch(weights.batch.inputs[:1, :32], weights.batch.targets[:1, :32])
    return {n.removesuffix("_score"): mask[0] for n, mask in weights.task.attention_targets(batch).items()}


@pytest.mark.parametrize("layer", [0, 1])
@pytest.mark.parametrize("skill", ["previous_token", "induction"])
def test_a_push_is_how_fast_the_loss_falls_with_the_logits_at_the_targets(two_heads, layer, skill):
    found, per_head = numbers(Forces, two_heads), []
    for head in (0, 1):
        change = torch.zeros(32, 2, 9, 9, dtype=torch.float64)
        change[:, head] = 1e-5 * masks(two_heads)[skill]
        per_head.append((loss_under(two_heads, layer, -change) - loss_under(two_heads, layer, change)) / 2e-5)
    # In the last layer, only the query at the end reaches the loss.
    is_felt = layer == 0 or skill == "induction"
    assert (max(per_head) != 0) == is_felt
    assert found[f"l{layer}_{skill}_push"][0] == pytest.approx(max(per_head).item(), rel=1e-6, abs=1e-9)
    assert found[f"l{layer}_{skill}_push.mean"][0] == pytest.approx(sum(per_head).item() / 2, rel=1e-6, abs=1e-9)


def test_mass_and_gap_are_means_over_the_queries_of_every_item(two_heads):
    found = numbers(Forces, two_heads)
    maps = two_heads.model.forward(two_heads.parameters, two_heads.batch.inputs[:, :32], with_attention=True).attention
    for layer in (0, 1):
        for skill, mask in masks(two_heads).items():
            masses, gaps = [], []
            for head in (0, 1):
                attention = maps[layer][0, :, head]
                asked = [(b, q) for b in range(32) for q in range(9) if mask[b, q].any()]
                masses.append(sum(attention[b, q][mask[b, q]].sum() for b, q in asked) / len(asked))
                rows = [(attention[b, q, : q + 1].log(), mask[b, q, : q + 1]) for b, q in asked]
                differences = [own[at].mean() - own[~at].mean() for own, at in rows if not at.all()]
                gaps.append(sum(differences) / len(differences))
            assert found[f"l{layer}_{skill}_mass"][0] == pytest.approx(max(masses).item())
            assert found[f"l{layer}_{skill}_gap"][0] == pytest.approx(max(gaps).item())
            assert found[f"l{layer}_{skill}_gap.mean"][0] == pytest.approx(sum(gaps).item() / 2)


def test_sizes_are_norms_of_the_gradient_by_all_logits_and_by_those_at_the_targets(two_heads):
    found, shape = numbers(Forces, two_heads), (32, 2, 9, 9)
    change = torch.zeros(shape, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(loss_under(two_heads, 0, change), change)
    assert found["l0_size"][0] == pytest.approx(slope.transpose(0, 1).flatten(1).norm(dim=1).max().item())
    at_targets = slope * masks(two_heads)["previous_token"].unsqueeze(1)
    size = at_targets.transpose(0, 1).flatten(1).norm(dim=1).max().item()
    assert found["l0_previous_token_size"][0] == pytest.approx(size)
    # The mean of -dL/dlogit per item over the single target, less that over the other keys.
    mask, contrasts = masks(two_heads)["previous_token"], []
    for head in (0, 1):
        force = -32 * slope[:, head]
        rows = [(force[b, q, : q + 1], mask[b, q, : q + 1]) for b in range(32) for q in range(1, 9) if mask[b, q].any()]
        contrasts.append(sum(own[at].mean() - own[~at].mean() for own, at in rows) / len(rows))
    assert found["l0_previous_token_contrast"][0] == pytest.approx(max(contrasts).item())


def test_a_network_that_does_induction_attends_to_every_target():
    found = numbers(Forces, induction_network())
    assert found["l0_previous_token_mass"] > 0.99
    # The first position has no token before it, and attends to itself instead.
    assert 0.8 < found["l1_induction_mass"] < 0.99
    assert found["l0_induction_mass"] < 0.5
    assert found["loss"] < 0.1


def test_interventions_are_losses_with_logits_raised_at_the_targets(two_heads):
    found, change = numbers(Interventions, two_heads), masks(two_heads)
    for layer in (0, 1):
        for skill, mask in change.items():
            expected = loss_under(two_heads, layer, CLAMP * mask.double().unsqueeze(1))
            assert found[f"loss_l{layer}_{skill}"][0] == pytest.approx(expected.item())
    assert {name for name in found if name.startswith("gap_") and not name.endswith(".mean")} == {
        f"gap_l0_{skill}_l1_{other}" for skill in change for other in change
    }


def test_a_clamp_raises_later_gaps_by_what_they_are_above_those_without_it():
    """Of the network that does induction, whose layer 1 finds nothing before layer 0 has moved tokens."""
    weights = induction_network(strength=0.5)
    bias = [torch.zeros(1, 32, 1, 9, 9, dtype=torch.float64) for _ in range(2)]
    bias[0] = bias[0] + CLAMP * masks(weights)["previous_token"].unsqueeze(1)
    inputs, gaps = weights.batch.inputs, []
    for given in (None, bias):
        output = weights.model.forward(weights.parameters, inputs, with_attention=True, attention_bias=given)
        rows = [(output.attention[1][0, b, 0, 8].log(), masks(weights)["induction"][b, 8]) for b in range(32)]
        differences = [own[at].mean() - own[~at].mean() for own, at in rows if not at.all()]
        gaps.append(sum(differences) / len(differences))
    found = numbers(Interventions, weights)["gap_l0_previous_token_l1_induction"].item()
    assert found == pytest.approx((gaps[1] - gaps[0]).item())
    assert found > 0.2


def test_everywhere_is_all_skills_in_all_layers(two_heads):
    both = CLAMP * sum(mask.double() for mask in masks(two_heads).values())
    own = {name: value[:1] for name, value in two_heads.parameters.items()}
    inputs, targets = two_heads.batch.inputs[:1, :32], two_heads.batch.targets[:1, :32]
    bias = [both.unsqueeze(0).unsqueeze(2)] * 2
    loss = two_heads.task.losses(two_heads.model.forward(own, inputs, attention_bias=bias).predictions, targets).mean()
    assert numbers(Interventions, two_heads)["loss_everywhere"][0] == pytest.approx(loss.item())


def test_slots_with_items_of_their_own_are_read_with_them():
    task, model = DictionaryLookup.tiny(), AttentionOnly(width=8)
    shared = weights_of(task, model, seeds=(0, 0), num_items=8)
    inputs, targets = shared.batch.inputs.clone(), shared.batch.targets.clone()
    inputs[1] = (inputs[1] + 1) % 8
    found = numbers(Forces, Weights(task, shared.model, shared.parameters, Batch(inputs, targets)))
    own = {name: value[1:] for name, value in shared.parameters.items()}
    alone = numbers(Forces, Weights(task, shared.model, own, Batch(inputs[1:], targets[1:])))
    assert found["l1_induction_mass"][0] != found["l1_induction_mass"][1]
    assert found["l1_induction_mass"][1] == alone["l1_induction_mass"][0]


def test_clamps_show_what_a_network_lacks():
    """Without its previous-token head the network is at chance until the head's attention is clamped."""
    weights = induction_network()
    parameters = dict(weights.parameters) | {"layer0.query": torch.zeros_like(weights.parameters["layer0.query"])}
    found = numbers(Interventions, Weights(weights.task, weights.model, parameters, weights.batch))
    assert numbers(Forces, Weights(weights.task, weights.model, parameters, weights.batch))["loss"] > 1
    assert found["loss_l0_previous_token"] < 0.4
    assert found["loss_l0_previous_token_l1_induction"] < 0.4
    assert found["loss_everywhere"] < 0.4
    assert found["loss_l1_induction"] > 1
    assert found["loss_l0_induction"] > 1
    assert found["gap_l0_previous_token_l1_induction"] > 10
    assert found["gap_l0_induction_l1_induction"] < 0


@pytest.mark.parametrize("cls", [Forces, Interventions])
def test_models_without_softmax_and_tasks_without_targets_are_refused(cls):
    lookup, regression, features = DictionaryLookup.tiny(), LinearRegression(), FeatureRegression.tiny()
    assert cls.unsuitable(lookup, AttentionOnly.tiny(lookup)) is None
    assert "no softmax attention" in cls.unsuitable(regression, LinearSelfAttention())
    assert "names no targets" in cls.unsuitable(features, MergedSoftmaxAttention.tiny(features))


@pytest.mark.parametrize("cls", [Forces, Interventions])
@pytest.mark.parametrize(
    ("task", "model"),
    [
        (DictionaryLookup(num_pairs=5), AttentionOnly(width=11, num_heads=3, head_width=3, num_layers=3)),
        (RepeatedSequence(num_tokens=13, period=4), Transformer(width=10, num_heads=2, head_width=5, mlp_width=9)),
    ],
)
def test_values_do_not_depend_on_the_batch_at_odd_sizes_either(cls, task, model):
    """To the bit, in groups of every size and at every place."""
    layout = Layout(model.parameter_specs(task.shape()), torch.float64)
    whole = weights_of(task, model, seeds=tuple(range(9)), num_items=7)

    def read(slots):
        views = layout.views(torch.zeros(len(slots), layout.row_width, dtype=torch.float64))
        for name, view in views.items():
            view.copy_(whole.parameters[name][slots])
        own = Batch(whole.batch.inputs[slots].clone(), whole.batch.targets[slots].clone())
        return cls()(Weights(task, whole.model, views, own))

    together = read(list(range(9)))
    for slots in ([8], [4, 1], [3] * 11):
        for name, value in read(slots).items():
            assert torch.equal(value, together[name][slots]), name


def test_no_gap_is_infinite_where_attention_is_zero():
    weights = induction_network(strength=60.0)
    assert all(math.isfinite(value) for value in numbers(Forces, weights).values())
