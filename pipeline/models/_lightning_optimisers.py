"""What `configure_optimizers` of a LightningModule asks for, in terms of registered optimisers."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from pipeline.arrays import Floats
from pipeline.models.base import Configuration

# What a registered optimiser has no parameter for must have the value that leaves it out.
_LEFT_OUT = {"amsgrad": False, "maximize": False, "nesterov": False, "dampening": 0}
# Largest relative difference between the factors of groups that counts as rounding.
_SAME = 1e-9


class ConfigurationError(ValueError):
    """An optimiser or scheduler that has no registered equal; the message says why."""


def configuration_of(module: nn.Module) -> Configuration:
    """The optimiser of a module and its hyperparameters, before any scheduler has acted.

    Raises ConfigurationError for several optimisers, and for what has no registered equal.
    """
    optimiser, _ = _asked(module)
    names = {id(value): name for name, value in module.named_parameters()}
    by_parameter = {
        names[id(value)]: _translated(optimiser, group)
        for group in optimiser.param_groups
        for value in group["params"]
        if id(value) in names
    }
    free = [name for name, value in module.named_parameters() if value.requires_grad and name not in by_parameter]
    if free:
        raise ConfigurationError(f"leaves out parameter {free[0]}; give it requires_grad=False")
    first = next(iter(by_parameter.values()))
    for name in ("beta1", "beta2"):
        if any(own.get(name) != first.get(name) for own in by_parameter.values()):
            raise ConfigurationError("gives groups of parameters that differ in their betas; give them the same")
    adds_decay = _adds_decay(optimiser) and any(own["weight_decay"] for own in by_parameter.values())
    differ = any(own != first for own in by_parameter.values())
    return Configuration(_registered(optimiser), first, by_parameter if differ or adds_decay else {}, adds_decay)


def _registered(optimiser: torch.optim.Optimizer) -> str:
    kind = type(optimiser)
    if kind in (torch.optim.AdamW, torch.optim.Adam):
        return "adamw"
    if kind is torch.optim.SGD:
        return "sgd"
    raise ConfigurationError(f"gives {kind.__name__}; AdamW, Adam and SGD have registered equals")


def _adds_decay(optimiser: torch.optim.Optimizer) -> bool:
    """Whether weight decay is a part of the gradient."""
    return not optimiser.param_groups[0].get("decoupled_weight_decay", type(optimiser) is torch.optim.AdamW)


def _translated(optimiser: torch.optim.Optimizer, group: Mapping[str, Any]) -> dict[str, float]:
    """The hyperparameters of a group under the names of the registered optimiser, `lr` before any scheduler."""
    registered = _registered(optimiser)
    if wrong := [name for name, value in _LEFT_OUT.items() if group.get(name, value) != value]:
        raise ConfigurationError(f"asks for {wrong[0]}={group[wrong[0]]}, which no registered optimiser has")
    found = {"lr": float(group.get("initial_lr", group["lr"]))}
    if not found["lr"] > 0:
        raise ConfigurationError(f"gives lr={found['lr']}; what is to stand still needs requires_grad=False")
    if registered == "adamw":
        beta1, beta2 = map(float, group["betas"])
        found |= {"beta1": beta1, "beta2": beta2, "eps": float(group["eps"])}
    else:
        found["momentum"] = float(group["momentum"])
    return {**found, "weight_decay": float(group.get("weight_decay", 0))}


def _asked(module: nn.Module) -> tuple[torch.optim.Optimizer, Mapping[str, Any] | None]:
    """The optimiser, and the scheduler with its `interval` and `frequency`, in all forms that Lightning allows."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            given = module.configure_optimizers()  # type: ignore[operator]
        except Exception as error:
            # Any that code of one's own may raise, such as that of `self.trainer`, which there is none of.
            raise ConfigurationError(f"raises {type(error).__name__}: {error}") from None
    schedulers: Any = ()
    if isinstance(given, Mapping):
        schedulers = [given["lr_scheduler"]] if given.get("lr_scheduler") is not None else []
        given = given["optimizer"]
    elif isinstance(given, (list, tuple)) and len(given) == 2 and isinstance(given[0], (list, tuple)):
        given, schedulers = given
    if isinstance(given, (list, tuple)):
        if len(given) != 1:
            raise ConfigurationError(f"gives {len(given)} optimisers; a run has one")
        (given,) = given
        if isinstance(given, Mapping):
            return _asked_in(given)
    if not isinstance(given, torch.optim.Optimizer):
        raise ConfigurationError(f"gives {type(given).__name__}, not an optimiser")
    return given, _one(schedulers)


def _asked_in(given: Mapping[str, Any]) -> tuple[torch.optim.Optimizer, Mapping[str, Any] | None]:
    scheduler = given.get("lr_scheduler")
    return given["optimizer"], _one([] if scheduler is None else [scheduler])


def _one(schedulers: Sequence[Any]) -> Mapping[str, Any] | None:
    if not schedulers:
        return None
    if len(schedulers) > 1:
        raise ConfigurationError(f"gives {len(schedulers)} schedulers; join them by SequentialLR")
    (found,) = schedulers
    return found if isinstance(found, Mapping) else {"scheduler": found}


def lr_factors_of(module: nn.Module, steps_per_epoch: int | None, num_steps: int) -> Floats | None:
    """(num_steps,): the factor on lr of every update, by stepping the module's own scheduler; None without one.

    Raises ConfigurationError for a scheduler that looks at metrics, changes more than lr, or counts epochs where
    `steps_per_epoch` is None. OneCycleLR, which refuses to be stepped beyond its end, keeps its last factor there,
    which no run reaches: see `num_lr_factors_of`.
    """
    optimiser, given = _asked(module)
    if given is None:
        return None
    scheduler, interval = given["scheduler"], given.get("interval", "epoch")
    if isinstance(scheduler, torch.optim.lr_scheduler.ReduceLROnPlateau):
        raise ConfigurationError("gives ReduceLROnPlateau, which looks at metrics; use a scheduler of steps")
    if interval == "epoch" and steps_per_epoch is None:
        raise ConfigurationError(
            'gives a scheduler that counts epochs, and data come step by step; return "interval": "step" beside it, or '
            "say steps_per_epoch in the section `model` of the sweep file"
        )
    every = _updates_between(given, steps_per_epoch)
    groups = optimiser.param_groups
    base = np.array([group.get("initial_lr", group["lr"]) for group in groups], float)
    fixed = [_all_but_lr(group) for group in groups]
    factors = np.empty(num_steps)
    with warnings.catch_warnings():
        # It is stepped without its optimiser.
        warnings.simplefilter("ignore")
        for first in range(0, num_steps, every):
            own = np.array([group["lr"] for group in groups], float) / base
            if np.ptp(own) > _SAME * abs(own[0]):
                raise ConfigurationError(f"gives {type(scheduler).__name__}, which moves the lr of groups differently")
            factors[first : first + every] = own[0]
            if isinstance(scheduler, torch.optim.lr_scheduler.OneCycleLR) and _is_at_its_end(scheduler):
                factors[first + every :] = factors[first]
                break
            scheduler.step()
            # At each step, since a cycle brings back what it began with.
            if [_all_but_lr(group) for group in groups] != fixed:
                # On by default in OneCycleLR and CyclicLR.
                is_momentums = getattr(scheduler, "cycle_momentum", False)
                mend = "; give it cycle_momentum=False, which leaves the others alone" if is_momentums else ""
                raise ConfigurationError(f"gives {type(scheduler).__name__}, which changes more than lr{mend}")
    return factors


def num_lr_factors_of(module: nn.Module, steps_per_epoch: int | None) -> int | None:
    """The updates after which the module's scheduler has no factor: those of OneCycleLR. None for any other."""
    _, given = _asked(module)
    if given is None or not isinstance(given["scheduler"], torch.optim.lr_scheduler.OneCycleLR):
        return None
    return int(given["scheduler"].total_steps) * _updates_between(given, steps_per_epoch)


def _updates_between(given: Mapping[str, Any], steps_per_epoch: int | None) -> int:
    """The updates after which a scheduler is stepped."""
    return int(given.get("frequency", 1)) * (1 if given.get("interval", "epoch") == "step" else steps_per_epoch or 1)


def _all_but_lr(group: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in group.items() if name not in ("params", "lr")}


def _is_at_its_end(scheduler: torch.optim.lr_scheduler.OneCycleLR) -> bool:
    return scheduler.last_epoch >= scheduler.total_steps - 1
