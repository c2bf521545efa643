"""Data of my own, and a network for them.

What the arrays may be is listed by `seedbed list dataset`. Arrays in a file need no function: in the sweep file,
`file: my.npz` takes the place of `load`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pipeline.arrays import Array
from pipeline.models.torch_module import TorchModule
from pipeline.spec.parameters import static
from pipeline.tasks.base import TaskShape

if TYPE_CHECKING:
    from torch import nn


def arrays() -> dict[str, Array]:
    """`inputs`, real numbers (N, L), (N, L, D) or (N, rows, columns), and `targets` (N,), classes counted from 0.

    Here 1,000 points on two half circles, and on which of them each lies. Some of the items are held out of training by
    a hash of their numbers, unless an array `split` says which: 0 for training, 1 for held out.
    """
    draws = np.random.default_rng(0)
    side, angle = np.arange(1000) % 2, np.pi * draws.random(1000)
    points = np.stack([np.cos(angle), np.sin(angle)], 1) * (1 - 2 * side[:, None]) + side[:, None] * [1, 0.5]
    return {"inputs": points + 0.1 * draws.standard_normal((1000, 2)), "targets": side}


class MyDataNet(TorchModule):
    """A network with one hidden layer on all numbers of an item."""

    name = "my_data"
    # Kinds of input: "vectors" (real numbers), "tokens" (integers), or both.
    accepts = ("vectors",)

    # Parameters, for sweep files. They fix shapes, so they are `static`: shared by the runs of a pack.
    width: int = static(16, ge=1, le=4096)

    def module(self, task_shape: TaskShape) -> nn.Module:
        """An ordinary module for one run: from vectors (B, length, size) to logits (B, num_outputs).

        Numbers (N, L) come as (B, L, 1), images (N, rows, columns) as (B, rows, columns).
        """
        from torch import nn

        return nn.Sequential(
            nn.Flatten(),
            nn.Linear(task_shape.length * task_shape.size, self.width),
            nn.ReLU(),
            nn.Linear(self.width, task_shape.num_outputs),
        )
