"""In-context lookup in two hops: the value that one dictionary gives to what another gives to the queried key."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from pipeline.spec.parameters import static
from pipeline.tasks._classes import cross_entropy, is_most_probable
from pipeline.tasks.base import Batch, Task, TaskShape

if TYPE_CHECKING:
    from typing import Self

    from torch import Tensor

    from pipeline.numerics.streams import Draws
    from pipeline.tasks.base import Split, Streams, Vectors

_KEYS, _MIDDLES, _ORDER, _VALUES, _QUERY, _KIND = range(6)
# Ties of random words are broken by their place, in torch and in C++; with 2**31 words they are rare.
_NUM_WORDS = 2**31


class TwoHopLookup(Task):
    """Tokens x1 f(x1) ... xK f(xK), m1 g(m1) ... mK g(mK), xq, under hidden random maps f and g; target: g(f(xq)).

    Both maps are drawn for every sequence: f is a bijection from the K keys to K middles, and g maps each middle to one
    of `num_values`, independently and uniformly. Each dictionary shows all its pairs once, in an order of its own, and
    xq is a uniformly drawn key. Key tokens are 0..K-1, middles K..2K-1, values 2K..2K+V-1. By attention alone it takes
    three layers: one to join each pair in one token, and one for each hop.

    In `one_hop_share` of the examples the query is f(xq), whose value a single hop finds. Without such examples small
    models stay at chance for long, since neither hop lowers the loss before the other is there.
    """

    name = "two_hop_lookup"

    num_keys: int = static(6, ge=2, le=1024)
    num_values: int = static(6, ge=2, le=1024)
    one_hop_share: float = static(0.5, ge=0, lt=1)

    @classmethod
    def tiny(cls) -> Self:
        """A small instance for tests."""
        return cls(num_keys=3, num_values=4)

    def shape(self) -> TaskShape:
        """Pairs of the first dictionary, pairs of the second, then the queried key; target: its value."""
        return TaskShape("tokens", 4 * self.num_keys + 1, 2 * self.num_keys + self.num_values, self.num_values)

    def _num_one_hop_words(self) -> int:
        """How many of the random words mean one hop."""
        return round(self.one_hop_share * _NUM_WORDS)

    def floor_loss(self) -> float:
        """0: both dictionaries are shown whole."""
        return 0.0

    def chance_loss(self) -> float:
        """Cross entropy (nats) of predicting each value with its frequency in the context.

        The answer occurs 1 + n times among the K values, n ~ Binomial(K - 1, 1 / V), so the loss is
        E[-log((1 + n) / K)].
        """
        others, share = self.num_keys - 1, 1 / self.num_values
        return -sum(
            math.comb(others, n) * share**n * (1 - share) ** (others - n) * math.log((1 + n) / self.num_keys)
            for n in range(self.num_keys)
        )

    def sample(self, streams: Streams, vectors: Vectors, dtype: str, split: Split) -> Batch:
        """Two dictionaries for each example, each in an order of its own, and a query in one hop or two."""
        draws, num_keys = streams["data"], self.num_keys
        keys_SBK, middles_SBK, order_SBK = (_permutation(draws, num_keys, lane) for lane in (_KEYS, _MIDDLES, _ORDER))
        map_SBK = draws.integers(self.num_values, num_keys, _VALUES)
        place_SB1 = draws.integers(num_keys, 1, _QUERY)
        tokens_SBL = keys_SBK.new_empty(*keys_SBK.shape[:2], 4 * num_keys + 1)
        tokens_SBL[:, :, 0 : 2 * num_keys : 2] = keys_SBK
        tokens_SBL[:, :, 1 : 2 * num_keys : 2] = middles_SBK + num_keys
        tokens_SBL[:, :, 2 * num_keys : -1 : 2] = order_SBK + num_keys
        tokens_SBL[:, :, 2 * num_keys + 1 : -1 : 2] = map_SBK.gather(2, order_SBK) + 2 * num_keys
        middle_SB1 = middles_SBK.gather(2, place_SB1)
        is_one_hop_SB1 = draws.integers(_NUM_WORDS, 1, _KIND) < self._num_one_hop_words()
        tokens_SBL[:, :, -1:] = (middle_SB1 + num_keys).where(is_one_hop_SB1, keys_SBK.gather(2, place_SB1))
        return Batch(tokens_SBL, map_SBK.gather(2, middle_SB1).squeeze(2))

    def losses(self, predictions: Tensor, targets: Tensor) -> Tensor:
        """Cross entropy (nats) of each question, (S, B * Q)."""
        return cross_entropy(predictions, targets)

    def correct(self, predictions: Tensor, targets: Tensor) -> Tensor:
        """1 where the most probable class is the right one, else 0, (S, B * Q)."""
        return is_most_probable(predictions, targets)

    def attention_targets(self, batch: Batch) -> dict[str, Tensor]:
        """previous_token: each middle of the first dictionary to its key, and each value to its middle.

        first_hop: a queried key to the middle that follows it. second_hop: any query to the value that follows that
        middle, or the queried one.
        """
        import torch

        tokens_SBL, half = batch.inputs, 2 * self.num_keys
        shape = (*tokens_SBL.shape, tokens_SBL.shape[2])
        previous, first, second = (tokens_SBL.new_zeros(shape, dtype=torch.bool) for _ in range(3))
        odd = torch.arange(1, shape[2] - 1, 2, device=tokens_SBL.device)
        previous[:, :, odd, odd - 1] = True
        first[:, :, -1, 1:half:2] = tokens_SBL[:, :, 0:half:2] == tokens_SBL[:, :, -1:]
        is_key_SB1 = tokens_SBL[:, :, -1:] < self.num_keys
        middle_SB1 = (tokens_SBL * first[:, :, -1]).sum(-1, keepdim=True).where(is_key_SB1, tokens_SBL[:, :, -1:])
        second[:, :, -1, half + 1 :: 2] = tokens_SBL[:, :, half:-1:2] == middle_SB1
        return {"previous_token_score": previous, "first_hop_score": first, "second_hop_score": second}


def _permutation(draws: Draws, size: int, substream: int) -> Tensor:
    """(S, B, size): 0..size - 1 in the order of as many random words."""
    return draws.integers(_NUM_WORDS, size, substream).argsort(dim=2, stable=True)
