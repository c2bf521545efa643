"""Measurements of trained models of von Oswald et al. (2023): comparison with explicit algorithms.

Every run is measured at each step at which its weights were kept, on contexts of its own that no training and no
evaluation draws, in float64. So intervals over runs are over contexts, too.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import cast

import torch
from torch import Tensor

from pipeline.models.linear_self_attention import LinearSelfAttention
from pipeline.numerics.streams import Draws, stream_key
from pipeline.spec.run_config import RunConfig
from pipeline.store.sweep_store import SweepStore
from pipeline.tasks.linear_regression import LinearRegression
from sweeps.kept_weights import kept_weights
from sweeps.von_oswald_2023.gradient_descent import (
    ContextPredictor,
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

# As many as in the paper; of the shifted ones its code takes 500 to 10,000.
NUM_CONTEXTS = 10_000
NUM_SHIFTED = 2_000

INPUT_SCALES = (0.5, 1.0, 1.5, 2.0)
TEACHER_SCALES = (0.5, 1.0, 2.0, 5.0)
# Norms of all inputs of a context together; those of training have about 2.9.
FAMILY_NORMS = (1.0, 3.0)
INPUT_FAMILIES = ("exponential", "normal", "laplace")
NUM_NOISY = (2, 4, 6, 8)
# Pairs in a context, where training has 10.
OTHER_LENGTHS = (5, 10, 20, 40)
ROLLED = (1, 2, 5, 10, 20, 50)
DAMPING = 0.75

ModelMetrics = dict[str, float | int | str | None]
Contexts = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Trained:
    """One run's parameters at one step, (rows, columns) each, in float64."""

    config: RunConfig
    step: int
    parameters: Mapping[str, Tensor]

    @property
    def task(self) -> LinearRegression:
        """The run's task."""
        return cast(LinearRegression, self.config.task)

    @property
    def model(self) -> LinearSelfAttention:
        """The run's model, without its parameters."""
        return cast(LinearSelfAttention, self.config.model)

    def predictor(self) -> ContextPredictor:
        """Predictions of the model with these parameters."""
        return predictor(self.model, self.parameters)

    def row(self, found: Mapping[str, float]) -> ModelMetrics:
        """A row of a measurement, with None for non-finite values."""
        place: ModelMetrics = {"run_id": self.config.run_id, "step": self.step}
        return place | {name: value if math.isfinite(value) else None for name, value in found.items()}


def trained(store: SweepStore) -> Iterator[Trained]:
    """Every run at every step at which its weights were kept."""
    for config, step, parameters in kept_weights(store):
        yield Trained(config, step, parameters)


# A run is measured at all its steps in a row, on contexts of several lengths.
@lru_cache(maxsize=8)
def contexts(task: LinearRegression, seed: int, num: int, purpose: str = "measured") -> Contexts:
    """Contexts (B, L, D) and targets (B,), float64, of streams that nothing else reads."""
    streams = {
        name: Draws(torch.tensor([stream_key(f"{purpose}/{name}", seed)]), torch.zeros(1, dtype=torch.int64), num)
        for name in task.streams
    }
    vectors = {name: torch.tensor([float(getattr(task, name))]) for name in task.vector_fields()}
    batch = task.sample(streams, vectors, "float64", "label")
    return batch.inputs[0], batch.targets[0]


@lru_cache(maxsize=1)
def shifted(task: LinearRegression, seed: int, num: int = NUM_SHIFTED) -> dict[str, Contexts]:
    """Contexts from other distributions than those of training, by name; all made of the same draws.

    "inputs/2": inputs twice as large. "teachers/2": weights twice as large. "normal/3": inputs from another family,
    rescaled so that those of a context have norm 3 together, the query by the same factor. "noisy/4": 4 of the
    context's targets replaced by N(0, 1). As in the public code, where a family is drawn anew for every context.
    """
    inputs, targets = contexts(task, seed, num)
    found = {f"inputs/{scale:g}": (scale * inputs, scale * targets) for scale in INPUT_SCALES}
    for scale in TEACHER_SCALES:
        stretched = inputs.clone()
        stretched[..., -1] *= scale
        found[f"teachers/{scale:g}"] = (stretched, scale * targets)
    weights_BD = _weights(inputs, targets)
    unit_BLD = (inputs[..., :-1] / task.input_range + 1) / 2
    for family in INPUT_FAMILIES:
        x_BLD = _QUANTILES[family](unit_BLD)
        x_BLD = x_BLD / x_BLD[:, :-1].flatten(1).norm(dim=1).view(-1, 1, 1)
        for norm in FAMILY_NORMS:
            found[f"{family}/{norm:g}"] = _paired(norm * x_BLD, weights_BD)
    noise = Draws(torch.tensor([stream_key("measured/noise", seed)]), torch.zeros(1, dtype=torch.int64), num)
    noise_BN = noise.normal(task.num_pairs, 0, torch.float64)[0]
    for count in NUM_NOISY:
        noisy = inputs.clone()
        noisy[:, :count, -1] = noise_BN[:, :count]
        found[f"noisy/{count}"] = (noisy, targets)
    return found


def _weights(inputs: Tensor, targets: Tensor) -> Tensor:
    """(B, d): w of each context, from pairs and query, of which there are more than entries."""
    x_BLD = inputs[..., :-1]
    y_BL1 = torch.cat([inputs[:, :-1, -1], targets.unsqueeze(1)], dim=1).unsqueeze(-1)
    assert x_BLD.shape[1] >= x_BLD.shape[2]
    weights: Tensor = torch.linalg.lstsq(x_BLD, y_BL1).solution
    return weights.squeeze(-1)


def _paired(x_BLD: Tensor, weights_BD: Tensor) -> Contexts:
    y_BL = (x_BLD * weights_BD.unsqueeze(1)).sum(-1)
    inputs = torch.cat([x_BLD, y_BL.unsqueeze(-1)], dim=-1)
    inputs[:, -1, -1] = 0.0
    return inputs, y_BL[:, -1]


def _exponential(unit: Tensor) -> Tensor:
    return -torch.log1p(-unit)


def _laplace(unit: Tensor) -> Tensor:
    return -torch.sign(unit - 0.5) * torch.log1p(-2 * (unit - 0.5).abs())


_QUANTILES = {"exponential": _exponential, "normal": torch.special.ndtri, "laplace": _laplace}


def one_layer(store: SweepStore) -> Iterator[ModelMetrics]:
    """A layer of one head against the gradient step whose size a line search finds on the same contexts.

    trained_, gd_ and interpolated_loss, and the same under every shift, "trained_loss/inputs/2"; the step sizes that
    the line search finds and that the trained weights have; the largest difference between the step and the
    construction in the model's own dtype; losses of both when applied again and again, "rolled_trained_loss/10"; and
    on contexts of other lengths, "trained_loss/pairs/20", where the step is that of the weights constructed for N.
    """
    for one in trained(store):
        inputs, targets = contexts(one.task, one.config.data_seed, NUM_CONTEXTS)
        step_size = optimal_step_size(inputs, targets)
        gd, layer = Descent.plain(step_size), Merged.of(one.parameters)
        built = construction(one.task.dim + 1, one.task.num_pairs, gd)
        between = interpolated(layer, Merged.of(built))
        predictors: dict[str, ContextPredictor] = {
            "trained": one.predictor(),
            "gd": gd,
            "interpolated": predictor(one.model, between.parameters()),
        }
        found = {f"{name}_loss": _loss(predict, (inputs, targets)) for name, predict in predictors.items()}
        found["line_search_step_size"] = step_size
        found["trained_step_size"] = float(layer.step_size(one.task.num_pairs))
        found["construction_difference"] = _construction_difference(one, built, gd, inputs)
        found |= _shifted_losses(one, predictors) | _losses_by_length(one, predictors, step_size)
        yield one.row(found | _rolled(layer, gd, one))


def _loss(predict: ContextPredictor, on: Contexts) -> float:
    with torch.no_grad():
        return float(half_squared_error(predict(on[0]), on[1]))


def _construction_difference(one: Trained, built: Mapping[str, Tensor], gd: Descent, inputs: Tensor) -> float:
    real = getattr(torch, one.config.dtype)
    found = predictor(one.model, {name: value.to(real) for name, value in built.items()})(inputs.to(real))
    return float((found.double() - gd(inputs)).abs().max())


def _shifted_losses(one: Trained, predictors: Mapping[str, ContextPredictor]) -> dict[str, float]:
    return {
        f"{name}_loss/{shift}": _loss(predict, on)
        for shift, on in shifted(one.task, one.config.data_seed).items()
        for name, predict in predictors.items()
    }


def _losses_by_length(one: Trained, predictors: Mapping[str, ContextPredictor], step_size: float) -> dict[str, float]:
    """Of weights, which sum over the context: with twice the pairs they take a step of twice the size on its mean."""
    found = {}
    for num_pairs in OTHER_LENGTHS:
        task = one.task.model_copy(update={"num_pairs": num_pairs})
        on = contexts(task, one.config.data_seed, NUM_SHIFTED)
        scaled = Descent.plain(step_size * num_pairs / one.task.num_pairs)
        together: dict[str, ContextPredictor] = {**predictors, "gd": scaled}
        for name, predict in together.items():
            found[f"{name}_loss/pairs/{num_pairs}"] = _loss(predict, on)
    return found


def _rolled(layer: Merged, gd: Descent, one: Trained) -> dict[str, float]:
    inputs, targets = contexts(one.task, one.config.data_seed, NUM_SHIFTED)
    paths = {
        "trained": layer.roll_out(inputs, DAMPING, max(ROLLED)),
        "gd": gd.damped(DAMPING, max(ROLLED)).path(inputs),
    }
    return {
        f"rolled_{name}_loss/{times}": float(half_squared_error(path[times - 1], targets))
        for name, path in paths.items()
        for times in ROLLED
    }


def several_layers(store: SweepStore) -> Iterator[ModelMetrics]:
    """Several layers against as many steps of gradient descent of the best equal size, and of the best GD++.

    Both are fitted on other contexts, GD++ with steps of its own where layers have weights of their own. Found are the
    losses trained_, gd_ and plus_loss, also under every shift; and for gd_ and plus_ how the model compares:
    steps_cosine and plus_cosine, and so on. Of tied models also the step size and curvature that the weights have.
    """
    for one in trained(store):
        gd, plus = _descents(one.task, one.model.num_layers, one.model.is_tied)
        inputs, targets = contexts(one.task, one.config.data_seed, NUM_CONTEXTS)
        predictors: dict[str, ContextPredictor] = {"trained": one.predictor(), "gd": gd, "plus": plus}
        found = {f"{name}_loss": _loss(predict, (inputs, targets)) for name, predict in predictors.items()}
        for name, descent in (("steps", gd), ("plus", plus)):
            alike = compared(predictors["trained"], descent, inputs)
            found[f"{name}_cosine"] = alike.cosine
            found[f"{name}_model_difference"] = alike.model_difference
            found[f"{name}_prediction_difference"] = alike.prediction_difference
        if one.model.is_tied:
            layer = Merged.of(one.parameters)
            found["trained_step_size"] = float(layer.step_size(one.task.num_pairs))
            found["trained_curvature"] = float(layer.curvature())
            found["plus_step_size"], found["plus_curvature"] = (
                float(column[0]) for column in (plus.step_sizes, plus.curvatures)
            )
        yield one.row(found | _shifted_losses(one, predictors))


@cache
def _descents(task: LinearRegression, num_steps: int, is_tied: bool) -> tuple[Descent, Descent]:
    """The best plain gradient descent of equal steps, and the best GD++."""
    inputs, targets = contexts(task, 0, NUM_CONTEXTS, "fitted")
    start = task.step_size() / 2
    first = Descent([start] * num_steps, [0.1] * num_steps)
    gd = fitted(inputs, targets, num_steps, is_tied=True, has_curvature=False, first=first)
    tied = fitted(inputs, targets, num_steps, is_tied=True, has_curvature=True, first=first)
    if is_tied:
        return gd, tied
    return gd, fitted(inputs, targets, num_steps, is_tied=False, has_curvature=True, first=tied)
