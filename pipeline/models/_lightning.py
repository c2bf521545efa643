"""A LightningModule of the user's own as a model: `{name: lightning, module: my_pkg:Lit, ...}`."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping, Sequence
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, cast

from pydantic import Field, create_model, model_validator

from pipeline.models._lightning_builder import LightningBuilder, as_list
from pipeline.models.base import Configuration, Model, Output, ParameterSpec, TrainingLosses
from pipeline.own_code.imported import OwnCodeError, class_named
from pipeline.spec.parameters import static
from pipeline.spec.registered import located
from pipeline.tasks.base import Batch, Task, TaskShape

if TYPE_CHECKING:
    from torch import Tensor, nn

    from pipeline.arrays import Floats
    from pipeline.models._module_slots import Example
    from pipeline.tasks.base import Streams


# How refusals end that a Trainer would not make.
OR_BY_A_TRAINER = "; with `trainer: true` in the section `model` each run is trained by a Trainer of its own, slowly"


class Lightning(Model):
    """A LightningModule, trained by its own training_step, configure_optimizers and validation_step.

    `module` names its class, as `my_pkg.models:Lit` or `./lit.py:Lit`; all other parameters are the keywords of its
    __init__, static. Each slot is computed by itself, so that a run is a function of its parameters, batches and
    streams; what would make it more is refused when the spec is read. Evaluations record what validation_step logs
    under the prefix `label_`, by batches of at most 512 items; `monitor` is the loss. Schedulers that count epochs need
    `steps_per_epoch`. Inputs have the task's shape, or (B, *input_shape): [1, 28, 28] of images.
    Runs begin with the weights of the checkpoint `start`, if that is given, and then draw none by init_seed;
    `start_content` is filled in: its name and SHA-256, which is so part of a run's identity.
    """

    name = "lightning"
    accepts = ("tokens", "vectors")
    predicts_all_positions = True
    has_softmax = False
    gives_predictions = False
    own_class: ClassVar[type]

    module: str = static(min_length=3)
    monitor: str = static("val_loss", min_length=1)
    steps_per_epoch: int | None = static(None, ge=1)
    start: str | None = static(None, min_length=1, max_length=4096)
    start_content: tuple[str, str] | None = static(None)
    input_shape: tuple[Annotated[int, Field(ge=1)], ...] | None = static(None, min_length=1)

    @model_validator(mode="before")
    @classmethod
    def _with_start(cls, data: Any) -> Any:
        """Fills `start_content` in, unless it is that of this name already, as in a spec that was stored."""
        if not isinstance(data, Mapping) or not isinstance(data.get("start"), str):
            return {**data, "start_content": None} if isinstance(data, Mapping) else data
        from pipeline.models._start import known_start

        known = data.get("start_content")
        is_known = isinstance(known, (list, tuple)) and len(known) == 2 and known[0] == data["start"]
        return data if is_known else {**data, "start_content": known_start(data["start"])}

    @model_validator(mode="after")
    def _has_plain_values(self) -> Lightning:
        try:
            hash(self.builder)
        except TypeError:
            raise ValueError("a keyword of the class is given a mapping; give numbers, text and lists") from None
        return self

    @property
    def draws_weights(self) -> bool:
        """Whether a run's initial weights are drawn, and not those of a checkpoint."""
        return self.start is None

    @classmethod
    def own_classes(cls) -> tuple[type, ...]:
        """The user's class."""
        return (cls.own_class,)

    @property
    def builder(self) -> LightningBuilder:
        """What makes its modules."""
        return LightningBuilder(self.own_class, self._own(), self.monitor, self.input_shape, self.start_content)

    def _own(self) -> tuple[tuple[str, Any], ...]:
        """The keywords of its class."""
        return tuple((name, getattr(self, name)) for name in type(self).model_fields if name not in _taken())

    def parameter_specs(self, task_shape: TaskShape) -> tuple[ParameterSpec, ...]:
        """A parameter of any shape as (first axis, all others). Raises ValueError where a pack cannot train it."""
        from pipeline.models._lightning_checks import lightning_problems
        from pipeline.models._module_slots import specs_of

        self._require_inputs(task_shape)
        wrong = lightning_problems(self.builder, task_shape)
        if wrong:
            raise ValueError("; ".join(wrong))
        return specs_of(self.builder, task_shape)

    def _require_inputs(self, task_shape: TaskShape) -> None:
        size = task_shape.length * (task_shape.size if task_shape.kind == "vectors" else 1)
        if self.input_shape is not None and math.prod(self.input_shape) != size:
            raise ValueError(f"input_shape {list(self.input_shape)} does not hold the {size} numbers of an example")

    def bind(self, task_shape: TaskShape) -> Lightning:
        """Itself: its class takes all sizes by name."""
        return self

    def noise_streams(self, task_shape: TaskShape) -> tuple[str, ...]:
        """`noise` where training_step draws random numbers."""
        from pipeline.models._module_slots import traits

        return ("noise",) if traits(self.builder, task_shape).draws else ()

    def training_losses(
        self, parameters: Mapping[str, Tensor], task: Task, batch: Batch, steps_S: Tensor, streams: Streams
    ) -> TrainingLosses:
        """What training_step gives in every slot, and the buffers that it changes."""
        from pipeline.models._module_slots import each_slot

        examples = examples_of(batch, task, steps_S.tolist())
        module = self._template(parameters, task, is_training=True)
        losses_S, state = each_slot(
            module, parameters, lambda inner, slot: self.builder.trained_on(inner, examples[slot]), streams.get("noise")
        )
        return TrainingLosses(losses_S, state)

    def evaluated(self, parameters: Mapping[str, Tensor], task: Task, batch: Batch) -> dict[str, Tensor]:
        """What validation_step logs of the whole batch, for each of its questions, (S, B * Q)."""
        import torch

        from pipeline.models._module_slots import each_slot

        examples, builder, names = examples_of(batch, task, [0] * len(batch.inputs)), self.builder, list[str]()

        def metrics(inner: nn.Module, slot: int) -> Tensor:
            found = builder.metrics(inner, examples[slot])
            names[:] = found
            return torch.stack([value.double() for value in found.values()])

        values_SM, _ = each_slot(self._template(parameters, task, is_training=False), parameters, metrics)
        return {name: values_SM[:, place, None].expand(batch.targets.shape) for place, name in enumerate(names)}

    def _template(self, parameters: Mapping[str, Tensor], task: Task, is_training: bool) -> nn.Module:
        from pipeline.models._module_slots import template

        some = next(iter(parameters.values()))
        return template(self.builder, task.shape(), some.dtype, some.device, is_training)

    def forward(
        self,
        parameters: Mapping[str, Tensor],
        inputs: Tensor,
        with_attention: bool = False,
        num_query_positions: int = 1,
        attention_bias: Sequence[Tensor] | None = None,
    ) -> Output:
        """Raises TypeError: a LightningModule gives losses and metrics, and need not predict."""
        raise TypeError(f"{self.module} gives losses and metrics, no predictions")

    def own_module(self, parameters: Mapping[str, Tensor]) -> nn.Module:
        """The user's module, in evaluation mode, with one run's `parameters`, (rows, columns) each."""
        from pipeline.models._module_slots import with_values

        return with_values(self.builder.own().to(next(iter(parameters.values())).dtype), parameters)

    def remark(self) -> str:
        """By what methods of its own."""
        own = "training_step and validation_step" if self.builder.has_validation() else "training_step alone"
        return f"{self.module}: its seeds side by side, without a Trainer, by its own {own}"

    def own_keywords(self) -> dict[str, Any]:
        """All keywords of the class, defaults included."""
        return {name: as_list(value) for name, value in self.builder.keywords}

    def configuration(self) -> Configuration | None:
        """What configure_optimizers gives. Raises ValueError where that has no registered equal."""
        return _configuration(self.builder)

    def lr_factors(self, num_steps: int) -> Floats | None:
        """(num_steps,): the factors of its scheduler; None without one."""
        return _factors(self.builder, self.steps_per_epoch, num_steps)

    def num_lr_factors(self) -> int | None:
        """The updates of its OneCycleLR, if it has one; other schedulers have no end."""
        from pipeline.models._lightning_optimisers import num_lr_factors_of

        return num_lr_factors_of(self.builder.own(), self.steps_per_epoch)


@lru_cache(maxsize=1024)
def _configuration(builder: LightningBuilder) -> Configuration:
    from pipeline.models._lightning_optimisers import configuration_of

    try:
        return configuration_of(builder.own())
    except ValueError as error:
        raise ValueError(f"{error}{OR_BY_A_TRAINER}") from None


@lru_cache(maxsize=64)
def _factors(builder: LightningBuilder, steps_per_epoch: int | None, num_steps: int) -> Floats | None:
    from pipeline.models._lightning_optimisers import lr_factors_of

    try:
        return lr_factors_of(builder.own(), steps_per_epoch, num_steps)
    except ValueError as error:
        raise ValueError(f"{error}{OR_BY_A_TRAINER}") from None


def examples_of(batch: Batch, task: Task, steps: Sequence[int]) -> list[Example]:
    """Each slot's batch, beginning on a 64-byte boundary; targets (B,), or (B, Q) where Q > 1 positions are asked."""
    from pipeline.models._module_slots import Example

    num_asked = task.shape().num_query_positions
    targets = batch.targets if num_asked == 1 else batch.targets.view(len(batch.targets), -1, num_asked)
    pairs = zip(batch.inputs.unbind(), targets.unbind(), steps, strict=True)
    return [Example(inputs.clone(), own.clone(), step) for inputs, own, step in pairs]


def model_class(given: Mapping[str, Any]) -> type[Lightning]:
    """The class of model that `{module: ...}` names, with a field for every keyword of its __init__.

    Raises pydantic's ValueError where there is no such class, or a keyword has a name that is taken.
    """
    named, trainer = given.get("module"), given.get("trainer")
    if not isinstance(named, str):
        raise located([(("module",), "required, as my_pkg:Lit or ./lit.py:Lit", named)])
    if trainer not in (None, True):
        raise located([(("trainer",), "is true, or left out", trainer)])
    try:
        return _made(class_named(named), bool(trainer))
    except OwnCodeError as error:
        raise located([(("module",), str(error), named)]) from None


@cache
def _made(own_class: type, has_trainer: bool) -> type[Lightning]:
    if not any(base.__name__ == "LightningModule" for base in own_class.__mro__):
        raise OwnCodeError(f"{own_class.__name__} is no LightningModule")
    fields: dict[str, Any] = {}
    for name, parameter in list(inspect.signature(own_class).parameters.items()):
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        if name in (*_taken(), "name") or hasattr(Lightning, name):
            raise OwnCodeError(f"{own_class.__name__}.__init__ has a parameter {name}, a name that is taken; rename it")
        default = ... if parameter.default is parameter.empty else _frozen(parameter.default)
        fields[name] = (_type_of(parameter), static(default))
    base = trainer_class() if has_trainer else Lightning
    made = cast("type[Lightning]", create_model(own_class.__name__, __base__=base, **fields))
    made.own_class, made.__module__ = own_class, __name__
    return made


def trainer_class() -> type[Lightning]:
    """The class of models under Trainers."""
    from pipeline.models._lightning_trainer import LightningTrainer

    return LightningTrainer


def _taken() -> set[str]:
    """The parameters of the section that are no keywords of a class."""
    return {*Lightning.model_fields, "trainer"}


def _frozen(value: Any) -> Any:
    return tuple(_frozen(item) for item in value) if isinstance(value, (list, tuple)) else value


def _type_of(parameter: inspect.Parameter) -> Any:
    """The type of a keyword, by its annotation if that is simple, else by its default."""
    simple = {"int": int, "float": float, "str": str, "bool": bool}
    annotation = parameter.annotation
    text = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", "")
    if text in simple:
        return simple[text]
    if parameter.annotation is parameter.empty and type(parameter.default) in simple.values():
        return type(parameter.default)
    return Any
