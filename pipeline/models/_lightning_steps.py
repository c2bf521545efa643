"""The steps of a LightningModule as functions of parameters and a batch, without a Trainer."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Hashable, Mapping
from functools import cache
from typing import Any, cast

import torch
from torch import Tensor, nn

from pipeline.models._module_slots import Example

# What a metric of torchmetrics is known by, so that nothing need be imported.
_METRIC = "torchmetrics.metric"


class NeedsTrainerError(Exception):
    """A module asked for something that a Trainer alone has; the message says what."""


class _Packed:
    """What takes the Trainer's place: `log` is kept, `global_step` is the run's own, all else is refused."""

    _seedbed_step: int | None = None
    _seedbed_logged: dict[str, Any]

    @property
    def trainer(self) -> Any:
        """None exists."""
        raise NeedsTrainerError("self.trainer")

    @property
    def global_step(self) -> int:
        """The optimiser steps that the run has taken."""
        if self._seedbed_step is None:
            raise NeedsTrainerError("self.global_step in validation_step")
        return self._seedbed_step

    @property
    def current_epoch(self) -> int:
        """Data come from a stream, by step."""
        raise NeedsTrainerError("self.current_epoch")

    def optimizers(self, *_: Any, **__: Any) -> Any:
        """None exists."""
        raise NeedsTrainerError("self.optimizers()")

    def lr_schedulers(self) -> Any:
        """None exists."""
        raise NeedsTrainerError("self.lr_schedulers()")

    def manual_backward(self, *_: Any, **__: Any) -> Any:
        """The gradient is taken of what training_step returns."""
        raise NeedsTrainerError("self.manual_backward()")

    @property
    def logger(self) -> None:
        """No logger, as under Trainer(logger=False)."""
        return

    def log(self, name: str, value: Any, *_: Any, **__: Any) -> None:
        """Keep a number; metrics of torchmetrics as computed from this batch."""
        self._seedbed_logged[name] = value.compute() if _is_metric(value) else value

    def log_dict(self, dictionary: Mapping[str, Any], *_: Any, **__: Any) -> None:
        """Keep each of them."""
        for name, value in dictionary.items():
            self.log(name, value)


@cache
def _packed_class(cls: type) -> type:
    return type(cls.__name__, (_Packed, cls), {"__module__": cls.__module__, "__doc__": cls.__doc__})


def packed(module: nn.Module) -> nn.Module:
    """The module, from now on without a Trainer: its steps can be called by `loss_of` and `logged_by`."""
    module.__class__ = _packed_class(cast("Hashable", type(module)))
    return module


def _is_metric(value: object) -> bool:
    return any(base.__module__ == _METRIC for base in type(value).__mro__)


def loss_of(module: nn.Module, example: Example) -> Tensor:
    """What training_step returns for a batch, (). Raises TypeError where that is no loss."""
    answer = _called(module, "training_step", example, example.step)
    loss = answer.get("loss") if isinstance(answer, Mapping) else answer
    if not isinstance(loss, Tensor) or loss.numel() != 1:
        given = f"a tensor of shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else type(loss).__name__
        raise TypeError(f"training_step gives {given}, not a loss, which is one number")
    return loss.reshape(())


def logged_by(module: nn.Module, example: Example) -> dict[str, Tensor]:
    """Name -> (), of what validation_step logs for a batch; without one, `loss`, which is what training_step gives."""
    if not has_validation(type(module)):
        return {"loss": loss_of(module, example)}
    _called(module, "validation_step", example, None)
    logged = cast("_Packed", module)._seedbed_logged
    return {name: torch.as_tensor(value).reshape(()) for name, value in logged.items()}


def has_validation(cls: type) -> bool:
    """Whether a LightningModule has a validation_step of its own."""
    found = inspect.getattr_static(cls, "validation_step")
    return not found.__module__.startswith(("lightning.", "pytorch_lightning."))


def _called(module: nn.Module, name: str, example: Example, step: int | None) -> Any:
    inside = cast("_Packed", module)
    inside._seedbed_step, inside._seedbed_logged = step, {}
    call: Callable[..., Any] = getattr(module, name)
    batch = (example.inputs, example.targets)
    takes_index = len(inspect.signature(call).parameters) > 1
    try:
        return call(batch, step or 0) if takes_index else call(batch)
    finally:
        for part in module.modules():
            if _is_metric(part):
                cast("Any", part).reset()
