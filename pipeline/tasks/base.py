"""Base class of tasks: batch sampling, per-example losses, task-specific probes."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple

from pipeline.registry import Registry
from pipeline.spec.parameters import Registered

if TYPE_CHECKING:
    from typing import Self

    from torch import Tensor

    from pipeline.numerics.streams import Draws

    Apply = Callable[[Tensor], Tensor]
    Streams = Mapping[str, Draws]
    Vectors = Mapping[str, Tensor]

# Items of training, of the label set (outcomes) and of the statistics set (everything else that is measured).
Split = Literal["train", "label", "probe"]


class Batch(NamedTuple):
    """`inputs`: tokens (S, B, L) int64, vectors (S, B, L, D), or features (S, B, L, 1 or 3).

    `targets`: (S, B * Q), examples first, int64 classes or real values: those of the last Q positions of each example.
    """

    inputs: Tensor
    targets: Tensor


@dataclass(frozen=True)
class TaskShape:
    """Shapes that a model is built for: `kind` "tokens" or "vectors", `length` L, `size` V (tokens) or D (vectors).

    `num_outputs` is the number of classes at a queried position, or 1 for a real value. `num_query_positions` Q, at
    most L, is the number of last positions that are queried: 1 is the last alone.

    Kind "features" is for contexts whose tokens are L orthonormal features in any order, a value with each. An example
    has a row of `size` numbers for each feature. 3: how many tokens of the context have it, whether the query has it
    (0 or 1), and its value; the target is the query's value, Q = 1. 1: how many tokens have it; predicted is, for each
    feature as the query, Q = L, how attention is shared among the L features.
    """

    kind: str
    length: int
    size: int
    num_outputs: int
    num_query_positions: int = 1

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Of one example."""
        if self.kind == "tokens":
            return (self.length,)
        if self.kind == "features":
            return (self.length, 1 if self.num_query_positions == self.length else 3)
        return (self.length, self.size)


class Task(Registered):
    """A distribution of sequences with targets at the last position, or at each of the last Q positions.

    Torch is imported inside methods only. A batch is of one split: "train", "label" (the label set) or "probe" (the
    statistics set). The keys of their streams differ, so that a task which draws every item afresh can ignore it.

    Contract:
    1. `shape()` states the shapes that `sample` gives; of its L positions the last 1 <= Q <= L are asked.
    2. `sample` is a pure function of its streams and of the slot's own vector parameters: other slots, the number of
       slots and the number of examples do not move an example.
    3. Another seed gives other examples, and another step too, unless the task is told that its training set is fixed.
    4. `losses` gives one loss per question, (S, B * Q), finite for finite predictions; `correct` gives 0/1, or None.
       Both go element by element: a question's value is its own whatever is asked beside it.
    5. `floor_loss() < chance_loss()`: the best reachable loss, and that of the best predictor that ignores what there
       is to learn, averaged over questions.
    6. `reference_losses`, where a task has them, are the losses of an explicit best predictor on these very examples.
    7. `attention_targets` are masks (S, B, L, L) of the keys that a query should attend to for a named skill.
    8. `probes` are per-slot scalars (S,) that need the model as a function of its inputs.
    9. `disjoint` names the pairs of splits that share no inputs, under any seeds and steps.
    """

    streams: ClassVar[tuple[str, ...]] = ("data",)
    disjoint: ClassVar[tuple[tuple[Split, Split], ...]] = ()

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        """Refuses a class whose `sample` does not take a split, when it is defined."""
        super().__pydantic_init_subclass__(**kwargs)
        parameters = inspect.signature(cls.sample).parameters.values()
        is_open = any(parameter.kind is parameter.VAR_POSITIONAL for parameter in parameters)
        if len(parameters) < _NUM_PARAMETERS and not is_open:
            line = f"line {cls.sample.__code__.co_firstlineno}: " if hasattr(cls.sample, "__code__") else ""
            raise TypeError(
                f"{line}{cls.__name__}.sample takes no split; make it "
                '`def sample(self, streams, vectors, dtype, split):`, where split is "train", "label" or "probe"'
            )

    @classmethod
    def tiny(cls) -> Self:
        """A small instance for tests, which train it for some steps; by default every parameter at its default."""
        return cls()

    def shape(self) -> TaskShape:
        """The shapes of inputs and targets."""
        raise NotImplementedError

    def floor_loss(self) -> float:
        """The best reachable loss, averaged over questions."""
        raise NotImplementedError

    def chance_loss(self) -> float:
        """The loss of the best predictor that ignores what there is to learn, averaged over questions."""
        raise NotImplementedError

    def sample(self, streams: Streams, vectors: Vectors, dtype: str, split: Split) -> Batch:
        """One batch of a split, an example for each row of the draws.

        `streams` holds the draws of every name in `self.streams`, `vectors` this task's vector parameters, (S,) each;
        real-valued inputs come in `dtype`, "float32" or "float64".
        """
        raise NotImplementedError

    def losses(self, predictions: Tensor, targets: Tensor) -> Tensor:
        """(S, B * Q): the loss of each question, from `predictions` (S, B * Q, num_outputs)."""
        raise NotImplementedError

    def correct(self, predictions: Tensor, targets: Tensor) -> Tensor | None:
        """(S, B * Q): 1 where a prediction is right, else 0; None where none is right or wrong."""
        return None

    def has_accuracy(self) -> bool:
        """Whether predictions can be right or wrong: where the task defines `correct`, unless it says otherwise."""
        return type(self).correct is not Task.correct

    def problem(self) -> str | None:
        """Why data that the task reads are not at hand as they were, by name; None if they are, or it reads none."""
        return None

    def functions(self) -> tuple[Callable[..., Any], ...]:
        """Functions of the user's own that `sample` calls; their text counts as that of the runs."""
        return ()

    def reference_losses(self, batch: Batch) -> Tensor | None:
        """(S, B * Q): the losses of an explicit best predictor on this batch; None for tasks without one."""
        return None

    def attention_targets(self, batch: Batch) -> dict[str, Tensor]:
        """Name of a skill -> (S, B, L, L), True at the keys (last axis) that a query should attend to."""
        return {}

    def probes(self, apply: Apply, batch: Batch) -> dict[str, Tensor]:
        """Metric name -> (S,). `apply(inputs)` gives differentiable predictions at the slots' current weights.

        Where `batch.inputs` requires a gradient, they can be given to `apply` as they are, which then costs nothing.
        """
        return {}


def is_needed(vector_S: Tensor) -> bool:
    """Whether a slot's number is not 0, so that what it scales must be computed; on a GPU and in a trace always.

    On a GPU the look itself would cost more, since the host waits for everything that the GPU has not done yet; a
    trace holds what is computed of any number.
    """
    from torch.fx.experimental.proxy_tensor import get_proxy_mode

    return vector_S.device.type != "cpu" or get_proxy_mode() is not None or bool(vector_S.any())


_NUM_PARAMETERS = len(inspect.signature(Task.sample).parameters)

TASKS: Registry[Task] = Registry("pipeline.tasks", Task)
