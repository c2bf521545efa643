"""A model of my own.

What its module may do is listed in the docstring of `pipeline.models.torch_module.TorchModule`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.models.torch_module import TorchModule
from pipeline.spec.parameters import static
from pipeline.tasks.base import TaskShape

if TYPE_CHECKING:
    from torch import nn


class MyModel(TorchModule):
    """A network with one hidden layer on the embeddings of all positions."""

    name = "my_model"
    # Kinds of input: "tokens" (integers), "vectors", or both.
    accepts = ("tokens",)

    # Parameters, for sweep files. They fix shapes, so they are `static`: shared by the runs of a pack.
    width: int = static(16, ge=1, le=4096)

    def module(self, task_shape: TaskShape) -> nn.Module:
        """An ordinary module for one run: from tokens (B, L) to logits (B, num_outputs).

        A run starts from its initial weights after `torch.manual_seed(init_seed)`. What it
        draws while it trains, as dropout does, comes from the run's own stream.
        """
        from torch import nn

        return nn.Sequential(
            nn.Embedding(task_shape.size, self.width),
            nn.Flatten(),
            nn.Linear(task_shape.length * self.width, self.width),
            nn.GELU(),
            nn.Linear(self.width, task_shape.num_outputs),
        )
