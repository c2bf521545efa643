"""Makes a LightningModule of the user's own, and calls its steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from pipeline.tasks.base import TaskShape

if TYPE_CHECKING:
    from torch import Tensor, nn

    from pipeline.models._module_slots import Example


@dataclass(frozen=True)
class LightningBuilder:
    """Makes the module of a run, by the keywords of its own __init__. `monitor` is the loss that it logs."""

    is_vmapped: ClassVar[bool] = False
    predicts_all_positions: ClassVar[bool] = True

    module_class: type
    keywords: tuple[tuple[str, Any], ...]
    monitor: str
    input_shape: tuple[int, ...] | None = None
    start: tuple[str, str] | None = None

    def own(self) -> nn.Module:
        """The module as its class makes it."""
        made: nn.Module = self.module_class(**{name: as_list(value) for name, value in self.keywords})
        return made

    def module(self, task_shape: TaskShape) -> nn.Module:
        """The module without a Trainer, with the weights that it starts from."""
        from pipeline.models._lightning_steps import packed
        from pipeline.models._start import start_from

        made = self.own()
        if self.start is not None:
            start_from(made, *self.start)
        return packed(made)

    def trained_on(self, module: nn.Module, example: Example) -> Tensor:
        """The loss of its training_step, ()."""
        from pipeline.models._lightning_steps import loss_of

        return loss_of(module, self.shaped(example))

    def evaluated_on(self, module: nn.Module, example: Example) -> Tensor:
        """What its validation_step logs, (M,), the loss first."""
        import torch

        return torch.stack([value.double() for value in self.metrics(module, example).values()])

    def logged(self, module: nn.Module, example: Example) -> dict[str, Tensor]:
        """Name as logged by its validation_step -> ()."""
        from pipeline.models._lightning_steps import logged_by

        return logged_by(module, self.shaped(example))

    def has_validation(self) -> bool:
        """Whether the class has a validation_step."""
        from pipeline.models._lightning_steps import has_validation

        return has_validation(self.module_class)

    def metrics(self, module: nn.Module, example: Example) -> dict[str, Tensor]:
        """Name as recorded -> (): `loss` is what `monitor` names; others lose a leading "val_"; `acc` is accuracy."""
        found = {_recorded(name, self.monitor): value for name, value in self.logged(module, example).items()}
        return {"loss": found.pop("loss"), **found} if "loss" in found else found

    def shaped(self, example: Example) -> Example:
        """The batch with inputs (B, *input_shape), if that is given."""
        if self.input_shape is None:
            return example
        return example._replace(inputs=example.inputs.reshape(-1, *self.input_shape))


def as_list(value: Any) -> Any:
    """A tuple, which is what frozen parameters hold, as the list that was given."""
    return [as_list(item) for item in value] if isinstance(value, tuple) else value


def _recorded(name: str, monitor: str) -> str:
    if name == monitor:
        return "loss"
    short = name.removeprefix("val_").removeprefix("val/")
    # Another loss than the one that counts keeps its name.
    return {"acc": "accuracy", "loss": name}.get(short, short)
