"""Explicit gradient descent, the weights that carry it out, and how models are compared with it."""

from __future__ import annotations

import math

import pytest
import torch

from pipeline.contracts.tasks import streams_of, vectors_of
from pipeline.engine.block import Block
from pipeline.models.base import MODELS
from pipeline.tasks.base import TASKS
from pipeline.training.replay import TrainedModel
from sweeps.von_oswald_2023.gradient_descent import (
    Descent,
    Merged,
    compared,
    construction,
    fitted,
    half_squared_error,
    interpolated,
    optimal_step_size,
    predictor,
)
from tests.support import run_of

LAYER = MODELS["linear_self_attention"]
TASK = TASKS["linear_regression"]()


def contexts(num=2000, task=TASK, seed=0, dtype="float64"):
    batch = task.sample(streams_of(task, (seed,), num_rows=num), vectors_of(task, 1), dtype, "train")
    return batch.inputs[0], batch.targets[0]


def descended(inputs, step_size, num_steps, start=None):
    """Predictions of plain gradient descent on the weights, by autograd on the loss averaged over each context."""
    x_BND, y_BN, query_BD = inputs[:, :-1, :-1], inputs[:, :-1, -1], inputs[:, -1, :-1]
    w_BD = torch.zeros_like(query_BD) if start is None else start.expand_as(query_BD)
    for _ in range(num_steps):
        leaf = w_BD.clone().requires_grad_(True)
        loss_B = 0.5 * ((x_BND * leaf.unsqueeze(1)).sum(-1) - y_BN).square().mean(1)
        w_BD = w_BD - step_size * torch.autograd.grad(loss_B.sum(), leaf)[0]
    return (w_BD * query_BD).sum(-1)


@pytest.mark.parametrize("num_steps", [1, 2, 5])
def test_a_descent_is_gradient_descent_on_the_weights(num_steps):
    inputs, _ = contexts(50)
    found = Descent.plain(3.0, num_steps).path(inputs)
    for step in range(num_steps):
        torch.testing.assert_close(found[step], descended(inputs, 3.0, step + 1), rtol=0, atol=1e-12)


def test_the_construction_is_one_gradient_step_from_any_start():
    inputs, _ = contexts(50)
    start = torch.linspace(-1, 1, 10, dtype=torch.float64)
    inputs[:, -1, -1] = -(inputs[:, -1, :-1] @ start)
    weights = construction(11, 10, Descent.plain(4.0), start)
    expected = descended(inputs, 4.0, 1, start)
    torch.testing.assert_close(predictor(LAYER(), weights)(inputs), expected, rtol=0, atol=1e-12)


def test_the_construction_loads_into_a_model_of_a_run_in_single_precision_too():
    run = run_of({"name": "linear_regression"})
    module = TrainedModel(run, Block(run, 1, torch.device("cpu")).run_state(0))
    gd = Descent.plain(TASK.step_size())
    weights = {name.replace(".", "__"): value for name, value in construction(11, 10, gd).items()}
    module.load_state_dict(weights)
    inputs, _ = contexts(dtype="float32")
    with torch.no_grad():
        found = module(inputs)[:, 0]
    assert (found.double() - gd(inputs.double())).abs().max() < 1e-6
    assert gd(inputs.double()).abs().max() > 0.1


@pytest.mark.parametrize(("num_steps", "curvature"), [(1, 0.0), (3, 0.0), (2, 0.18), (5, 0.1)])
def test_layers_of_the_construction_are_steps_of_gradient_descent_and_of_gd_plus_plus(num_steps, curvature):
    inputs, _ = contexts(50)
    steps = Descent([2.0 + step for step in range(num_steps)], [curvature / (1 + step) for step in range(num_steps)])
    weights = construction(11, 10, steps)
    found = predictor(LAYER(num_layers=num_steps), weights)(inputs)
    torch.testing.assert_close(found, steps(inputs), rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("num_steps", "has_curvature", "is_tied", "expected"),
    [(1, False, True, 0.2062), (2, False, True, 0.156), (5, False, True, 0.107), (2, True, True, 0.109)],
)
def test_the_best_descents_have_the_known_losses(num_steps, has_curvature, is_tied, expected):
    inputs, targets = contexts(8000)
    start = Descent([4.0] * num_steps, [0.1] * num_steps)
    found = fitted(inputs, targets, num_steps, is_tied=is_tied, has_curvature=has_curvature, first=start)
    losses = 0.5 * (found(inputs) - targets).square()
    error = float(losses.std()) / math.sqrt(len(losses))
    assert float(losses.mean()) == pytest.approx(expected, abs=4 * error)
    if has_curvature:
        assert found.curvatures[0] == pytest.approx(0.177, abs=0.01)
        assert found.step_sizes[0] == found.step_sizes[1]


def test_steps_of_their_own_are_at_least_as_good_as_equal_ones():
    inputs, targets = contexts(2000)
    start = Descent([4.0] * 2, [0.1] * 2)
    tied, free = (
        fitted(inputs, targets, 2, is_tied=is_tied, has_curvature=True, first=start) for is_tied in (True, False)
    )
    assert float(half_squared_error(free(inputs), targets)) < float(half_squared_error(tied(inputs), targets)) - 1e-4
    assert free.step_sizes[0] != free.step_sizes[1]


def test_the_best_step_size_is_where_a_line_search_ends_and_near_the_closed_form():
    inputs, targets = contexts(10_000)
    found = optimal_step_size(inputs, targets)
    grid = torch.arange(found - 1, found + 1, 0.05).tolist()
    losses = [float(half_squared_error(Descent.plain(size)(inputs), targets)) for size in grid]
    assert abs(grid[losses.index(min(losses))] - found) < 0.05
    assert found == pytest.approx(TASK.step_size(), rel=0.03)


def noisy_layer(seed=0, scale=0.02):
    """The construction with noise on every entry, and the other sign of W_K and W_V."""
    generator = torch.Generator().manual_seed(seed)
    weights = construction(11, 10, Descent.plain(6.0))
    for name in ("layer0.key", "layer0.value"):
        weights[name] = -weights[name]
    noise = lambda value: scale * torch.randn(value.shape, generator=generator, dtype=torch.float64)  # noqa: E731
    return {name: value + noise(value) for name, value in weights.items()}


def test_merged_and_rescaled_weights_do_the_same_and_tell_the_step():
    inputs, _ = contexts(50)
    weights = noisy_layer()
    expected = predictor(LAYER(), weights)(inputs)
    merged = Merged.of(weights)
    assert float(merged.scale) < 0
    for layer in (merged, merged.rescaled()):
        torch.testing.assert_close(predictor(LAYER(), layer.parameters())(inputs), expected, rtol=0, atol=1e-12)
        assert float(layer.step_size(10)) == pytest.approx(6.0, rel=0.1)
    built = Merged.of(construction(11, 10, Descent([6.0], [0.2])))
    assert float(built.step_size(10)) == pytest.approx(6.0)
    assert float(built.curvature()) == pytest.approx(0.2)


def test_weights_half_way_between_two_like_layers_do_what_both_do():
    inputs, _ = contexts(200)
    gd = Descent.plain(6.0)
    trained, built = Merged.of(noisy_layer()), Merged.of(construction(11, 10, gd))
    between = interpolated(trained, built)
    distance = {
        name: compared(predictor(LAYER(), layer.parameters()), gd, inputs)
        for name, layer in (("trained", trained), ("between", between), ("built", built))
    }
    assert distance["built"].prediction_difference < 1e-12
    assert distance["between"].prediction_difference < 0.6 * distance["trained"].prediction_difference
    # Without rescaling, the other sign of the key would cancel the construction's.
    assert distance["between"].cosine > distance["trained"].cosine > 0.9


def test_a_layer_applied_again_descends_again():
    inputs, _ = contexts(50)
    built = Merged.of(construction(11, 10, Descent.plain(6.0)))
    expected = Descent.plain(6.0).damped(0.75, 50).path(inputs)
    torch.testing.assert_close(built.roll_out(inputs, 0.75, 50), expected, rtol=0, atol=1e-11)
    once = predictor(LAYER(), noisy_layer())(inputs)
    torch.testing.assert_close(Merged.of(noisy_layer()).roll_out(inputs, 1.0, 1)[0], once, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("damping", "expected"), [(1.0, 0.2062), (0.75, 0.218)])
def test_damped_steps_have_the_known_losses(damping, expected):
    inputs, targets = contexts(8000)
    path = Descent.plain(TASK.step_size()).damped(damping, 20).path(inputs)
    losses = 0.5 * (path - targets).square().mean(1)
    assert float(losses[0]) == pytest.approx(expected, abs=0.015)
    assert (float(losses[19]) == pytest.approx(0.063, abs=0.012)) == (damping == 0.75)


def test_a_comparison_is_what_finite_differences_say():
    inputs, _ = contexts(4)
    one, other = predictor(LAYER(), noisy_layer()), Descent.plain(5.0)
    found = compared(one, other, inputs)
    slopes = []
    for predict in (one, other):
        columns = []
        for entry in range(10):
            shifted = inputs.clone()
            shifted[:, -1, entry] += 1e-6
            columns.append((predict(shifted) - predict(inputs)) / 1e-6)
        slopes.append(torch.stack(columns, 1))
    assert found.prediction_difference == pytest.approx(float((one(inputs) - other(inputs)).abs().mean()))
    assert found.cosine == pytest.approx(float(torch.cosine_similarity(*slopes, dim=1).mean()), abs=1e-5)
    assert found.model_difference == pytest.approx(float((slopes[0] - slopes[1]).norm(dim=1).mean()), abs=1e-5)


def test_what_cannot_be_built_is_refused():
    with pytest.raises(ValueError, match="2 step sizes, but 1 curvatures"):
        Descent([1.0, 1.0], [0.0])
    with pytest.raises(ValueError, match="must not be 0"):
        construction(11, 10, Descent.plain(0.0))
    with pytest.raises(ValueError, match="start must be zero"):
        construction(11, 10, Descent.plain(1.0, 2), torch.zeros(10))
