"""In-context dictionary lookup with one token for each pair, which a single layer of attention can solve."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.spec.parameters import static
from pipeline.tasks.base import Batch, Task, TaskShape
from pipeline.tasks.dictionary_lookup import DictionaryLookup

if TYPE_CHECKING:
    from typing import Self

    from torch import Tensor

    from pipeline.tasks.base import Split, Streams, Vectors


class PairLookup(Task):
    """Tokens (x1, f(x1)) ... (xN, f(xN)) xq under a hidden random map f, drawn for every sequence; target: f(xq).

    Sequences are those of `dictionary_lookup` under the same seeds, but a key and its value are one token, so that no
    previous-token head is needed. The query is one of the key tokens 0..K-1; the pair (x, v) is K + x V + v.
    """

    name = "pair_lookup"

    num_keys: int = static(8, ge=2, le=256)
    num_values: int = static(8, ge=2, le=256)
    num_pairs: int = static(8, ge=1, le=4096)

    @property
    def apart(self) -> DictionaryLookup:
        """The same task with keys and values in tokens of their own."""
        return DictionaryLookup(num_keys=self.num_keys, num_values=self.num_values, num_pairs=self.num_pairs)

    @classmethod
    def tiny(cls) -> Self:
        """A small instance for tests."""
        return cls(num_keys=4, num_values=3, num_pairs=5)

    def shape(self) -> TaskShape:
        """A token for each pair, then the queried key; target: its label."""
        num_tokens = self.num_keys * (1 + self.num_values)
        return TaskShape("tokens", self.num_pairs + 1, num_tokens, self.num_values)

    def floor_loss(self) -> float:
        """0: the queried key always occurs in the context."""
        return self.apart.floor_loss()

    def chance_loss(self) -> float:
        """Cross entropy (nats) of predicting each label with its frequency in the context."""
        return self.apart.chance_loss()

    def sample(self, streams: Streams, vectors: Vectors, dtype: str, split: Split) -> Batch:
        """The examples of `apart`, with key and label in one token."""
        import torch

        tokens_SBL, targets = self.apart.sample(streams, vectors, dtype, split)
        # Value tokens of `apart` begin at K, so that K + x V + v is x V + (K + v).
        pairs_SBN = tokens_SBL[:, :, 0:-1:2] * self.num_values + tokens_SBL[:, :, 1::2]
        return Batch(torch.cat([pairs_SBN, tokens_SBL[:, :, -1:]], 2), targets)

    def losses(self, predictions: Tensor, targets: Tensor) -> Tensor:
        """Cross entropy (nats) of each question, (S, B * Q)."""
        return self.apart.losses(predictions, targets)

    def correct(self, predictions: Tensor, targets: Tensor) -> Tensor:
        """1 where the most probable class is the right one, else 0, (S, B * Q)."""
        return self.apart.correct(predictions, targets)

    def attention_targets(self, batch: Batch) -> dict[str, Tensor]:
        """lookup: the query attends to the pairs that have its key."""
        import torch

        tokens_SBL = batch.inputs
        mask = tokens_SBL.new_zeros((*tokens_SBL.shape, tokens_SBL.shape[2]), dtype=torch.bool)
        keys_SBN = (tokens_SBL[:, :, :-1] - self.num_keys) // self.num_values
        mask[:, :, -1, :-1] = keys_SBN == tokens_SBL[:, :, -1:]
        return {"lookup_score": mask}
