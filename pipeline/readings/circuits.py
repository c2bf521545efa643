"""Circuits: how the matrices of embeddings, positions, heads and unembedding compose."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pipeline.models.base import Model
from pipeline.readings.base import Reading, Weights
from pipeline.tasks.base import Task

if TYPE_CHECKING:
    from torch import Tensor


class Circuits(Reading):
    """To be replaced: the norm of every parameter, in logs."""

    name: ClassVar[str] = "circuits"

    @classmethod
    def unsuitable(cls, task: Task, model: Model) -> str | None:
        """None: every model has parameters."""
        return None

    def __call__(self, weights: Weights) -> dict[str, Tensor]:
        """`circuits.log_norm_PARAMETER` -> (S,)."""
        return {
            f"{self.name}.log_norm_{name}": matrix.flatten(1).square().sum(1).log() / 2
            for name, matrix in weights.parameters.items()
        }
