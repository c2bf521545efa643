"""Adam with decoupled weight decay: Loshchilov and Hutter (2019, arXiv 1711.05101)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from pipeline.optimisers.base import Optimiser
from pipeline.spec.parameters import vector

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from pipeline.optimisers.base import Columns


class AdamW(Optimiser):
    """Adam with decoupled weight decay (algorithm 2 of the paper), bias-corrected per slot."""

    name = "adamw"
    moments: ClassVar[tuple[str, ...]] = ("exp_avg", "exp_avg_sq")
    # Running products of beta, so that bias correction needs no power function.
    scalars: ClassVar[Mapping[str, float]] = {"beta1_power": 1.0, "beta2_power": 1.0}

    beta1: float = vector(0.9, ge=0, lt=1)
    beta2: float = vector(0.999, ge=0, lt=1)
    eps: float = vector(1e-8, gt=0)
    weight_decay: float = vector(0.0, ge=0)

    def update(self, weights_SP: Tensor, grad_SP: Tensor, state: Mapping[str, Tensor], columns: Columns) -> None:
        """Moments, their bias correction, weight decay and the step, in place."""
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

    def counterpart(self, weights: Tensor) -> torch.optim.Optimizer:
        """torch.optim.AdamW."""
        import torch

        betas = (self.beta1, self.beta2)
        return torch.optim.AdamW([weights], lr=self.lr, betas=betas, eps=self.eps, weight_decay=self.weight_decay)
