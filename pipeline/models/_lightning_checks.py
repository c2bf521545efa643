"""Why a LightningModule cannot be trained in a pack, found when a spec is read."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from functools import lru_cache
from typing import TYPE_CHECKING

import torch
from torch import nn

from pipeline.models._lightning import OR_BY_A_TRAINER
from pipeline.models._lightning_steps import NeedsTrainerError, has_validation
from pipeline.models._module_checks import problems_of, raised, wrong_parameters
from pipeline.models._module_slots import Example, built_anew, example, same_values
from pipeline.models._start import StartError
from pipeline.tasks.base import TaskShape

if TYPE_CHECKING:
    from pipeline.models._lightning_builder import LightningBuilder
    from pipeline.models._lightning_trainer import TrainerBuilder

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
# Callbacks that look at validation inside a fit, or write files, and what does that here.
_INSTEAD = {
    "EarlyStopping": "a run ends at its budget, or by the sweep's `stopping`",
    "Checkpoint": "`snapshots` keeps states, and `seedbed checkpoint` writes them",
}
_OF_TESTS = ("on_test", "on_predict")


@lru_cache(maxsize=256)
def lightning_problems(builder: LightningBuilder, task_shape: TaskShape) -> tuple[str, ...]:
    """One sentence each: what the class asks of a Trainer, or what its steps do on a made-up batch."""
    name = builder.module_class.__name__
    hooks = sorted(_hooks(builder.module_class))
    if hooks:
        return (f"{name} defines {', '.join(hooks)}, which a Trainer alone calls{OR_BY_A_TRAINER}",)
    batch = example(task_shape)
    try:
        module = built_anew(builder, task_shape, 0)
        if not module.automatic_optimization:
            return (f"{name} optimises by itself (automatic_optimization is False){OR_BY_A_TRAINER}",)
        return problems_of(builder, task_shape) or tuple(_wrong_logs(builder, task_shape))
    except StartError as error:
        return (f"start {error}",)
    except NeedsTrainerError as error:
        return (f"{name} uses {error}, which a Trainer alone has{OR_BY_A_TRAINER}",)
    except Exception as error:
        return (raised(builder.module_class, batch, error),)


@lru_cache(maxsize=256)
def trainer_problems(builder: TrainerBuilder, task_shape: TaskShape) -> tuple[str, ...]:
    """One sentence each: why Trainers cannot train the class, seen in a fit of two steps and its continuation."""
    name, batch = builder.module_class.__name__, example(task_shape)
    if not has_validation(builder.module_class):
        return (f"{name} has no validation_step; under a Trainer it says what the loss is",)
    try:
        module = built_anew(builder, task_shape, 0)
        wrong = tuple(wrong_parameters(module)) or tuple(_other_starts(builder, task_shape))
        if wrong or (wrong := tuple(_wrong_callbacks(module))):
            return wrong
        return _tried(builder, module, builder.shaped(batch)) or tuple(_wrong_logs(builder, task_shape))
    except StartError as error:
        return (f"start {error}",)
    except Exception as error:
        return (raised(builder.module_class, batch, error),)


def _tried(builder: TrainerBuilder, module: nn.Module, batch: Example) -> tuple[str, ...]:
    """Two epochs of one step, and a third from the checkpoint of the second."""
    from pipeline.models._lightning_fit import Fit, Step

    steps = [Step(batch.inputs, batch.targets, seed) for seed in range(3)]
    fit = Fit(module, torch.device("cpu"), steps_per_epoch=1)
    fit.advance(steps[:2])
    checkpoint = fit.checkpoint()
    fit.close()
    again = Fit(builder.anew(), torch.device("cpu"), steps_per_epoch=1, checkpoint=checkpoint)
    try:
        again.advance(steps[2:])
    except pickle.UnpicklingError as error:
        said = next(iter(str(error).splitlines()), "")
        return (f"torch.load(weights_only=True) refuses its checkpoint: {said}",)
    return ()


def _other_starts(builder: TrainerBuilder, task_shape: TaskShape) -> Iterator[str]:
    first, again = (built_anew(builder, task_shape, 0).state_dict() for _ in range(2))
    for name, value in first.items():
        if not same_values(value, again[name]):
            yield f"{name} is initialised differently under the same seed; draw from torch's generator alone"


def _wrong_callbacks(module: nn.Module) -> Iterator[str]:
    """Callbacks for what seedbed does itself."""
    given = module.configure_callbacks()  # type: ignore[operator]
    for callback in given if isinstance(given, (list, tuple)) else [given]:
        for base in type(callback).__mro__:
            if base.__name__ in _INSTEAD and base.__module__.startswith("lightning."):
                yield f"configure_callbacks gives {type(callback).__name__}; {_INSTEAD[base.__name__]}"


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
