"""What a model is: named parameters with their init law, and a forward pass written for all slots at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from pipeline.parameters import Named, vector
from pipeline.registry import Registry
from pipeline.tasks.base import Interface

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class ParameterSpec:
    """One parameter of a model, a matrix of `rows` x `columns`.

    Entry (i, j) starts as `std` times a draw of stream init/<name> at (i, j): "normal", or "truncated_normal" (within
    two standard deviations, not rescaled).
    """

    name: str
    rows: int
    columns: int
    std: float
    law: str = "normal"


class Output(NamedTuple):
    """`predictions`: (S, B, num_outputs) at the last position. `attention`: per layer (S, B, H, L, L), if asked for."""

    predictions: Tensor
    attention: tuple[Tensor, ...] = ()


class Model(Named):
    """A function of (parameters, inputs) over S slots. Torch is imported inside methods only.

    Contract:
    1. `accepts` names the kinds of `Interface` that it can be built for.
    2. `parameter_specs` names every parameter once, with finite positive shapes.
    3. `forward` is batched over slots: slot s reads parameters[name][s] and inputs[s] alone, bit for bit.
    4. Attention rows, where a model has softmax attention, are probability distributions over keys.
    5. It is differentiable in every parameter.
    6. `predict` gives the predictions of `forward`, computing only what they depend on: equal to 1e-12 in float64,
       gradients too.
    """

    accepts: ClassVar[tuple[str, ...]]
    has_softmax: ClassVar[bool] = True

    init_scale: float = vector(1.0, gt=0)

    def parameter_specs(self, interface: Interface) -> tuple[ParameterSpec, ...]:
        raise NotImplementedError

    def forward(self, parameters: Mapping[str, Tensor], inputs: Tensor, with_attention: bool = False) -> Output:
        """`parameters[name]` is (S, rows, columns)."""
        raise NotImplementedError

    def predict(self, parameters: Mapping[str, Tensor], inputs: Tensor) -> Tensor:
        """(S, B, num_outputs): what training and evaluation run. `forward` is the reference."""
        return self.forward(parameters, inputs).predictions


MODELS: Registry[Model] = Registry("pipeline.models", Model)
