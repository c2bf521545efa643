"""The arithmetic of the reading `gradients`: gradients of the loss by all parameters, and steps along them."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from pipeline.numerics.alignment import plan_row
from pipeline.readings.base import Weights

_MOST_ITEMS, _NUM_GROUPS = 32, 4
_STEPS, _REACH = 4, 0.05
# Of the length of the parameters: small against curvature, large against the rounding of float64.
_DIFFERENCE = 1e-4


def gradient_numbers(weights: Weights) -> Iterator[tuple[str, Tensor]]:
    """(name, (S,) float64)."""
    descent = _Descent(weights)
    start_SP = descent.start()
    losses, slopes = zip(*(descent.slope(start_SP, part) for part in descent.parts()), strict=True)
    loss_S, slope_SP = torch.stack(losses).mean(0), torch.stack(slopes).mean(0)
    yield "loss", loss_S
    yield from _sizes(descent, start_SP, slope_SP)
    yield "noise_scale", _noise_scale(torch.stack(slopes), slope_SP, descent.num_items)
    yield "sharpness", _sharpness(descent, start_SP, slope_SP)
    yield "alignment", _alignment(descent, start_SP)
    for steps, reached_S in _drops(descent, start_SP, slope_SP):
        yield f"drop{steps}", loss_S.log() - reached_S.log()


class _Descent:
    """The loss of each slot on the first items, as a function of its trained parameters in a row (S, P)."""

    def __init__(self, weights: Weights) -> None:
        self.weights = weights
        self.num_asked = weights.task.shape().num_query_positions
        size = min(_MOST_ITEMS, weights.batch.inputs.shape[1])
        self.num_groups = min(_NUM_GROUPS, size)
        self.num_items = size - size % self.num_groups
        self.shapes = {
            spec.name: (spec.rows, spec.columns)
            for spec in weights.model.parameter_specs(weights.task.shape())
            if spec.trainable
        }
        self.row = plan_row([rows * columns for rows, columns in self.shapes.values()], 8)

    def start(self) -> Tensor:
        """(S, P) the trained parameters, each on a 64-byte boundary, zeros between them."""
        some = next(iter(self.weights.parameters.values()))
        row_SP = some.new_zeros(len(some), self.row.width, dtype=torch.float64)
        for name, view in self.views(row_SP).items():
            view.copy_(self.weights.parameters[name].detach())
        return row_SP

    def views(self, row_SP: Tensor) -> dict[str, Tensor]:
        """Parameter name -> (S, rows, columns)."""
        return {
            name: row_SP[:, first : first + rows * columns].view(-1, rows, columns)
            for (name, (rows, columns)), first in zip(self.shapes.items(), self.row.offsets, strict=True)
        }

    def parts(self) -> Iterator[slice]:
        """The items in groups of equal size."""
        size = self.num_items // self.num_groups
        return (slice(group * size, (group + 1) * size) for group in range(self.num_groups))

    @property
    def everything(self) -> slice:
        """All items."""
        return slice(0, self.num_items)

    def slope(self, row_SP: Tensor, items: slice) -> tuple[Tensor, Tensor]:
        """The mean loss (S,) on these items, and its gradient (S, P)."""
        with torch.enable_grad():
            leaf_SP = row_SP.detach().clone().requires_grad_(True)
            predictions, targets = self.predictions(leaf_SP, items)
            loss_S = self.weights.task.losses(predictions, targets).mean(1)
            (slope_SP,) = torch.autograd.grad(loss_S.sum(), leaf_SP)
        return loss_S.detach(), slope_SP

    def predictions(self, leaf_SP: Tensor, items: slice) -> tuple[Tensor, Tensor]:
        """Predictions (S, B * Q, num_outputs) on these items, and their targets."""
        weights, asked = self.weights, self.num_asked
        inputs = weights.batch.inputs[:, items].clone()
        targets = weights.batch.targets[:, items.start * asked : items.stop * asked]
        parameters = dict(weights.parameters) | self.views(leaf_SP)
        return weights.model.predict(parameters, inputs, asked), targets


def _square(row_SP: Tensor) -> Tensor:
    """Squared Euclidean norms (S,)."""
    return row_SP.square().flatten(1).sum(1)


def _sizes(descent: _Descent, start_SP: Tensor, slope_SP: Tensor) -> Iterator[tuple[str, Tensor]]:
    yield "norm", _square(slope_SP).log() / 2
    own = descent.views(start_SP)
    for name, slope in descent.views(slope_SP).items():
        size_S, length_S = _square(slope), _square(own[name])
        yield f"norm.{name}", size_S.log() / 2
        yield f"ratio.{name}", (size_S / length_S).log() / 2
        yield f"pull.{name}", -(slope * own[name]).flatten(1).sum(1) / (size_S * length_S).sqrt()


def _noise_scale(slopes_GSP: Tensor, slope_SP: Tensor, num_items: int) -> Tensor:
    """log tr(Sigma) / ||g||^2 of G groups of items, at most log n: on n items, ||g||^2 has tr(Sigma) / n in it."""
    num_groups = len(slopes_GSP)
    if num_groups == 1:
        return slope_SP[:, 0] * torch.nan
    whole_S, mean_S = _square(slope_SP), slopes_GSP.square().sum(2).mean(0)
    # Without that part, an unbiased estimate of the signal would be below 0 wherever noise drowns it.
    return ((mean_S - whole_S) * num_items / (num_groups - 1) / whole_S).log()


def _sharpness(descent: _Descent, start_SP: Tensor, slope_SP: Tensor) -> Tensor:
    norm_S1 = _square(slope_SP).sqrt().unsqueeze(1)
    reach_S1 = _DIFFERENCE * _square(start_SP).sqrt().unsqueeze(1)
    direction_SP = slope_SP / norm_S1
    ahead, behind = (
        descent.slope(start_SP + side * reach_S1 * direction_SP, descent.everything)[1] for side in (1, -1)
    )
    return ((ahead - behind) * direction_SP).sum(1) / (2 * reach_S1.squeeze(1))


def _alignment(descent: _Descent, start_SP: Tensor) -> Tensor:
    with torch.enable_grad():
        leaf_SP = start_SP.clone().requires_grad_(True)
        predictions, targets = descent.predictions(leaf_SP, descent.everything)
        residual = _residual(descent, predictions.detach(), targets)
        pulled = [residual, *(_signs(predictions, pattern) for pattern in range(2))]
        rows = [torch.autograd.grad((predictions * z).sum(), leaf_SP, retain_graph=True)[0] for z in pulled]
    trace_S = torch.stack([_square(row) for row in rows[1:]]).mean(0)
    count = predictions.shape[1] * predictions.shape[2]
    return _square(rows[0]) / _square(residual) / (trace_S / count)


def _residual(descent: _Descent, predictions: Tensor, targets: Tensor) -> Tensor:
    leaf = predictions.requires_grad_(True)
    (residual,) = torch.autograd.grad(descent.weights.task.losses(leaf, targets).sum(), leaf)
    return residual


def _signs(predictions: Tensor, pattern: int) -> Tensor:
    """+1 and -1 in a fixed order that no task has: the signs of a quadratic chirp."""
    count = predictions[0].numel()
    place = torch.arange(count, dtype=torch.float64)
    return (
        torch.where(torch.sin((0.7 + pattern) * place * place) >= 0, 1.0, -1.0)
        .view(predictions.shape[1:])
        .to(predictions)
    )


def _drops(descent: _Descent, start_SP: Tensor, slope_SP: Tensor) -> Iterator[tuple[int, Tensor]]:
    """(number of steps, loss after them)."""
    length = {name: _square(own).sqrt() for name, own in descent.views(start_SP).items()}
    row_SP = start_SP.clone()
    for step in range(1, _STEPS + 1):
        slopes, views = descent.views(slope_SP), descent.views(row_SP)
        for name, view in views.items():
            reach_S = length[name] * (_REACH / _STEPS) / _square(slopes[name]).sqrt().clamp_min(1e-300)
            view -= slopes[name] * reach_S.view(-1, 1, 1)
        loss_S, slope_SP = descent.slope(row_SP, descent.everything)
        if step in (1, _STEPS):
            yield step, loss_S
