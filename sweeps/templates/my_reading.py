"""A reading of my own.

What it must do is listed in the docstring of `pipeline.readings.base.Reading`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.models.base import Model
from pipeline.readings.base import Reading, Weights
from pipeline.tasks.base import Task

if TYPE_CHECKING:
    from torch import Tensor


class MyReading(Reading):
    """The Euclidean norm of all weights of a run together."""

    name = "my_reading"

    @classmethod
    def unsuitable(cls, task: Task, model: Model) -> str | None:
        """A sentence on why a model cannot be read so, such as that it has no heads; None if it can."""
        return None

    def __call__(self, weights: Weights) -> dict[str, Tensor]:
        """Metric name -> a number for each of S runs. `weights.parameters[name]` is (S, rows, columns), in float64."""
        import torch

        every_SP = torch.cat([matrix_SRC.flatten(1) for matrix_SRC in weights.parameters.values()], dim=1)
        return {"my_reading.norm": every_SP.norm(dim=1)}
