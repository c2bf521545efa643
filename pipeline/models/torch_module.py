"""Models that are an ordinary torch module, written for one run: a file in `pipeline/models` derives its class."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from pydantic import PrivateAttr

from pipeline.models.base import Model, Output, ParameterSpec
from pipeline.tasks.base import Interface

if TYPE_CHECKING:
    from typing import Self

    from torch import Tensor, nn


class TorchModule(Model):
    """A model given by `module(interface)`, an nn.Module whose forward takes one run's inputs (B, L) or (B, L, D).

    It answers with (B, num_outputs), or with (B, L, num_outputs) at every position; a class whose modules do the latter
    says `answers_everywhere = True`. What follows is checked when a spec is read:
    - Initial values are the module's own: those that it has after `torch.manual_seed(seed)`, with the run's init_seed
      or the seed of stream init/<parameter>. They follow from nothing else.
    - Forward draws no random numbers (dropout), mixes no examples (batch norm) and changes no buffer. Buffers are
      constants, the same under every seed. It reads every parameter that is trained.

    Slots are computed one by one, since batched kernels of CPUs round by slot. On a GPU a class that says
    `is_vmapped = True` is computed for all slots at once, by torch.func.vmap; that its numbers agree is checked too.
    """

    has_softmax: ClassVar[bool] = False
    is_vmapped: ClassVar[bool] = False

    _interface: Interface | None = PrivateAttr(None)

    def module(self, interface: Interface) -> nn.Module:
        """The module of one run; its parameters are what is trained."""
        raise NotImplementedError

    def parameter_specs(self, interface: Interface) -> tuple[ParameterSpec, ...]:
        """A parameter of any shape as (first axis, all others), a vector as one row. Raises ValueError, see above."""
        from pipeline.models._module_slots import problems, specs_of

        wrong = problems(self, interface)
        if wrong:
            raise ValueError("; ".join(wrong))
        return specs_of(self, interface)

    def bound(self, interface: Interface) -> Self:
        """A copy that knows the interface, from which `forward` builds its module."""
        copy = self.model_copy()
        copy._interface = interface
        return copy

    def forward(
        self, parameters: Mapping[str, Tensor], inputs: Tensor, with_attention: bool = False, num_targets: int = 1
    ) -> Output:
        """The module's answers in every slot; no maps of attention."""
        from pipeline.models._module_slots import by_slot, template, vmapped

        assert self._interface is not None, "forward needs model.bound(interface)"
        dtype = next(iter(parameters.values())).dtype
        compute = vmapped if self.is_vmapped and inputs.device.type != "cpu" else by_slot
        answers = compute(template(self, self._interface, dtype, inputs.device), parameters, inputs)
        return Output(answers if answers.dim() == 3 else answers[:, :, -num_targets:].flatten(1, 2))
