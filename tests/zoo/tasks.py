"""Tasks without a C++ form."""

from __future__ import annotations

from pipeline.tasks.dictionary_lookup import DictionaryLookup
from pipeline.tasks.linear_regression import LinearRegression
from pipeline.tasks.repeated_sequence import RepeatedSequence


class OwnLookup(DictionaryLookup):
    """Cross entropy, written out."""

    name = "own_lookup"

    def losses(self, predictions, targets):
        """(S, B)."""
        return predictions.logsumexp(-1) - predictions.gather(-1, targets.unsqueeze(-1)).squeeze(-1)


class OwnSequence(RepeatedSequence):
    """Several questions an example."""

    name = "own_sequence"


class OwnRegression(LinearRegression):
    """A vector hyperparameter, reference losses, and a loss that is not half the square."""

    name = "own_regression"

    def losses(self, predictions, targets):
        """(S, B)."""
        error = predictions.squeeze(-1) - targets
        return (1 + error.square()).log()


class TorchLookup(OwnLookup):
    """The same examples, drawn by torch, since no C++ is written for words."""

    name = "torch_lookup"

    def sample(self, streams, vectors, dtype, split):
        """(S, B, L) and (S, B)."""
        streams["data"].words(1, 0)
        return super().sample(streams, vectors, dtype, split)


class TorchRegression(OwnRegression):
    """Likewise."""

    name = "torch_regression"

    def sample(self, streams, vectors, dtype, split):
        """(S, B, L, D) and (S, B)."""
        streams["data"].words(1, 0)
        return super().sample(streams, vectors, dtype, split)


class Ranked(DictionaryLookup):
    """A loss for which no C++ is written."""

    name = "ranked"

    def losses(self, predictions, targets):
        """(S, B)."""
        return predictions.sort(-1).values[..., 0] + 0 * targets
