"""Gradients: their sizes, noise and curvature on the statistics set, and what a few steps along them reach."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pipeline.models.base import Model
from pipeline.readings.base import Reading, Weights
from pipeline.tasks.base import Task

if TYPE_CHECKING:
    from torch import Tensor


class Gradients(Reading):
    """What the loss's gradient says on the first 32 items of the statistics set, of any model on any task.

    - `loss`; `norm`: log ||g|| of the mean gradient g, and `norm.PARAMETER` of each parameter's part of it; `ratio
      .PARAMETER`: that less the log norm of the parameter; `pull.PARAMETER`: the cosine of -g and the parameter, which
      is positive where its norm will grow.
    - `noise_scale`: log tr(Sigma) / ||g||^2, Sigma the covariance of the gradients of single items, estimated from four
      groups of items (McCandlish et al. 2018, eq. 2.9; but ||g||^2 is that of these items, noise included).
    - `sharpness`: g^T H g / g^T g, H the Hessian, by a finite difference of gradients along g.
    - `alignment`: ||J^T r||^2 / (||r||^2 tr(J J^T) / n), r = dL/dpredictions over the n of the items, J their Jacobian
      by the parameters: how much of the tangent kernel lies along the targets, relative to a direction at random. The
      trace is estimated from two patterns of signs.
    - `drop1`, `drop4`: by how much the log of the loss falls in one step and in four along -g, each parameter moving by
      5% of its norm in all.

    Norms are Frobenius norms, which do not depend on the order of heads nor on an orthonormal basis inside them.
    """

    name: ClassVar[str] = "gradients"

    @classmethod
    def unsuitable(cls, task: Task, model: Model) -> str | None:
        """None for every model that gives predictions, which are differentiable."""
        return None if model.gives_predictions else f"model {model.name} gives losses alone"

    def __call__(self, weights: Weights) -> dict[str, Tensor]:
        """`gradients.NUMBER` -> (S,) float64."""
        from pipeline.readings._company import in_company
        from pipeline.readings._descent import gradient_numbers

        return in_company(self.name, gradient_numbers, weights)
