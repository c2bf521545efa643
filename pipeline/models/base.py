"""Base class of models: named parameters with initial distributions, and a forward pass batched over slots."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from pipeline.registry import Registry
from pipeline.spec.parameters import Registered, vector
from pipeline.tasks.base import Batch, Task, TaskShape

if TYPE_CHECKING:
    from typing import Self

    from torch import Tensor, nn

    from pipeline.arrays import Floats
    from pipeline.optimisers.base import Optimiser
    from pipeline.schedules.base import Schedule
    from pipeline.tasks.base import Streams


@dataclass(frozen=True)
class ParameterSpec:
    """One parameter of a model, a matrix of `rows` x `columns`.

    Entry (i, j) starts as `std` times a draw of stream init/<name> at (i, j): "normal", or "truncated_normal" (within
    two standard deviations, not rescaled). Under "orthonormal" the rows, at most as many as columns, are uniform among
    orthonormal ones, times `std`. Untrained parameters keep their draw, regardless of `init_scale` and the optimiser.
    `distribution` may also be a function from the stream's seed to the (rows, columns) draws.
    What `is_state` is no parameter, but what training itself leaves behind, such as the averages of batch norm; it is
    kept with the weights, and counts in no norm.
    """

    name: str
    rows: int
    columns: int
    std: float
    distribution: str | Callable[[int], Tensor] = "normal"
    trainable: bool = True
    is_state: bool = False


class TrainingLosses(NamedTuple):
    """`losses_S`: the loss of each slot's batch, (S,). `state`: what each `is_state` becomes, (S, rows, columns)."""

    losses_S: Tensor
    state: Mapping[str, Tensor] = MappingProxyType({})


class Configuration(NamedTuple):
    """An optimiser that a model asks for: its registered name, and its hyperparameters, `lr` among them.

    `by_parameter` has those of each parameter where they differ. With `adds_decay` weight decay is added to gradients.
    """

    optimiser: str
    hyperparameters: Mapping[str, float]
    by_parameter: Mapping[str, Mapping[str, float]] = MappingProxyType({})
    adds_decay: bool = False


class Output(NamedTuple):
    """`predictions`: (S, B * Q, num_outputs) at the last Q positions, examples first.

    `attention`: per layer (S, B, H, L, L), if requested and if the model has any.
    """

    predictions: Tensor
    attention: tuple[Tensor, ...] = ()


class Model(Registered):
    """A function of (parameters, inputs) over S slots. Torch is imported inside methods only.

    Contract:
    1. `accepts` names the kinds of `TaskShape` that it can be built for; if it `predicts_values_only`, without classes.
    2. `parameter_specs` names every parameter once, with finite positive shapes.
    3. `forward`, after `bind`, is batched over slots: slot s reads parameters[name][s] and inputs[s] alone, bit
       for bit.
    4. Attention rows, where a model has softmax attention, are probability distributions over keys. An
       `attention_bias` of 0 changes nothing, one of -inf takes a key away from a query. Other models refuse one.
    5. It is differentiable in every parameter.
    6. `predict` gives the predictions of `forward`, computing only what they depend on: equal to 1e-12 in float64,
       gradients too.
    7. A model that `predicts_all_positions` does so for every `num_query_positions` Q from 1 to L, and what it predicts
       at a position does not depend on Q. Any other is asked for the last position alone. Kind "features" has no
       positions.
    8. `probes` are per-slot scalars (S,) of the weights, and of how they act on a batch of inputs.
    9. `training_losses` are the task's losses of `predict`, but for what the model does in training alone, for which it
       draws from its `noise_streams`: no slot's depends on another's parameters, examples or draws.
    """

    accepts: ClassVar[tuple[str, ...]]
    predicts_all_positions: ClassVar[bool] = False
    predicts_values_only: ClassVar[bool] = False
    has_softmax: ClassVar[bool] = True
    # Whether there are predictions, or losses and metrics alone.
    gives_predictions: ClassVar[bool] = True

    init_scale: float = vector(1.0, gt=0)

    @classmethod
    def tiny(cls, task: Task) -> Self:
        """A small instance for tests, which train it on this task; by default every parameter at its default."""
        return cls()

    @property
    def draws_weights(self) -> bool:
        """Whether a run's initial weights are drawn by its init_seed."""
        return True

    @classmethod
    def incompatibility(cls, task: Task) -> str | None:
        """Why this model cannot be built for the task; None if it can."""
        task_shape = task.shape()
        if task_shape.kind not in cls.accepts:
            return f"takes {' or '.join(cls.accepts)}, but task {task.name} gives {task_shape.kind}"
        if task_shape.num_query_positions > 1 and not cls.predicts_all_positions:
            num_asked = task_shape.num_query_positions
            return f"predicts the last position alone, but task {task.name} asks for the last {num_asked}"
        if cls.predicts_values_only and task_shape.num_outputs > 1:
            return f"predicts one real value, but task {task.name} asks for one of {task_shape.num_outputs} classes"
        return None

    def parameter_specs(self, task_shape: TaskShape) -> tuple[ParameterSpec, ...]:
        """The model's parameters. Raises ValueError if the model's sizes do not fit the task's."""
        raise NotImplementedError

    def bind(self, task_shape: TaskShape) -> Self:
        """The model on which `forward` is called; override it to store the task's shape if `forward` needs it."""
        return self

    def forward(
        self,
        parameters: Mapping[str, Tensor],
        inputs: Tensor,
        with_attention: bool = False,
        num_query_positions: int = 1,
        attention_bias: Sequence[Tensor] | None = None,
    ) -> Output:
        """Predictions, and attention if requested; `parameters[name]` is (S, rows, columns).

        `attention_bias`, for models with softmax attention: per layer (S, B, H or 1, L, L), added to the logits.
        """
        raise NotImplementedError

    def predict(self, parameters: Mapping[str, Tensor], inputs: Tensor, num_query_positions: int = 1) -> Tensor:
        """Predictions (S, B * Q, num_outputs), as used in training and evaluation. `forward` is the reference."""
        return self.forward(parameters, inputs, num_query_positions=num_query_positions).predictions

    def noise_streams(self, task_shape: TaskShape) -> tuple[str, ...]:
        """Streams of training beside those of the task, under other names; the data_seed of the run seeds them."""
        return ()

    def noise_pieces(self, task_shape: TaskShape) -> tuple[int, ...]:
        """For each draw of training, in their order: in how many pieces an example's numbers stand among the batch's.

        Each piece has the numbers of the first example, then those of the second, and so on: with (B, ...) there is one
        piece, with (L, B, ...) there are L. Raises NotImplementedError where examples share numbers.
        """
        return ()

    def training_predictions(
        self, parameters: Mapping[str, Tensor], inputs: Tensor, num_query_positions: int, streams: Streams
    ) -> Tensor:
        """The predictions of `predict` as they are in training, with the draws of `noise_streams`."""
        return self.predict(parameters, inputs, num_query_positions)

    def training_losses(
        self, parameters: Mapping[str, Tensor], task: Task, batch: Batch, steps_S: Tensor, streams: Streams
    ) -> TrainingLosses:
        """The loss of each slot's batch at its step, of which the gradient is taken.

        `streams` has the draws of `noise_streams`.
        """
        predictions = self.predict(parameters, batch.inputs, task.shape().num_query_positions)
        return TrainingLosses(task.losses(predictions, batch.targets).mean(1))

    def is_traceable(self, task_shape: TaskShape) -> bool:
        """Whether C++ may be written from traces of the model: where training is `training_predictions` and no more."""
        own = type(self)
        is_usual = own.training_losses is Model.training_losses and own.evaluated is Model.evaluated
        return is_usual and self.gives_predictions and not self.noise_streams(task_shape)

    def evaluated(self, parameters: Mapping[str, Tensor], task: Task, batch: Batch) -> dict[str, Tensor]:
        """`loss`, and `accuracy` where there is one, of each question, (S, B * Q); other metrics likewise."""
        predictions = self.predict(parameters, batch.inputs, task.shape().num_query_positions)
        correct = task.correct(predictions, batch.targets)
        return {"loss": task.losses(predictions, batch.targets)} | ({} if correct is None else {"accuracy": correct})

    def configuration(self) -> Configuration | None:
        """The optimiser that the model asks for; None of models that ask for none."""
        return None

    def lr_factors(self, num_steps: int) -> Floats | None:
        """(num_steps,): the factors on lr of the scheduler that the model asks for; None without one."""
        return None

    def num_lr_factors(self) -> int | None:
        """The updates after which that scheduler has no factor; None where it has one for any number."""
        return None

    def own_module(self, parameters: Mapping[str, Tensor]) -> nn.Module | None:
        """The torch module of the user's own that this model is, with one run's `parameters`; None if there is none."""
        return None

    def own_engine(self) -> str | None:
        """The only engine that trains this model, as numerics name it; None if those of all models do."""
        return None

    def unfit_parts(self, optimiser: Optimiser, schedule: Schedule) -> Iterable[tuple[str, str]]:
        """(section, why) of an optimiser or schedule by which this model cannot be trained."""
        return ()

    def remark(self) -> str | None:
        """What a plan says of how the model is trained; None if as all are."""
        return None

    def own_keywords(self) -> dict[str, Any]:
        """The arguments of the __init__ of `own_module`'s class, where a sweep file gives them."""
        return {}

    def probes(self, parameters: Mapping[str, Tensor], inputs: Tensor) -> dict[str, Tensor]:
        """Metric name -> (S,), measured on the statistics set."""
        return {}


MODELS: Registry[Model] = Registry("pipeline.models", Model, helpers=("base", "torch_module"))
