"""The graph of a model that draws random numbers while it trains: dropout and other noise of the run's stream."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, fx

from pipeline.codegen.graph.build import GraphBuilder, NoCodeError
from pipeline.codegen.graph.draws import DRAW, INTEGER, UNIT
from pipeline.codegen.graph.nodes import Draw, Operand, SourceNode
from pipeline.codegen.graph.operands import arguments_with
from pipeline.codegen.graph.trace import ModelToTrace, Trace
from pipeline.models._module_slots import example
from pipeline.models.base import Model
from pipeline.numerics.streams import Draws, stream_key
from pipeline.tasks.base import TaskShape

_aten = torch.ops.aten
# Uniform numbers are the centres of as many cells, (2 k + 1) / 2^24, in single precision whatever the run's.
_NUM_CELLS = 2**23
_NUM_EXAMPLES = 3
_AGREE = {torch.float32: 1e-4, torch.float64: 1e-10}


class NoiseBuilder(GraphBuilder):
    """Interprets the trace of a model whose draws stand in these `pieces` (see `Model.noise_pieces`)."""

    def __init__(self, trace: Trace, dtype: torch.dtype, pieces: tuple[int, ...]) -> None:
        super().__init__(trace)
        self._dtype, self._pieces = dtype, pieces

    def _called(self, node: fx.Node, target: Any) -> Any:
        args, _ = arguments_with(node, self._values.__getitem__)
        if target is DRAW:
            return self._drawn(*args)
        if target is _aten.lt.Scalar and _is_draw(args[0], UNIT):
            return self._below(args[0], float(args[1]))
        return super()._called(node, target)

    def _converted(self, node: fx.Node, operand: Operand) -> Operand:
        """What is drawn is drawn in the run's own precision."""
        is_real = cast("Tensor", node.meta["val"]).dtype.is_floating_point
        return operand if is_real and isinstance(operand.node, Draw) else super()._converted(node, operand)

    def map(self, function: str, *operands: Operand) -> Operand:
        """Masks of dropout are divided where they are drawn."""
        drawn, by = operands if function == "over" else (None, None)
        if drawn is None or by is None or not _is_draw(drawn, "is_below") or by.known is None:
            return super().map(function, *operands)
        mask, divisors = cast("Draw", drawn.node), by.known
        if mask.divisor != 1 or (divisors != divisors.flat[0]).any():
            return super().map(function, *operands)
        found = self._draw(mask.size, mask.kind, mask.substream, mask.high, mask.bound, float(divisors.flat[0]))
        return Operand(found, np.broadcast_to(drawn.index, np.broadcast_shapes(drawn.shape, by.shape)))

    def _drawn(
        self, key: Operand, step: Operand, kind: str, count: int, substream: int, _: int, dtype: torch.dtype
    ) -> Operand:
        """The op of `draws.py`, of one example."""
        if kind == INTEGER:
            raise NotImplementedError("no C++ is written for whole numbers that a model draws")
        names = [one.node.name for one in (key, step) if isinstance(one.node, SourceNode)]
        assert names == ["stream", "step"], "a model draws from its stream at the run's step"
        return self._draw(count, kind, substream).whole(1, 1, count)

    def _draw(self, size: int, kind: str, substream: int, high: int = 0, bound: int = 0, divisor: float = 1.0) -> Draw:
        what = (kind, 0, substream, high, 0, bound, self._pieces[substream], divisor)
        return self.draw(size, *what)

    def _below(self, drawn: Operand, share: float) -> Operand:
        """Whether uniform numbers are below a share: a comparison of their words, exact in either precision."""
        unit = cast("Draw", drawn.node)
        bound = int(np.ceil((float(np.float32(share)) * 2 * _NUM_CELLS - 1) / 2))
        found = self._draw(unit.size, "is_below", unit.substream, _NUM_CELLS, min(max(bound, 0), _NUM_CELLS))
        return Operand(found, drawn.index)


def _is_draw(operand: Operand, kind: str) -> bool:
    return isinstance(operand.node, Draw) and operand.node.kind == kind


@dataclass(frozen=True)
class _OfOneExample(Draws):
    """The part of a batch's draws that an example has by `pieces`."""

    number: int = 0
    pieces: tuple[int, ...] = ()

    def uniform(self, num_columns: int, substream: int, dtype: torch.dtype = torch.float32) -> Tensor:
        """As of `Draws`, of one example."""
        return self._part(self._batch.uniform(num_columns * _NUM_EXAMPLES, substream, dtype), substream)

    def normal(self, num_columns: int, substream: int, dtype: torch.dtype = torch.float32) -> Tensor:
        """As of `Draws`, of one example."""
        return self._part(self._batch.normal(num_columns * _NUM_EXAMPLES, substream, dtype), substream)

    @property
    def _batch(self) -> Draws:
        return Draws(self.keys_S2, self.steps_S, 1)

    def _part(self, whole: Tensor, substream: int) -> Tensor:
        return whole.view(self.pieces[substream], _NUM_EXAMPLES, -1)[:, self.number].reshape(1, 1, -1)


def own_pieces(model: Model, task_shape: TaskShape) -> tuple[int, ...]:
    """`Model.noise_pieces`, none of a model that draws nothing. Raises NoCodeError where examples share numbers."""
    try:
        return model.noise_pieces(task_shape) if model.noise_streams(task_shape) else ()
    except NotImplementedError as error:
        raise NoCodeError(str(error)) from None


def refuse_shared(model: Model, task_shape: TaskShape, dtype: torch.dtype, pieces: tuple[int, ...]) -> None:
    """Raises NoCodeError unless each example by itself, with its part of the draws, is what it is in a batch."""
    made_up = ModelToTrace.of(model, task_shape, dtype)
    parameters = made_up.named(made_up.values)
    inputs = example(task_shape).inputs[None, :_NUM_EXAMPLES]
    inputs = inputs.to(dtype) if inputs.is_floating_point() else inputs
    key, step = torch.tensor([stream_key("noise", 0)]), torch.zeros(1, dtype=torch.int64)

    def predicted(some: Tensor, draws: Draws) -> Tensor:
        streams = dict.fromkeys(model.noise_streams(task_shape), draws)
        with torch.no_grad():
            return made_up.model.training_predictions(parameters, some, task_shape.num_query_positions, streams)

    whole = predicted(inputs, Draws(key, step, 1)).view(_NUM_EXAMPLES, -1)
    alone = [
        predicted(inputs[:, number : number + 1], _OfOneExample(key, step, 1, number=number, pieces=pieces)).view(-1)
        for number in range(_NUM_EXAMPLES)
    ]
    if not torch.allclose(torch.stack(alone), whole, rtol=_AGREE[dtype], atol=_AGREE[dtype]):
        raise NoCodeError("no C++ is written for random numbers that examples of a batch share")
