"""In-context dictionary lookup: our own stand-in for the unpublished task of Zhao (2023, UCB/EECS-2023-96)."""

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

_KEYS, _VALUES, _QUERY = range(3)


class DictionaryLookup(Task):
    """Tokens x1 f(x1) ... xN f(xN) xq under a hidden random map f, drawn afresh for every sequence; target: f(xq).

    Keys are drawn uniformly with replacement from `num_keys`; f maps each to one of `num_values`, independently and
    uniformly; xq is the key of a uniformly drawn pair. Key tokens are 0..K-1, value tokens K..K+V-1.
    """

    name = "dictionary_lookup"

    num_keys: int = static(8, ge=2, le=4096)
    num_values: int = static(8, ge=2, le=4096)
    num_pairs: int = static(8, ge=1, le=4096)

    @classmethod
    def tiny(cls) -> Self:
        """A small instance for tests."""
        return cls(num_keys=4, num_values=4, num_pairs=4)

    def shape(self) -> TaskShape:
        """Alternating keys and labels, then the queried key; target: its label."""
        return TaskShape("tokens", 2 * self.num_pairs + 1, self.num_keys + self.num_values, self.num_values)

    def floor_loss(self) -> float:
        """0: the queried key always occurs in the context."""
        return 0.0

    def chance_loss(self) -> float:
        """Cross entropy (nats) of predicting each label with its frequency in the context.

        The queried pair's label occurs c times among the N labels, so the loss is E[-log(c / N)]. Given that m of the
        other K - 1 keys are mapped to the same value, each other pair bears it with probability (1 + m) / K.
        """
        others, pairs = self.num_keys - 1, self.num_pairs
        total = 0.0
        for num_same in range(others + 1):
            weight = _binomial(others, num_same, 1 / self.num_values)
            share = (1 + num_same) / self.num_keys
            for num_more in range(pairs):
                total -= weight * _binomial(pairs - 1, num_more, share) * math.log((1 + num_more) / pairs)
        return total

    def sample(self, streams: Streams, vectors: Vectors, dtype: str, split: Split) -> Batch:
        """One mapping for each example, its pairs with repetition, and a query among those shown."""
        draws = streams["data"]
        keys_SBN = draws.integers(self.num_keys, self.num_pairs, _KEYS)
        map_SBK = draws.integers(self.num_values, self.num_keys, _VALUES)
        query_SB1 = keys_SBN.gather(2, draws.integers(self.num_pairs, 1, _QUERY))
        tokens_SBL = keys_SBN.new_empty(*keys_SBN.shape[:2], 2 * self.num_pairs + 1)
        tokens_SBL[:, :, 0:-1:2] = keys_SBN
        tokens_SBL[:, :, 1::2] = map_SBK.gather(2, keys_SBN) + self.num_keys
        tokens_SBL[:, :, -1:] = query_SB1
        return Batch(tokens_SBL, map_SBK.gather(2, query_SB1).squeeze(2))

    def losses(self, predictions: Tensor, targets: Tensor) -> Tensor:
        """Cross entropy (nats) of each question, (S, B * Q)."""
        return cross_entropy(predictions, targets)

    def correct(self, predictions: Tensor, targets: Tensor) -> Tensor:
        """1 where the most probable class is the right one, else 0, (S, B * Q)."""
        return is_most_probable(predictions, targets)

    def attention_targets(self, batch: Batch) -> dict[str, Tensor]:
        """previous_token: each label to its key. induction: the query to the labels that follow its key."""
        import torch

        tokens_SBL = batch.inputs
        shape = (*tokens_SBL.shape, tokens_SBL.shape[2])
        previous = tokens_SBL.new_zeros(shape[2:], dtype=torch.bool)
        odd = range(1, shape[2] - 1, 2)
        previous[list(odd), [position - 1 for position in odd]] = True
        induction = tokens_SBL.new_zeros(shape, dtype=torch.bool)
        induction[:, :, -1, 1::2] = tokens_SBL[:, :, 0:-1:2] == tokens_SBL[:, :, -1:]
        return {"previous_token_score": previous.expand(shape), "induction_score": induction}


def _binomial(trials: int, successes: int, probability: float) -> float:
    return math.comb(trials, successes) * probability**successes * (1 - probability) ** (trials - successes)
