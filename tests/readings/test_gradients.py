"""Gradients of a small module against plain autograd on one run: Hessian, Jacobian, groups of items, steps."""

from __future__ import annotations

import math
from typing import ClassVar

import pytest
import torch
from torch import nn
from torch.func import functional_call, hessian, jacrev

from pipeline.engine.parameter_layout import Layout
from pipeline.models.attention_only import AttentionOnly
from pipeline.models.linear_self_attention import LinearSelfAttention
from pipeline.models.torch_module import TorchModule
from pipeline.readings.base import Weights
from pipeline.readings.gradients import Gradients
from pipeline.tasks.base import Batch
from pipeline.tasks.dictionary_lookup import DictionaryLookup
from pipeline.tasks.linear_regression import LinearRegression
from tests.readings.networks import weights_of


class Flat(TorchModule):
    """One hidden layer on the embeddings of all positions."""

    name = "flat"
    accepts: ClassVar[tuple[str, ...]] = ("tokens",)

    def module(self, task_shape):
        """From tokens to logits."""
        hidden = nn.Linear(task_shape.length * 2, 4)
        return nn.Sequential(
            nn.Embedding(task_shape.size, 2), nn.Flatten(), hidden, nn.Tanh(), nn.Linear(4, task_shape.num_outputs)
        )


TASK = DictionaryLookup(num_keys=3, num_values=3, num_pairs=3)


@pytest.fixture(scope="module")
def weights():
    return weights_of(TASK, Flat(), seeds=(3, 4), num_items=40)


@pytest.fixture(scope="module")
def found(weights):
    return {name.removeprefix("gradients."): value for name, value in Gradients()(weights).items()}


@pytest.fixture(scope="module")
def plain(weights):
    """(loss of some items as a function of all parameters in a row, the row, its spans by name) of the first slot."""
    module = Flat().module(TASK.shape()).double()
    shapes = {name: value.shape for name, value in module.named_parameters()}
    row = torch.cat([weights.parameters[name][0].flatten() for name in shapes])
    spans, first = {}, 0
    for name, shape in shapes.items():
        spans[name] = slice(first, first := first + math.prod(shape))

    def logits(at, items):
        parameters = {name: at[spans[name]].view(shape) for name, shape in shapes.items()}
        return functional_call(module, parameters, (weights.batch.inputs[0, items],))

    def loss(at, items=slice(0, 32)):
        return nn.functional.cross_entropy(logits(at, items), weights.batch.targets[0, items])

    return loss, logits, row, spans


def slope_of(loss, row, items=slice(0, 32)):
    at = row.clone().requires_grad_(True)
    return torch.autograd.grad(loss(at, items), at)[0]


def test_sizes_are_norms_of_the_gradient_and_of_its_parts(found, plain):
    loss, _, row, spans = plain
    slope = slope_of(loss, row)
    assert found["loss"][0] == pytest.approx(loss(row).item())
    assert found["norm"][0] == pytest.approx(slope.norm().log().item())
    for name, span in spans.items():
        own, part = row[span], slope[span]
        assert found[f"norm.{name}"][0] == pytest.approx(part.norm().log().item())
        assert found[f"ratio.{name}"][0] == pytest.approx((part.norm() / own.norm()).log().item())
        assert found[f"pull.{name}"][0] == pytest.approx((-(part @ own) / part.norm() / own.norm()).item())


def test_sharpness_is_the_curvature_along_the_gradient(found, plain):
    loss, _, row, _ = plain
    slope = slope_of(loss, row)
    curvature = slope @ hessian(loss)(row) @ slope / (slope @ slope)
    assert found["sharpness"][0] == pytest.approx(curvature.item(), rel=1e-5)


def test_the_noise_scale_is_the_variance_of_groups_over_the_gradient(found, plain):
    loss, _, row, _ = plain
    parts = torch.stack([slope_of(loss, row, slice(8 * group, 8 * group + 8)) for group in range(4)])
    # The variance of group means estimates tr(Sigma) / 8.
    noise = 8 * parts.var(dim=0).sum()
    assert found["noise_scale"][0] == pytest.approx((noise / slope_of(loss, row).square().sum()).log().item())


def test_alignment_is_that_of_the_tangent_kernel_with_the_residual(weights, found, plain):
    _, logits, row, _ = plain
    items = slice(0, 32)
    jacobian = jacrev(lambda at: logits(at, items).flatten())(row)
    right = nn.functional.one_hot(weights.batch.targets[0, items], 3)
    residual = (logits(row, items).softmax(-1) - right).flatten()
    kernel = jacobian @ jacobian.T
    exact = (residual @ kernel @ residual) / (residual @ residual) / kernel.diagonal().mean()
    # Two patterns of signs stand for the trace.
    assert found["alignment"][0] == pytest.approx(exact.item(), rel=0.5)


def test_drops_are_those_of_steps_of_fixed_relative_length(found, plain):
    loss, _, row, spans = plain
    at = row.clone()
    for step in range(1, 5):
        slope = slope_of(loss, at)
        for span in spans.values():
            at[span] -= 0.0125 * row[span].norm() * slope[span] / slope[span].norm()
        if step in (1, 4):
            assert found[f"drop{step}"][0] == pytest.approx((loss(row).log() - loss(at).log()).item())
    assert found["drop4"][0] > found["drop1"][0] > 0


@pytest.mark.parametrize(
    ("task", "model"),
    [
        (DictionaryLookup(num_pairs=5), AttentionOnly(width=11, num_heads=3, head_width=3)),
        (LinearRegression(), LinearSelfAttention(num_layers=2)),
        (TASK, Flat()),
    ],
)
def test_values_do_not_depend_on_the_batch_at_odd_sizes_either(task, model):
    """To the bit, in groups of every size and at every place."""
    layout = Layout(model.parameter_specs(task.shape()), torch.float64)
    whole = weights_of(task, model, seeds=tuple(range(9)), num_items=14)

    def read(slots):
        views = layout.views(torch.zeros(len(slots), layout.row_width, dtype=torch.float64))
        for name, view in views.items():
            view.copy_(whole.parameters[name][slots])
        own = Batch(whole.batch.inputs[slots].clone(), whole.batch.targets[slots].clone())
        return Gradients()(Weights(task, whole.model, views, own))

    together = read(list(range(9)))
    for slots in ([8], [4, 1], [3] * 11):
        for name, value in read(slots).items():
            assert torch.equal(value, together[name][slots]), name
