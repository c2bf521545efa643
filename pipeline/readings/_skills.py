"""Skills of a task as masks of attention, and what a model does on the first items of the statistics set."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from pipeline.models.base import Model
from pipeline.readings._cooccurrence import contrast_weights
from pipeline.readings.base import Weights
from pipeline.tasks.base import Batch, Task

_MOST_ITEMS = 32
# Entries of the attention maps of one run; where 32 items have more, fewer items are used.
_MOST_ENTRIES = 2**20
# Keeps the logarithm of attention that is 0 to the last bit finite.
_LEAST_ATTENTION = 1e-300


class Response(NamedTuple):
    """`loss_S`, and `attention`, per layer (S, B, H, L, L)."""

    loss_S: Tensor
    attention: tuple[Tensor, ...]


def lack_of_skills(task: Task, model: Model) -> str | None:
    """Why no skill of the task can be looked for in the model's attention; None if it can."""
    if not model.has_softmax:
        return f"model {model.name} has no softmax attention"
    if type(task).attention_targets is Task.attention_targets:
        return f"task {task.name} names no targets of attention"
    return None


class SkillItems:
    """The first items of the statistics set, and the skills of the task on them.

    `masks[skill]` (S, B, L, L), or (1, B, L, L) for all slots, is True at the keys that a query should attend to.
    """

    def __init__(self, weights: Weights) -> None:
        shape, model = weights.task.shape(), weights.model
        self.num_layers, self.num_heads = getattr(model, "num_layers", 1), getattr(model, "num_heads", 1)
        entries = self.num_layers * self.num_heads * shape.length**2
        num_items = max(1, min(weights.batch.inputs.shape[1], _MOST_ITEMS, _MOST_ENTRIES // entries))
        self._weights, self._num_asked = weights, shape.num_query_positions
        used = weights.batch.targets[:, : num_items * self._num_asked]
        self.batch = Batch(weights.batch.inputs[:, :num_items], used)
        own = Batch(*(part[: self._num_different()] for part in self.batch))
        targets = weights.task.attention_targets(own)
        self.masks = {name.removesuffix("_score"): mask for name, mask in targets.items()}

    def _num_different(self) -> int:
        """1 if all slots have the same items, as those of most tasks do, else S."""
        return 1 if all(bool((part == part[:1]).all()) for part in self.batch) else len(self.batch.inputs)

    def respond(self, attention_bias: Sequence[Tensor] | None = None) -> Response:
        """What the model does on these items."""
        weights = self._weights
        output = weights.model.forward(
            weights.parameters,
            self.batch.inputs,
            with_attention=True,
            num_query_positions=self._num_asked,
            attention_bias=attention_bias,
        )
        return Response(weights.task.losses(output.predictions, self.batch.targets).mean(1), output.attention)

    def no_bias(self, num_heads: int = 1) -> list[Tensor]:
        """Zeros (S, B, H, L, L) for each layer."""
        num_slots, num_items, length = self.batch.inputs.shape[:3]
        parameter = next(iter(self._weights.parameters.values()))
        shape = (num_slots, num_items, num_heads, length, length)
        return [parameter.new_zeros(shape) for _ in range(self.num_layers)]

    @cached_property
    def contrasts(self) -> dict[str, Tensor]:
        """(S or 1, B, 1, L, L): the mean over targets less that over other keys in reach, over queries with both."""
        length = self.batch.inputs.shape[2]
        past = torch.ones(length, length, dtype=torch.bool).tril()
        return {skill: contrast_weights(mask, past).unsqueeze(2) for skill, mask in self.masks.items()}

    @cached_property
    def targets(self) -> dict[str, Tensor]:
        """(S or 1, B, 1, L, L): the sum over targets, over queries that have one."""
        num_asking = {skill: mask.any(-1).sum((1, 2)).clamp_min(1) for skill, mask in self.masks.items()}
        return {
            skill: (mask.double() / num_asking[skill].view(-1, 1, 1, 1)).unsqueeze(2)
            for skill, mask in self.masks.items()
        }

    def gaps(self, attention: Tensor) -> dict[str, Tensor]:
        """(S, H) by skill: mean attention logit at the targets less that elsewhere.

        The logits of a query are the logarithms of its attention, but for a sum that cancels.
        """
        logits = attention.clamp_min(_LEAST_ATTENTION).log()
        return {skill: total(logits, contrast) for skill, contrast in self.contrasts.items()}


def total(maps: Tensor, weights: Tensor) -> Tensor:
    """(S, H): sums over items, queries and keys of (S, B, H, L, L) times weights (S, B, 1, L, L)."""
    return (maps * weights).flatten(3).sum(3).sum(1)


def over_heads(name: str, value_SH: Tensor) -> Iterator[tuple[str, Tensor]]:
    """The largest over heads, and the mean as `NAME.mean` where there are several."""
    yield name, value_SH.amax(1)
    if value_SH.shape[1] > 1:
        yield f"{name}.mean", value_SH.mean(1)
