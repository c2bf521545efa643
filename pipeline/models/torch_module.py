"""Base class of models that wrap an ordinary torch module written for one run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, cast

from pydantic import PrivateAttr

from pipeline.models.base import Model, Output, ParameterSpec, TrainingLosses
from pipeline.tasks.base import Batch, Task, TaskShape

if TYPE_CHECKING:
    from typing import Self

    from torch import Tensor, nn

    from pipeline.models._module_slots import Example
    from pipeline.tasks.base import Streams


class TorchModule(Model):
    """A model given by `module(task_shape)`, an nn.Module whose forward takes one run's inputs (B, L) or (B, L, D).

    It predicts (B, num_outputs), or (B, L, num_outputs) at every position; a class whose modules do the latter
    says `predicts_all_positions = True`. What follows is checked when a spec is read:
    - Initial values are the module's own: those that it has after `torch.manual_seed(seed)`, with the run's init_seed
      or the seed of stream init/<parameter>. They depend on nothing else.
    - What training draws (dropout, torch.randn) comes from the run's stream `noise`, by step and place, whichever
      operation of torch draws it; evaluation and gradients draw nothing. Other generators are refused.
    - Buffers that training changes (the averages of batch norm) are state of the run, kept with its weights. They start
      as the module's own, as parameters do. All others are constants, the same under every seed.
    - In evaluation mode the output for an example depends on no other; in training it may (batch norm).
    - Forward reads every parameter that is trained.

    Slots are computed one by one, since batched kernels of CPUs round by slot. On a GPU a class that says
    `is_vmapped = True` is computed for all slots at once, by torch.func.vmap; that its numbers agree is checked too.
    """

    has_softmax: ClassVar[bool] = False
    is_vmapped: ClassVar[bool] = False

    _task_shape: TaskShape | None = PrivateAttr(None)

    def module(self, task_shape: TaskShape) -> nn.Module:
        """The module of one run; its parameters are what is trained."""
        raise NotImplementedError

    def parameter_specs(self, task_shape: TaskShape) -> tuple[ParameterSpec, ...]:
        """A parameter of any shape as (first axis, all others), a vector as one row. Raises ValueError, see above."""
        from pipeline.models._module_checks import module_problems
        from pipeline.models._module_slots import specs_of

        wrong = module_problems(self, task_shape)
        if wrong:
            raise ValueError("; ".join(wrong))
        return specs_of(self, task_shape)

    def bind(self, task_shape: TaskShape) -> Self:
        """A copy that stores `task_shape`, from which `forward` builds its module."""
        copy = self.model_copy()
        copy._task_shape = task_shape
        return copy

    def trained_on(self, module: nn.Module, example: Example) -> Tensor:
        """The module's predictions for a batch of one run."""
        return cast("Tensor", module(example.inputs))

    def evaluated_on(self, module: nn.Module, example: Example) -> Tensor:
        """The same."""
        return self.trained_on(module, example)

    def noise_streams(self, task_shape: TaskShape) -> tuple[str, ...]:
        """`noise` where training draws random numbers."""
        from pipeline.models._module_slots import traits

        return ("noise",) if traits(self, task_shape).draws else ()

    def forward(
        self,
        parameters: Mapping[str, Tensor],
        inputs: Tensor,
        with_attention: bool = False,
        num_query_positions: int = 1,
        attention_bias: Sequence[Tensor] | None = None,
    ) -> Output:
        """The module's outputs in every slot, without dropout; no attention maps."""
        assert attention_bias is None, "this model has no softmax attention to bias"
        from pipeline.models._module_slots import by_slot, template, traits, vmapped

        assert self._task_shape is not None, "forward needs model.bind(task_shape)"
        dtype = next(iter(parameters.values())).dtype
        # A module that computes the same in both modes stays in one, whose kernels are those of training.
        is_plain = traits(self, self._task_shape).is_plain
        module = template(self, self._task_shape, dtype, inputs.device, is_plain)
        if self.is_vmapped and inputs.device.type != "cpu":
            answers = vmapped(module, parameters, inputs)
        else:
            answers = by_slot(module, parameters, inputs)
        return Output(_asked(answers, num_query_positions))

    def training_losses(
        self, parameters: Mapping[str, Tensor], task: Task, batch: Batch, steps_S: Tensor, streams: Streams
    ) -> TrainingLosses:
        """The task's losses of the module in training mode, and the buffers that it changes."""
        from pipeline.models._module_slots import traits

        assert self._task_shape is not None, "training needs model.bind(task_shape)"
        if traits(self, self._task_shape).is_plain:
            return super().training_losses(parameters, task, batch, steps_S, streams)
        predictions, state = self._trained(parameters, batch.inputs, self._task_shape.num_query_positions, streams)
        return TrainingLosses(task.losses(predictions, batch.targets).mean(1), state)

    def training_predictions(
        self, parameters: Mapping[str, Tensor], inputs: Tensor, num_query_positions: int, streams: Streams
    ) -> Tensor:
        """The module's outputs in training mode, where it draws random numbers."""
        if not streams:
            return self.predict(parameters, inputs, num_query_positions)
        return self._trained(parameters, inputs, num_query_positions, streams)[0]

    def _trained(
        self, parameters: Mapping[str, Tensor], inputs: Tensor, num_query_positions: int, streams: Streams
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Predictions in training mode, and the buffers that the module changes."""
        from pipeline.models._module_slots import by_slot_with_state, template

        assert self._task_shape is not None, "training needs model.bind(task_shape)"
        module = template(self, self._task_shape, next(iter(parameters.values())).dtype, inputs.device)
        answers, state = by_slot_with_state(module, parameters, inputs, streams.get("noise"))
        return _asked(answers, num_query_positions), state

    def is_traceable(self, task_shape: TaskShape) -> bool:
        """Where the module changes no buffer in training, and losses are the task's."""
        from pipeline.models._module_slots import traits

        own = type(self)
        is_usual = own.training_losses is TorchModule.training_losses and own.evaluated is Model.evaluated
        return is_usual and not traits(self, task_shape).state

    def noise_pieces(self, task_shape: TaskShape) -> tuple[int, ...]:
        """By the axis along which what is drawn is longer for two examples than for one."""
        from pipeline.models._module_slots import noise_pieces

        return noise_pieces(self, task_shape)

    def own_module(self, parameters: Mapping[str, Tensor]) -> nn.Module:
        """The module itself, in evaluation mode, with one run's `parameters`, (rows, columns) each."""
        from pipeline.models._module_slots import built_anew, with_values

        assert self._task_shape is not None, "it needs model.bind(task_shape)"
        dtype = next(iter(parameters.values())).dtype
        return with_values(built_anew(self, self._task_shape, 0).to(dtype), parameters)


def _asked(answers: Tensor, num_query_positions: int) -> Tensor:
    """(S, B * Q, num_outputs), of outputs (S, B, num_outputs) or (S, B, L, num_outputs)."""
    return answers if answers.dim() == 3 else answers[:, :, -num_query_positions:].flatten(1, 2)
