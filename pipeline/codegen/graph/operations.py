"""The table of operations: what each operation of torch that a trace may hold means as nodes of the graph."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from pipeline.codegen.graph.activations import ACTIVATIONS
from pipeline.codegen.graph.aliases import VIEWS
from pipeline.codegen.graph.nodes import Operand
from pipeline.codegen.graph.powers import POWERS

if TYPE_CHECKING:
    from pipeline.codegen.graph.build import GraphBuilder

_aten = torch.ops.aten

# Operation of torch -> function of native/functions.h, of as many numbers as it takes.
MAPS: dict[Any, str] = {
    _aten.add.Tensor: "plus",
    _aten.sub.Tensor: "minus",
    _aten.mul.Tensor: "times_",
    _aten.div.Tensor: "over",
    _aten.neg.default: "negative",
    _aten.log.default: "log",
    _aten.sqrt.default: "root",
    _aten.rsqrt.default: "inverse_root",
    _aten.reciprocal.default: "inverse",
    _aten.tanh.default: "tanh",
    _aten.sigmoid.default: "sigmoid",
    _aten.erf.default: "erf",
    _aten.relu.default: "rectified",
    _aten.abs.default: "size_of",
    _aten.sign.default: "sign",
    _aten.sin.default: "sine",
    _aten.cos.default: "cosine",
    _aten.atan.default: "arc_tangent",
    _aten.atan2.default: "angle",
    _aten.floor.default: "lower_whole",
    _aten.ceil.default: "upper_whole",
    _aten.round.default: "nearest_whole",
    _aten.trunc.default: "whole_part",
    _aten.fmod.Tensor: "rest",
    _aten.remainder.Tensor: "modulo",
    _aten.pow.Tensor_Tensor: "power",
    _aten.pow.Scalar: "power",
    _aten.maximum.default: "larger",
    _aten.minimum.default: "smaller",
    _aten.where.self: "either",
    _aten.eq.Tensor: "equals",
    _aten.ne.Tensor: "differs",
    _aten.lt.Tensor: "is_below",
    _aten.le.Tensor: "is_at_most",
    _aten.gt.Tensor: "is_above",
    _aten.ge.Tensor: "is_at_least",
    _aten.logical_not.default: "negation",
    _aten.logical_and.default: "times_",
    _aten.logical_or.default: "larger",
    _aten.bitwise_not.default: "negation",
    _aten.bitwise_and.Tensor: "times_",
    _aten.bitwise_or.Tensor: "larger",
}
# The same with a number as its last argument.
MAPS |= {
    getattr(_aten, name).Scalar: MAPS[getattr(_aten, name).Tensor]
    for name in ("add", "sub", "mul", "div", "eq", "ne", "lt", "le", "gt", "ge", "fmod", "remainder")
}
# Operations in place that change the shape alone, and those that return the new one.
RESHAPES = {
    _aten.transpose_.default: _aten.transpose.int,
    _aten.t_.default: _aten.t.default,
    _aten.squeeze_.default: _aten.squeeze.default,
    _aten.squeeze_.dim: _aten.squeeze.dim,
    _aten.squeeze_.dims: _aten.squeeze.dims,
    _aten.unsqueeze_.default: _aten.unsqueeze.default,
}
# Operations that copy numbers from place to place. Applied to positions, they say themselves which.
MOVES = {
    *VIEWS,
    *RESHAPES.values(),
    _aten.cat.default,
    _aten.clone.default,
    _aten.constant_pad_nd.default,
    _aten.flip.default,
    _aten.gather.default,
    _aten.index.Tensor,
    _aten.index_select.default,
    _aten.repeat.default,
    _aten.slice_scatter.default,
}
# Operations that give one number everywhere; None: that of their last argument. What torch leaves unset is 0, so that a
# text is the same whenever it is written.
FILLS: dict[Any, float | None] = {
    _aten.empty.memory_format: 0.0,
    _aten.empty_permuted.default: 0.0,
    _aten.empty_strided.default: 0.0,
    _aten.new_empty_strided.default: 0.0,
    _aten.full_like.default: None,
}
GATHERS = {_aten.gather.default, _aten.index.Tensor, _aten.index_select.default}
NO_CHANGE = {_aten._to_copy.default, _aten.lift_fresh_copy.default}


def matrices(builder: GraphBuilder, left: Operand, right: Operand) -> Operand:
    """The product (m, n) of (m, k) and (k, n)."""
    one, other = (Operand(part.node, part.index[None]) for part in (left, right))
    answer = builder.product(one, other)
    return Operand(answer.node, answer.index[0])


def _summed(
    builder: GraphBuilder, operand: Operand, axes: Sequence[int] | None = None, keeps_axes: bool = False, **_: Any
) -> Operand:
    return builder.reduce("add", operand, axes or (), keeps_axes)


def _mean(
    builder: GraphBuilder, operand: Operand, axes: Sequence[int] | None = None, keeps_axes: bool = False, **_: Any
) -> Operand:
    total = builder.reduce("add", operand, axes or (), keeps_axes)
    return builder.map("times_", total, builder.number(total.index.size / operand.index.size))


def _largest(builder: GraphBuilder, operand: Operand, axes: Sequence[int] = (), keeps_axes: bool = False) -> Operand:
    return builder.reduce("maximum", operand, axes, keeps_axes)


def _is_any(
    builder: GraphBuilder, operand: Operand, axes: int | Sequence[int] | None = None, keeps_axes: bool = False
) -> Operand:
    is_here = builder.map("differs", operand, builder.number(0.0))
    return builder.reduce("maximum", is_here, (axes,) if isinstance(axes, int) else axes or (), keeps_axes)


def _spread(
    builder: GraphBuilder,
    operand: Operand,
    axes: Sequence[int] | None = None,
    *,
    correction: float | None = 1,
    keepdim: bool = False,
) -> tuple[Operand, Operand]:
    """The variance and the mean."""
    mean = _mean(builder, operand, axes, True)
    centred = builder.map("minus", operand, mean)
    total = _summed(builder, builder.map("times_", centred, centred), axes, keepdim)
    count = operand.index.size / total.index.size - (1 if correction is None else correction)
    return builder.map("times_", total, builder.number(1 / count)), mean.at_shape(*total.shape)


def _clamped(builder: GraphBuilder, operand: Operand, low: Any = None, high: Any = None) -> Operand:
    for function, bound in (("larger", low), ("smaller", high)):
        if bound is not None:
            operand = builder.map(function, operand, bound if isinstance(bound, Operand) else builder.number(bound))
    return operand


def _looked_up(builder: GraphBuilder, table: Operand, rows: Operand, *_: Any, **__: Any) -> Operand:
    return builder.lookup(table, rows)


def _scattered(builder: GraphBuilder, values: Operand, rows: Operand, num_rows: int, *_: Any, **__: Any) -> Operand:
    return builder.scatter(values, rows, num_rows)


def pads_with_others(target: Any, args: Sequence[Any]) -> bool:
    """Whether an operation puts other numbers than 0 around those that it moves."""
    return target is _aten.constant_pad_nd.default and len(args) > 2 and args[2] != 0


def _padded(builder: GraphBuilder, operand: Operand, pads: Sequence[int], value: float) -> Operand:
    """The numbers within a border of `value`."""
    is_inside = torch.constant_pad_nd(torch.ones(operand.shape), pads) > 0
    positions = torch.constant_pad_nd(torch.arange(operand.index.size).view(operand.shape), pads)
    inside = Operand(operand.node, operand.index.reshape(-1)[positions.numpy()])
    return builder.map("either", builder.constant(is_inside), inside, builder.number(value))


def _copied(_: GraphBuilder, old: Operand, new: Operand, *__: Any) -> Operand:
    return Operand(new.node, np.broadcast_to(new.index, old.shape))


RULES: dict[Any, Callable[..., Any]] = (
    POWERS
    | ACTIVATIONS
    | {
        _aten.constant_pad_nd.default: _padded,
        _aten.copy.default: _copied,
        _aten.mm.default: matrices,
        _aten.bmm.default: lambda builder, left, right: builder.product(left, right),
        _aten.sum.dim_IntList: _summed,
        _aten.mean.dim: _mean,
        _aten.mean.default: _mean,
        _aten.amax.default: _largest,
        _aten.any.default: _is_any,
        _aten.any.dim: _is_any,
        _aten.any.dims: _is_any,
        _aten.var.correction: lambda *args, **kwargs: _spread(*args, **kwargs)[0],
        _aten.var_mean.correction: _spread,
        _aten.clamp.default: _clamped,
        _aten.clamp.Tensor: _clamped,
        _aten.embedding.default: _looked_up,
        _aten.embedding_dense_backward.default: _scattered,
    }
)
