"""Optimisers whose hyperparameters differ by parameter, or whose weight decay is a part of the gradient."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import PrivateAttr

from pipeline.optimisers.adamw import AdamW
from pipeline.optimisers.base import Optimiser
from pipeline.optimisers.sgd import SGD
from pipeline.spec.parameters import static, vector

if TYPE_CHECKING:
    from typing import Self

    from torch import Tensor

    from pipeline.optimisers.base import Columns


class GroupedOptimiser(Optimiser):
    """A registered optimiser with hyperparameters of each parameter's own, as of groups of torch.optim.

    `by_parameter` maps the name of a parameter to its `lr`, which the run's `lr` multiplies, and to what else `inner`
    takes. With `adds_decay` the decay, weight_decay times the weight, is added to the gradient and so enters the
    moments, as torch.optim.Adam and SGD have it; otherwise it is decoupled. Clipping comes before. What is
    `common` may not differ, since it is one number per slot.
    """

    inner: ClassVar[type[Optimiser]]
    common: ClassVar[tuple[str, ...]] = ()

    lr: float = vector(1.0, gt=0)
    by_parameter: dict[str, dict[str, float]] = static()
    adds_decay: bool = static(False)

    _spans: Mapping[str, slice] = PrivateAttr(default_factory=dict)
    _rows: dict[Any, dict[str, Tensor]] = PrivateAttr(default_factory=dict)

    def in_rows(self, spans: Mapping[str, slice]) -> Self:
        """A copy for rows in which these columns hold the parameters."""
        copy = self.model_copy()
        copy._spans, copy._rows = spans, {}
        return copy

    def update(self, weights_SP: Tensor, grad_SP: Tensor, state: Mapping[str, Tensor], columns: Columns) -> None:
        """That of `inner`, each parameter under its own hyperparameters."""
        rows = self._rows_like(weights_SP)
        own = {**columns, **rows, "lr": columns["lr"] * rows["lr"]}
        own |= {name: rows[name][:, :1].expand_as(columns["lr"]) for name in self.common}
        if self.adds_decay:
            grad_SP = grad_SP + weights_SP * rows["weight_decay"]
            own["weight_decay"] = columns["lr"].new_zeros(1, 1)
        self._inner.update(weights_SP, grad_SP, state, own)

    @property
    def _inner(self) -> Optimiser:
        return self.inner.model_validate({**next(iter(self.by_parameter.values())), "clip": self.clip})

    def _rows_like(self, weights_SP: Tensor) -> dict[str, Tensor]:
        """Hyperparameter -> (1, P), as of the first parameter wherever none of these stands."""
        import torch

        key = (weights_SP.dtype, weights_SP.device, weights_SP.shape[1])
        if key not in self._rows:
            first = next(iter(self.by_parameter.values()))
            found = {name: torch.full_like(weights_SP[:1], value) for name, value in first.items()}
            for parameter, values in self.by_parameter.items():
                for name, value in values.items():
                    found[name][:, self._spans[parameter]] = value
            self._rows[key] = found
        return self._rows[key]


class GroupedAdamW(GroupedOptimiser):
    """AdamW by parameter, or Adam where the decay is added to the gradient."""

    name = "grouped_adamw"
    inner = AdamW
    moments: ClassVar[tuple[str, ...]] = AdamW.moments
    scalars: ClassVar[Mapping[str, float]] = AdamW.scalars
    common: ClassVar[tuple[str, ...]] = ("beta1", "beta2")


class GroupedSGD(GroupedOptimiser):
    """SGD by parameter."""

    name = "grouped_sgd"
    inner = SGD
    moments: ClassVar[tuple[str, ...]] = SGD.moments


def grouped_optimiser(
    optimiser: str,
    by_parameter: Mapping[str, Mapping[str, float]],
    adds_decay: bool,
    lr: float,
    clip: float | None,
) -> GroupedOptimiser:
    """The grouped form of the registered optimiser of this name."""
    made = {"adamw": GroupedAdamW, "sgd": GroupedSGD}[optimiser]
    return made.model_validate({"by_parameter": by_parameter, "adds_decay": adds_decay, "lr": lr, "clip": clip})
