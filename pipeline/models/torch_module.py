"""Base class of models that wrap an ordinary torch module written for one run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from pydantic import PrivateAttr

from pipeline.models.base import Model, Output, ParameterSpec
from pipeline.tasks.base import TaskShape

if TYPE_CHECKING:
    from typing import Self

    from torch import Tensor, nn


class TorchModule(Model):
    """A model given by `module(task_shape)`, an nn.Module whose forward takes one run's inputs (B, L) or (B, L, D).

    It predicts (B, num_outputs), or (B, L, num_outputs) at every position; a class whose modules do the latter
    says `predicts_all_positions = True`. What follows is checked when a spec is read:
    - Initial values are the module's own: those that it has after `torch.manual_seed(seed)`, with the run's init_seed
      or the seed of stream init/<parameter>. They depend on nothing else.
    - Forward draws no random numbers (dropout), mixes no examples (batch norm) and changes no buffer. Buffers are
      constants, the same under every seed. It reads every parameter that is trained.

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
        from pipeline.models._module_slots import module_problems, specs_of

        wrong = module_problems(self, task_shape)
        if wrong:
            raise ValueError("; ".join(wrong))
        return specs_of(self, task_shape)

    def bind(self, task_shape: TaskShape) -> Self:
        """A copy that stores `task_shape`, from which `forward` builds its module."""
        copy = self.model_copy()
        copy._task_shape = task_shape
        return copy

    def forward(
        self,
        parameters: Mapping[str, Tensor],
        inputs: Tensor,
        with_attention: bool = False,
        num_query_positions: int = 1,
        attention_bias: Sequence[Tensor] | None = None,
    ) -> Output:
        """The module's outputs in every slot; no attention maps."""
        assert attention_bias is None, "this model has no softmax attention to bias"
        from pipeline.models._module_slots import by_slot, template, vmapped

        assert self._task_shape is not None, "forward needs model.bind(task_shape)"
        dtype = next(iter(parameters.values())).dtype
        compute = vmapped if self.is_vmapped and inputs.device.type != "cpu" else by_slot
        answers = compute(template(self, self._task_shape, dtype, inputs.device), parameters, inputs)
        return Output(answers if answers.dim() == 3 else answers[:, :, -num_query_positions:].flatten(1, 2))
