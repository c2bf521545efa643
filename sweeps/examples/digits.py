"""Handwritten digits: the 1,797 images of 8 x 8 pixels of scikit-learn, and a small convolutional network."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from sklearn.datasets import load_digits
from torch import nn

from pipeline.arrays import Array
from pipeline.models.torch_module import TorchModule
from pipeline.spec.parameters import static
from pipeline.tasks.base import TaskShape


def images() -> dict[str, Array]:
    """`inputs` (1797, 8, 8), grey from 0 to 1, and `targets` (1797,), the digits."""
    found = load_digits()
    return {"inputs": found.images.astype(np.float32) / 16, "targets": found.target.astype(np.int64)}


class SmallConvnet(TorchModule):
    """Two convolutions of 3 x 3, each halving the image, and a linear readout, on images (B, H, W)."""

    name = "small_convnet"
    accepts: ClassVar[tuple[str, ...]] = ("vectors",)

    channels: int = static(8, ge=1)

    def module(self, task_shape: TaskShape) -> nn.Module:
        """The network of one run, for images of `length` rows and `size` columns."""
        height, width = -(-task_shape.length // 4), -(-task_shape.size // 4)
        return nn.Sequential(
            nn.Unflatten(1, (1, task_shape.length)),
            nn.Conv2d(1, self.channels, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(self.channels, 2 * self.channels, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(2 * self.channels * height * width, task_shape.num_outputs),
        )
