"""Losses of tasks whose answer is one of several classes."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def cross_entropy(predictions: Tensor, targets: Tensor) -> Tensor:
    """(S, B * Q): the cross entropy (nats) of each question, from logits (S, B * Q, num_outputs)."""
    log_probabilities = predictions.log_softmax(-1)
    return -log_probabilities.gather(-1, targets.unsqueeze(-1)).squeeze(-1)


def is_most_probable(predictions: Tensor, targets: Tensor) -> Tensor:
    """(S, B * Q): 1 where the most probable class is the right one, else 0."""
    return (predictions.argmax(-1) == targets).to(predictions.dtype)
