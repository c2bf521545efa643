"""A repeated random sequence, used to measure induction heads (Olsson et al. 2022, arXiv 2209.11895)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from pipeline.spec.parameters import static
from pipeline.tasks._classes import cross_entropy, is_most_probable
from pipeline.tasks.base import Batch, Task, TaskShape

if TYPE_CHECKING:
    from typing import Self

    from torch import Tensor

    from pipeline.tasks.base import Split, Streams, Vectors

_TOKENS = 0


class RepeatedSequence(Task):
    """`period` tokens drawn uniformly and independently from `num_tokens`, then the same again: L = 2 * period.

    Target at every position t: the token after it, x[(t + 1) mod period]. It can be predicted from t = period - 1 on,
    since the period is fixed; before, it is independent of the context. Accuracy is over all positions, so its best is
    near (period + 1) / L.

    The period being the same in every example, one layer can attend period - 1 positions back by position alone,
    without a previous-token head: a high induction score shows where attention goes, not by which mechanism.
    """

    name = "repeated_sequence"

    num_tokens: int = static(32, ge=2, le=65536)
    period: int = static(16, ge=2, le=4096)

    @classmethod
    def tiny(cls) -> Self:
        """A small instance for tests."""
        return cls(num_tokens=5, period=3)

    def shape(self) -> TaskShape:
        """Two periods of tokens; target at every position: the next token."""
        length = 2 * self.period
        return TaskShape("tokens", length, self.num_tokens, self.num_tokens, length)

    def floor_loss(self) -> float:
        """Cross entropy (nats) of log V at the period - 1 positions before the first known token, 0 elsewhere."""
        return math.log(self.num_tokens) * (self.period - 1) / (2 * self.period)

    def chance_loss(self) -> float:
        """Cross entropy (nats) of the uniform prediction."""
        return math.log(self.num_tokens)

    def sample(self, streams: Streams, vectors: Vectors, dtype: str, split: Split) -> Batch:
        """One period for each example, twice in a row."""
        period_SBP = streams["data"].integers(self.num_tokens, self.period, _TOKENS)
        tokens_SBL = period_SBP.repeat(1, 1, 2)
        return Batch(tokens_SBL, tokens_SBL.roll(-1, 2).flatten(1))

    def losses(self, predictions: Tensor, targets: Tensor) -> Tensor:
        """Cross entropy (nats) of each question, (S, B * Q)."""
        return cross_entropy(predictions, targets)

    def correct(self, predictions: Tensor, targets: Tensor) -> Tensor:
        """1 where the most probable class is the right one, else 0, (S, B * Q)."""
        return is_most_probable(predictions, targets)

    def attention_targets(self, batch: Batch) -> dict[str, Tensor]:
        """previous_token: every position but the first attends to the one before.

        induction: every position of the second period attends to the token that followed its own in the first period.
        """
        import torch

        shape = (*batch.inputs.shape, batch.inputs.shape[2])
        key = torch.arange(shape[2], device=batch.inputs.device)
        query = key.unsqueeze(1)
        induction = (query >= self.period) & (key == query - self.period + 1)
        return {
            "previous_token_score": (key == query - 1).expand(shape),
            "induction_score": induction.expand(shape),
        }
