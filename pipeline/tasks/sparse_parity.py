"""Sparse parity: Barak et al. (2022, arXiv 2207.08799), with bits as tokens."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from pydantic import model_validator

from pipeline.spec.parameters import static
from pipeline.tasks._classes import cross_entropy, is_most_probable
from pipeline.tasks.base import Batch, Task, TaskShape

if TYPE_CHECKING:
    from typing import Self

    from torch import Tensor

    from pipeline.tasks.base import Split, Streams, Vectors

_BITS = 0
_QUERY_TOKEN = 2


class SparseParity(Task):
    """`num_bits` tokens 0 or 1, drawn uniformly and independently, then token 2; target: the parity of the relevant.

    These are the first `num_relevant` positions, in every example. The answer is asked at a token of its own, which
    attends to all bits alike; seen from there, which positions are relevant makes no difference in distribution, since
    the embeddings of positions start independent and alike.
    """

    name = "sparse_parity"

    num_bits: int = static(10, ge=1, le=4096)
    num_relevant: int = static(2, ge=1, le=4096)

    @model_validator(mode="after")
    def _relevant_bits_exist(self) -> SparseParity:
        if self.num_relevant > self.num_bits:
            raise ValueError(f"num_relevant ({self.num_relevant}) must be at most num_bits ({self.num_bits})")
        return self

    @classmethod
    def tiny(cls) -> Self:
        """A small instance for tests."""
        return cls(num_bits=5, num_relevant=2)

    def shape(self) -> TaskShape:
        """The bits, then the token that asks; target: the parity."""
        return TaskShape("tokens", self.num_bits + 1, 3, 2)

    def floor_loss(self) -> float:
        """0: the relevant bits determine the answer."""
        return 0.0

    def chance_loss(self) -> float:
        """Cross entropy (nats) of the uniform prediction, which is best without all of the relevant bits: log 2."""
        return math.log(2)

    def sample(self, streams: Streams, vectors: Vectors, dtype: str, split: Split) -> Batch:
        """Independent bits for each example."""
        import torch

        bits_SBN = streams["data"].integers(2, self.num_bits, _BITS)
        tokens_SBL = torch.nn.functional.pad(bits_SBN, (0, 1), value=_QUERY_TOKEN)
        return Batch(tokens_SBL, bits_SBN[:, :, : self.num_relevant].sum(2) % 2)

    def losses(self, predictions: Tensor, targets: Tensor) -> Tensor:
        """Cross entropy (nats) of each question, (S, B * Q)."""
        return cross_entropy(predictions, targets)

    def correct(self, predictions: Tensor, targets: Tensor) -> Tensor:
        """1 where the most probable class is the right one, else 0, (S, B * Q)."""
        return is_most_probable(predictions, targets)

    def attention_targets(self, batch: Batch) -> dict[str, Tensor]:
        """relevant: the last token attends to the relevant bits."""
        import torch

        shape = (*batch.inputs.shape, batch.inputs.shape[2])
        relevant = batch.inputs.new_zeros(shape[2:], dtype=torch.bool)
        relevant[-1, : self.num_relevant] = True
        return {"relevant_score": relevant.expand(shape)}
