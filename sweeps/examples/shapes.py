"""One-dimensional shapes made by a function, after MNIST-1D (Greydanus and Kobak, arXiv 2011.14439), and an MLP."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from pipeline.arrays import Array, Floats
from pipeline.models.torch_module import TorchModule
from pipeline.numerics.streams import Draws
from pipeline.spec.parameters import static
from pipeline.tasks.base import TaskShape

_NUM_ITEMS, _LENGTH, _NUM_POINTS = 4000, 40, 12
# Each class has a template of twelve heights, as theirs do; these are drawn anew, not taken from their code.
_NUM_CLASSES = 10


def noisy_shapes() -> tuple[Array, Array]:
    """`inputs` (4000, 40) and `targets` (4000,): ten templates, each shifted, scaled, tilted and made noisy.

    As in the paper a template is padded, moved to a random place, multiplied by 1 with a standard deviation, and given
    a slope and white noise. The words of the generator are the same on every computer.
    """
    words = np.random.Philox(key=1).random_raw(_NUM_CLASSES * _NUM_POINTS + _NUM_ITEMS * (3 + _LENGTH))
    unit = (words >> np.uint64(40)).astype(np.float64) / 2.0**24
    templates = unit[: _NUM_CLASSES * _NUM_POINTS].reshape(_NUM_CLASSES, _NUM_POINTS)
    draws = unit[_NUM_CLASSES * _NUM_POINTS :].reshape(_NUM_ITEMS, 3 + _LENGTH)
    targets = np.arange(_NUM_ITEMS) % _NUM_CLASSES
    inputs = [_shape(templates[target], draw) for target, draw in zip(targets, draws, strict=True)]
    return np.stack(inputs).astype(np.float32), targets


def _shape(template: Floats, draw: Floats) -> Floats:
    """(40,): a template stretched to 24 places, at a place, of a height, with a slope and noise by `draw` (43,)."""
    width = 24
    stretched = np.interp(np.linspace(0, _NUM_POINTS - 1, width), np.arange(_NUM_POINTS), template - template.mean())
    wave = np.zeros(_LENGTH)
    first = int(draw[0] * (_LENGTH - width + 1))
    wave[first : first + width] = stretched * (0.7 + 0.6 * draw[1])
    tilt = (draw[2] - 0.5) * np.linspace(-0.5, 0.5, _LENGTH)
    noise = 0.4 * (draw[3:] - 0.5)
    return np.asarray(wave + tilt + noise, np.float64)


def rolled(inputs: Tensor, draws: Draws) -> Tensor:
    """Augmentation: every input (S, B, L, D) rolled by -2 to 2 places, as its example draws."""
    places = draws.integers(5, 1, 0).unsqueeze(-1) - 2
    index = (torch.arange(inputs.shape[2], device=inputs.device).view(1, 1, -1, 1) - places) % inputs.shape[2]
    return inputs.gather(2, index.expand_as(inputs))


class Perceptron(TorchModule):
    """One hidden layer on all positions."""

    name = "perceptron"
    accepts: ClassVar[tuple[str, ...]] = ("vectors",)

    width: int = static(64, ge=1)

    def module(self, task_shape: TaskShape) -> nn.Module:
        """The network of one run."""
        return nn.Sequential(
            nn.Flatten(),
            nn.Linear(task_shape.length * task_shape.size, self.width),
            nn.ReLU(),
            nn.Linear(self.width, task_shape.num_outputs),
        )
