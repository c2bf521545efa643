"""Gradient descent with momentum."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from pipeline.optimisers.base import Optimiser
from pipeline.spec.parameters import vector

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from pipeline.optimisers.base import Columns


class SGD(Optimiser):
    """Gradient descent with heavy-ball momentum and decoupled weight decay."""

    name = "sgd"
    moments: ClassVar[tuple[str, ...]] = ("velocity",)

    momentum: float = vector(0.0, ge=0, lt=1)
    weight_decay: float = vector(0.0, ge=0)

    def update(self, weights_SP: Tensor, grad_SP: Tensor, state: Mapping[str, Tensor], columns: Columns) -> None:
        """Velocity, weight decay and the step, in place."""
        velocity = state["velocity"].mul_(columns["momentum"]).add_(grad_SP)
        weights_SP.mul_(1 - columns["lr"] * columns["weight_decay"])
        weights_SP.sub_(velocity * columns["lr"])

    def counterpart(self, weights: Tensor) -> torch.optim.Optimizer | None:
        """None with weight decay, which torch adds to the gradient and so to the momentum."""
        import torch

        return None if self.weight_decay else torch.optim.SGD([weights], lr=self.lr, momentum=self.momentum)
