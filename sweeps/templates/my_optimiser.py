"""An optimiser of my own.

What it must do is listed in the docstring of `pipeline.optimisers.base.Optimiser`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from pipeline.optimisers.base import Optimiser
from pipeline.spec.parameters import vector

if TYPE_CHECKING:
    from torch import Tensor

    from pipeline.optimisers.base import Columns


class MyOptimiser(Optimiser):
    """Gradient descent with Nesterov's momentum: the step looks ahead along the velocity."""

    name = "my_optimiser"
    # State: arrays of the weights' shape, which start at 0. `scalars` names single numbers of each run.
    moments: ClassVar[tuple[str, ...]] = ("velocity",)

    # Hyperparameters beside `lr` and `clip`, which every optimiser has. Each may differ between the runs of a pack.
    momentum: float = vector(0.5, ge=0, lt=1)

    def update(self, weights_SP: Tensor, grad_SP: Tensor, state: Mapping[str, Tensor], columns: Columns) -> None:
        """One step of S runs with P weights each, in place; `columns` are (S, 1), with `lr` after the schedule.

        Only operations that are rounded exactly are used (no powers), so that a run has the same bits in every slot.
        """
        momentum_S1 = columns["momentum"]
        velocity_SP = state["velocity"].mul_(momentum_S1).add_(grad_SP)
        weights_SP.sub_((grad_SP + velocity_SP * momentum_S1) * columns["lr"])
