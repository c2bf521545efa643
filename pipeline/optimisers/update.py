"""Optimisers on (S, P) rows: every hyperparameter is a number per slot, and nothing crosses the slot axis.

Only operations that IEEE 754 rounds exactly are used on numbers of a slot (no `pow`, no fused alpha): others round
differently in the vector and the scalar part of a loop, hence by slot.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import torch
from torch import Tensor

Columns = Mapping[str, Tensor]


class Optimiser(Protocol):
    """`moments` name (S, P) arrays and `scalars` (S,) arrays of its state; all start at `start(name)`."""

    @property
    def moments(self) -> tuple[str, ...]: ...

    @property
    def scalars(self) -> tuple[str, ...]: ...

    def start(self, name: str) -> float: ...

    def update(self, weights_SP: Tensor, grad_SP: Tensor, state: dict[str, Tensor], columns: Columns) -> None:
        """One step in place. `columns` holds vector hyperparameters as (S, 1), with `lr` after the schedule."""
        ...


class AdamW:
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019, algorithm 2), bias-corrected per slot."""

    moments = ("exp_avg", "exp_avg_sq")
    # Running products of beta, so that bias correction needs no power function.
    scalars = ("beta1_power", "beta2_power")

    def start(self, name: str) -> float:
        return 1.0 if name in self.scalars else 0.0

    def update(self, weights_SP: Tensor, grad_SP: Tensor, state: dict[str, Tensor], columns: Columns) -> None:
        beta1, beta2, lr = columns["beta1"], columns["beta2"], columns["lr"]
        mean, square = state["exp_avg"], state["exp_avg_sq"]
        state["beta1_power"].mul_(beta1.squeeze(1))
        state["beta2_power"].mul_(beta2.squeeze(1))
        correction1 = 1 - state["beta1_power"].unsqueeze(1)
        correction2 = 1 - state["beta2_power"].unsqueeze(1)
        mean.mul_(beta1).add_(grad_SP * (1 - beta1))
        square.mul_(beta2).add_(grad_SP.square() * (1 - beta2))
        scale = (square / correction2).sqrt_().add_(columns["eps"])
        weights_SP.mul_(1 - lr * columns["weight_decay"])
        weights_SP.sub_((mean / scale).mul_(lr / correction1))


class SGD:
    """Gradient descent with heavy-ball momentum and decoupled weight decay."""

    moments = ("velocity",)
    scalars: tuple[str, ...] = ()

    def start(self, name: str) -> float:
        return 0.0

    def update(self, weights_SP: Tensor, grad_SP: Tensor, state: dict[str, Tensor], columns: Columns) -> None:
        velocity = state["velocity"].mul_(columns["momentum"]).add_(grad_SP)
        weights_SP.mul_(1 - columns["lr"] * columns["weight_decay"])
        weights_SP.sub_(velocity * columns["lr"])


OPTIMISERS: dict[str, Optimiser] = {"adamw": AdamW(), "sgd": SGD()}


def norm(rows_SP: Tensor) -> Tensor:
    """Euclidean norm of each row, (S,)."""
    return rows_SP.square().sum(1).sqrt_()


def clip(grad_SP: Tensor, norm_S: Tensor, limit_S1: Tensor) -> None:
    """Scale each row in place to at most `limit_S1` (infinite: never), as torch's clip_grad_norm_ does for one run."""
    grad_SP.mul_((limit_S1 / (norm_S.unsqueeze(1) + 1e-6)).clamp_(max=1.0))


def scheduled_fraction(name: str, steps_S: Tensor, columns: Columns) -> Tensor:
    """The factor (S, 1) on lr for update number `steps_S` (0 is the first), in the dtype of the columns.

    constant: 1. linear, cosine: from 1 at the end of warm-up to `final_fraction` at `horizon`, flat from there. Warm-up
    is linear: (step + 1) / (warmup_steps + 1), so it never trains at 0.
    """
    step = steps_S.unsqueeze(1).to(columns["warmup_steps"].dtype)
    warmup = columns["warmup_steps"]
    rising = ((step + 1) / (warmup + 1)).clamp_(max=1.0)
    if name == "constant":
        return rising
    final = columns["final_fraction"]
    progress = ((step - warmup) / (columns["horizon"] - warmup).clamp(min=1)).clamp_(0.0, 1.0)
    if name == "linear":
        shape = 1 - progress
    else:
        # Sixteen copies keep every slot in the vector part of the loop.
        shape = 0.5 * (1 + torch.cos(torch.pi * progress.expand(-1, 16).contiguous())[:, :1])
    return rising * (final + (1 - final) * shape)
