"""In-context regression on sine waves: von Oswald et al. (2023, arXiv 2212.07677), section 4 on nonlinear functions."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from pydantic import model_validator

from pipeline.spec.parameters import static
from pipeline.tasks.base import Batch, Task, TaskShape

if TYPE_CHECKING:
    from typing import Self

    from torch import Tensor

    from pipeline.tasks.base import Split, Streams, Vectors

_INPUTS, _WAVE = range(2)


class SineRegression(Task):
    """Tokens (x_j, y_j) with y = a sin(x + rho) for j = 1..N, then the query (x_q, 0); target: y of x_q.

    x ~ U(-b, b), b = `input_range`, rho ~ U(0, pi), a ~ U(`least_amplitude`, `most_amplitude`): the public code has
    U(0.1, 0.5) where the text says U(0.1, 5), and is followed. Loss: half the squared error.
    """

    name = "sine_regression"

    num_pairs: int = static(10, ge=1, le=4096)
    input_range: float = static(5.0, gt=0)
    least_amplitude: float = static(0.1, ge=0)
    most_amplitude: float = static(0.5, gt=0)

    @model_validator(mode="after")
    def _amplitudes_increase(self) -> SineRegression:
        if self.least_amplitude >= self.most_amplitude:
            raise ValueError(f"least_amplitude ({self.least_amplitude}) must be below {self.most_amplitude}")
        return self

    @classmethod
    def tiny(cls) -> Self:
        """A small instance for tests."""
        return cls(num_pairs=5)

    def shape(self) -> TaskShape:
        """Pairs (x, y) as vectors, then the query; target: its y."""
        return TaskShape("vectors", self.num_pairs + 1, 2, 1)

    def floor_loss(self) -> float:
        """0: without noise, two or three pairs determine amplitude and phase."""
        return 0.0

    def chance_loss(self) -> float:
        """Expected loss of E[y | x_q] = E[a] (2 / pi) cos x_q, the best predictor that ignores the context."""
        low, high, width = self.least_amplitude, self.most_amplitude, self.input_range
        mean, square = (low + high) / 2, (low**2 + low * high + high**2) / 3
        cos_square = 0.5 * (1 + math.sin(2 * width) / (2 * width))
        return 0.5 * (0.5 * square - (mean * 2 / math.pi) ** 2 * cos_square)

    def sample(self, streams: Streams, vectors: Vectors, dtype: str, split: Split) -> Batch:
        """One wave for each example, and points of it."""
        import torch

        draws = streams["data"]
        # In float64, in which the sine of an angle does not depend on its position in the array.
        x_SBL = (2 * draws.uniform(self.num_pairs + 1, _INPUTS, torch.float64) - 1) * self.input_range
        wave_SB2 = draws.uniform(2, _WAVE, torch.float64)
        amplitude_SB1 = self.least_amplitude + (self.most_amplitude - self.least_amplitude) * wave_SB2[..., :1]
        y_SBL = amplitude_SB1 * torch.sin(x_SBL + math.pi * wave_SB2[..., 1:])
        tokens_SBL2 = torch.stack([x_SBL, y_SBL], dim=-1).to(getattr(torch, dtype))
        targets = tokens_SBL2[:, :, -1, 1].clone()
        tokens_SBL2[:, :, -1, 1] = 0.0
        return Batch(tokens_SBL2, targets)

    def losses(self, predictions: Tensor, targets: Tensor) -> Tensor:
        """Half the squared error of each question, (S, B)."""
        return 0.5 * (predictions.squeeze(-1) - targets).square()
