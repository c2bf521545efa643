"""Modular addition with pairs held out of training: Power et al. (2022, arXiv 2201.02177), on which networks grok."""

from __future__ import annotations

import math
from functools import cache
from typing import TYPE_CHECKING, ClassVar

from pydantic import model_validator

from pipeline.spec.parameters import static
from pipeline.tasks._classes import cross_entropy, is_most_probable
from pipeline.tasks.base import Batch, Task, TaskShape

if TYPE_CHECKING:
    from typing import Self

    import torch
    from torch import Tensor

    from pipeline.tasks.base import Split, Streams, Vectors

_PAIR = 0
_SPLIT_STREAM = "modular_addition/split"
# Ties of random words are broken by the pair, in torch and in C++.
_NUM_WORDS = 2**31


class ModularAddition(Task):
    """Tokens a, b and p, which asks; target: (a + b) mod p, p = `modulus`.

    Of the p^2 pairs, in an order that `split_seed` fixes, the first `train_share` are for training, in every run; the
    first half of the others make the label set, the second half the statistics set. Each batch draws its pairs
    uniformly, with replacement, from those of its set.
    """

    name = "modular_addition"
    disjoint: ClassVar[tuple[tuple[Split, Split], ...]] = (("train", "label"), ("train", "probe"), ("label", "probe"))

    modulus: int = static(23, ge=3, le=256)
    train_share: float = static(0.5, gt=0, lt=1)
    split_seed: int = static(0, ge=0)

    @model_validator(mode="after")
    def _every_set_has_a_pair(self) -> ModularAddition:
        if not all(self.places().values()):
            sizes = {name: len(places) for name, places in self.places().items()}
            raise ValueError(f"train_share ({self.train_share}) of {self.modulus**2} pairs leaves a set empty: {sizes}")
        return self

    def places(self) -> dict[Split, range]:
        """The places of each set's pairs in the order: "train", "label" and "probe"."""
        num_pairs, num_train = self.modulus**2, round(self.train_share * self.modulus**2)
        middle = (num_train + num_pairs + 1) // 2
        return {"train": range(num_train), "label": range(num_train, middle), "probe": range(middle, num_pairs)}

    @classmethod
    def tiny(cls) -> Self:
        """A small instance for tests."""
        return cls(modulus=5)

    def shape(self) -> TaskShape:
        """Two summands and the token that asks; target: the sum."""
        return TaskShape("tokens", 3, self.modulus + 1, self.modulus)

    def floor_loss(self) -> float:
        """0: the summands determine the sum."""
        return 0.0

    def chance_loss(self) -> float:
        """Cross entropy (nats) of the uniform prediction: log p."""
        return math.log(self.modulus)

    def sample(self, streams: Streams, vectors: Vectors, dtype: str, split: Split) -> Batch:
        """Pairs of the split."""
        import torch

        places = self.places()[split]
        place_SB1 = places.start + streams["data"].integers(len(places), 1, _PAIR)
        pair_SB1 = _order(self.modulus, self.split_seed, place_SB1.device)[place_SB1]
        summands = [pair_SB1 // self.modulus, pair_SB1 % self.modulus]
        tokens_SBL = torch.cat([*summands, torch.full_like(pair_SB1, self.modulus)], 2)
        return Batch(tokens_SBL, tokens_SBL[:, :, :2].sum(2) % self.modulus)

    def losses(self, predictions: Tensor, targets: Tensor) -> Tensor:
        """Cross entropy (nats) of each question, (S, B * Q)."""
        return cross_entropy(predictions, targets)

    def correct(self, predictions: Tensor, targets: Tensor) -> Tensor:
        """1 where the most probable class is the right one, else 0, (S, B * Q)."""
        return is_most_probable(predictions, targets)

    def attention_targets(self, batch: Batch) -> dict[str, Tensor]:
        """summands: the last token attends to both summands."""
        import torch

        shape = (*batch.inputs.shape, batch.inputs.shape[2])
        summands = batch.inputs.new_zeros(shape[2:], dtype=torch.bool)
        summands[-1, :2] = True
        return {"summands_score": summands.expand(shape)}


@cache
def _order(modulus: int, split_seed: int, device: torch.device) -> Tensor:
    """(p^2,), on a device: the pairs p a + b, in the order of as many random words."""
    import torch

    from pipeline.numerics.streams import Draws, stream_key

    key_12 = torch.tensor([stream_key(_SPLIT_STREAM, split_seed)])
    draws = Draws(key_12, torch.zeros(1, dtype=torch.int64), num_rows=1)
    return draws.integers(_NUM_WORDS, modulus**2, 0).flatten().argsort(stable=True).to(device)
