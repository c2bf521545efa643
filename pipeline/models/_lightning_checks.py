"""Why a LightningModule cannot be trained in a pack, found when a spec is read."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import TYPE_CHECKING

import torch

from pipeline.models._lightning_steps import NeedsTrainerError, has_validation
from pipeline.models._module_checks import problems_of
from pipeline.models._module_slots import built_anew, example
from pipeline.models._start import StartError
from pipeline.own_code.places import place_of
from pipeline.tasks.base import TaskShape

if TYPE_CHECKING:
    from pipeline.models._lightning_builder import LightningBuilder

# Methods of a LightningModule that a pack calls, or that nothing of training depends on.
_CALLED = {
    "training_step",
    "validation_step",
    "configure_optimizers",
    "forward",
    "test_step",
    "predict_step",
    "train_dataloader",
    "val_dataloader",
    "test_dataloader",
    "predict_dataloader",
    "example_input_array",
    "prepare_data",
}
_OF_TESTS = ("on_test", "on_predict")


@lru_cache(maxsize=256)
def lightning_problems(builder: LightningBuilder, task_shape: TaskShape) -> tuple[str, ...]:
    """One sentence each: what the class asks of a Trainer, or what its steps do on a made-up batch."""
    name = builder.module_class.__name__
    hooks = sorted(_hooks(builder.module_class))
    if hooks:
        return (f"{name} defines {', '.join(hooks)}, which a Trainer alone calls",)
    batch = example(task_shape)
    try:
        module = built_anew(builder, task_shape, 0)
        if not module.automatic_optimization:
            return (f"{name} optimises by itself (automatic_optimization is False)",)
        return problems_of(builder, task_shape) or tuple(_wrong_logs(builder, task_shape))
    except StartError as error:
        return (f"start {error}",)
    except NeedsTrainerError as error:
        return (f"{name} uses {error}, which a Trainer alone has",)
    except Exception as error:
        shapes = f"inputs {_shown(batch.inputs)} and targets {_shown(batch.targets)}"
        place = place_of(builder.module_class, error)
        return (f"{name} raises on a batch of {shapes}: {type(error).__name__}: {error} ({place})",)


def _hooks(cls: type) -> Iterator[str]:
    """Names that the class redefines of those that lightning's own base classes have, but for those in `_CALLED`."""
    bases = [base for base in cls.__mro__ if base.__module__.startswith(("lightning.", "pytorch_lightning."))]
    known = {name for base in bases for name in vars(base) if not name.startswith("_")}
    for base in cls.__mro__:
        if base not in bases and not base.__module__.startswith(("torch.", "builtins")):
            yield from (
                name for name in vars(base) if name in known - _CALLED and not name.startswith((*_OF_TESTS, "example"))
            )


def _wrong_logs(builder: LightningBuilder, task_shape: TaskShape) -> Iterator[str]:
    module = built_anew(builder, task_shape, 0).eval()
    if has_validation(type(module)):
        with torch.no_grad():
            logged = builder.logged(module, example(task_shape))
        if builder.monitor not in logged:
            known = ", ".join(logged) or "nothing"
            yield f"validation_step logs {known}, not {builder.monitor}; name its loss, as monitor: NAME"


def _shown(tensor: torch.Tensor) -> str:
    return f"{tuple(tensor.shape)} {str(tensor.dtype).removeprefix('torch.')}"
