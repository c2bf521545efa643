"""What an optimiser does to one weight of a run, and a schedule's factor, traced from their torch code."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor, fx
from torch.func import functionalize

from pipeline.codegen.graph.trace import graph_of
from pipeline.optimisers.base import Optimiser
from pipeline.schedules.base import Schedule


class Variable(NamedTuple):
    """What an update reads or changes: an array like the weights, (S, P), or a number of each slot."""

    kind: Literal["weights", "gradient", "moments", "scalars", "hyperparameters", "step"]
    name: str = ""

    @property
    def is_row(self) -> bool:
        """Whether it is an array like the weights."""
        return self.kind in ("weights", "gradient", "moments")


class Sizes(NamedTuple):
    """Slots and weights of a trace. Neither is in what it computes, so any will do that are not 1."""

    num_slots: int
    num_weights: int

    def ones(self, variable: Variable, dtype: torch.dtype) -> Tensor:
        """An array for the variable, as the engine gives it to the reference."""
        width = {"scalars": (), "hyperparameters": (1,), "step": (1,)}.get(variable.kind, (self.num_weights,))
        return torch.ones(self.num_slots, *width, dtype=dtype)


class UpdateTrace(NamedTuple):
    """A graph of core ATen operations on `inputs`, which gives what the `outputs` become."""

    graph: fx.GraphModule
    sizes: Sizes
    inputs: tuple[Variable, ...]
    outputs: tuple[Variable, ...]


def traced_update(optimiser: Optimiser, sizes: Sizes, dtype: torch.dtype) -> UpdateTrace:
    """Trace `optimiser.update`, with what it changes in place as its results."""
    weights = Variable("weights")
    state = (*(Variable("moments", name) for name in optimiser.moments), *_scalars(optimiser))
    inputs = (weights, Variable("gradient"), *state, *_hyperparameters(optimiser.vector_fields()))

    def update(values: list[Tensor]) -> list[Tensor]:
        own = dict(zip(inputs, values, strict=True))
        named = {variable.name: own[variable] for variable in state}
        columns = {one.name: value for one, value in own.items() if one.kind == "hyperparameters"}
        optimiser.update(own[weights], own[Variable("gradient")], named, columns)
        return [own[weights], *named.values()]

    return UpdateTrace(_functional(update, inputs, sizes, dtype), sizes, inputs, (weights, *state))


def traced_factor(schedule: Schedule, sizes: Sizes, dtype: torch.dtype) -> UpdateTrace:
    """Trace `schedule.after_warmup`."""
    step = Variable("step")
    inputs = (step, *_hyperparameters(schedule.vector_fields()))

    def factor(values: list[Tensor]) -> list[Tensor]:
        columns = {one.name: value for one, value in zip(inputs[1:], values[1:], strict=True)}
        found = schedule.after_warmup(values[0], columns)
        if tuple(found.shape) != tuple(values[0].shape):
            raise ValueError(f"factors have shape {tuple(found.shape)}, not {tuple(values[0].shape)}")
        return [found]

    return UpdateTrace(_functional(factor, inputs, sizes, dtype), sizes, inputs, (step,))


def _functional(
    function: Callable[[list[Tensor]], list[Tensor]], inputs: Sequence[Variable], sizes: Sizes, dtype: torch.dtype
) -> fx.GraphModule:
    """The trace of a function that changes its arguments, without operations in place."""

    def on_copies(values: list[Tensor]) -> list[Tensor]:
        # Of its own arguments `functionalize` writes the changes back.
        with torch.no_grad():
            return function([value.clone() for value in values])

    return graph_of(functionalize(on_copies), [sizes.ones(variable, dtype) for variable in inputs])


def _scalars(optimiser: Optimiser) -> tuple[Variable, ...]:
    return tuple(Variable("scalars", name) for name in optimiser.scalars)


def _hyperparameters(names: Sequence[str]) -> tuple[Variable, ...]:
    return tuple(Variable("hyperparameters", name) for name in names)
