"""What a task is: where batches come from, what they cost, and what there is to see in them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from pipeline.parameters import Named
from pipeline.registry import Registry

if TYPE_CHECKING:
    from torch import Tensor

    from pipeline.streams import Draws

    Apply = Callable[[Tensor], Tensor]
    Streams = Mapping[str, Draws]
    Vectors = Mapping[str, Tensor]


class Batch(NamedTuple):
    """`inputs`: tokens (S, B, L) int64, or vectors (S, B, L, D). `targets`: (S, B), int64 classes or real values."""

    inputs: Tensor
    targets: Tensor


@dataclass(frozen=True)
class Interface:
    """What a model must fit: `kind` is "tokens" or "vectors"; `length` L; `size` is V (tokens) or D (vectors).

    `num_outputs` is the number of classes that the last position is asked for, or 1 for a real value.
    """

    kind: str
    length: int
    size: int
    num_outputs: int


class Task(Named):
    """A family of sequences with one question at the end. Torch is imported inside methods only.

    Contract:
    1. `interface()` states the shapes that `sample` gives.
    2. `sample` is a pure function of its streams and of the slot's own vector parameters: other slots, the number of
       slots and the number of examples do not move an example.
    3. Another seed gives other examples, and another step too.
    4. `losses` gives one loss per example, (S, B), finite for finite predictions; `correct` gives 0/1, or None.
    5. `floor_loss() < chance_loss()`: the best reachable loss, and that of the best predictor that ignores what there
       is to learn.
    6. `reference_losses`, where a task has them, are the losses of an explicit best predictor on these very examples.
    7. `attention_targets` are masks (S, B, L, L) of the keys that a query should attend to for a named skill.
    8. `probes` are per-slot scalars (S,) that need the model as a function of its inputs.
    """

    streams: ClassVar[tuple[str, ...]] = ("data",)

    def interface(self) -> Interface:
        raise NotImplementedError

    def floor_loss(self) -> float:
        raise NotImplementedError

    def chance_loss(self) -> float:
        raise NotImplementedError

    def sample(self, streams: Streams, vectors: Vectors, dtype: str) -> Batch:
        """One batch, an example for each row of the draws.

        `streams` holds the draws of every name in `self.streams`, `vectors` this task's vector parameters, (S,) each;
        real-valued inputs come in `dtype`, "float32" or "float64".
        """
        raise NotImplementedError

    def losses(self, predictions: Tensor, targets: Tensor) -> Tensor:
        raise NotImplementedError

    def correct(self, predictions: Tensor, targets: Tensor) -> Tensor | None:
        return None

    def reference_losses(self, batch: Batch) -> Tensor | None:
        return None

    def attention_targets(self, batch: Batch) -> dict[str, Tensor]:
        return {}

    def probes(self, apply: Apply, batch: Batch) -> dict[str, Tensor]:
        """`apply(inputs)` gives predictions at the slots' present weights and may be differentiated."""
        return {}


TASKS: Registry[Task] = Registry("pipeline.tasks", Task)
