"""Powers, logarithms, entropies, whole quotients, and tests of numbers, by other functions of the table."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from pipeline.codegen.graph.nodes import Map, Operand

if TYPE_CHECKING:
    from pipeline.codegen.graph.build import GraphBuilder

_aten = torch.ops.aten


def _power(builder: GraphBuilder, operand: Operand, exponent: float) -> Operand:
    if exponent in (0, 1):
        return operand if exponent else Operand(builder.number(1.0).node, np.zeros(operand.shape, np.int64))
    if exponent in (2, 3, 4):
        square = builder.map("times_", operand, operand)
        if exponent == 2:
            return square
        return builder.map("times_", square, square if exponent == 4 else operand)
    simple = {0.5: "root", -0.5: "inverse_root", -1: "inverse"}
    if exponent in simple:
        return builder.map(simple[exponent], operand)
    return builder.map("power", operand, builder.number(exponent))


def _power_of(base: float) -> Callable[..., Operand]:
    return lambda builder, operand: builder.map("power", builder.number(base), operand)


def _log_to(base: float) -> Callable[..., Operand]:
    return lambda builder, operand: builder.map(
        "times_", builder.map("log", operand), builder.number(1 / math.log(base))
    )


def _whole_quotient(builder: GraphBuilder, operand: Operand, by: Any, *, rounding_mode: str | None = None) -> Operand:
    """(x - r) / y with the rest r of its rounding, which is whole but for rounding errors."""
    divisor = by if isinstance(by, Operand) else builder.number(by)
    if rounding_mode is None:
        return builder.map("over", operand, divisor)
    left = builder.map({"floor": "modulo", "trunc": "rest"}[rounding_mode], operand, divisor)
    return builder.map("nearest_whole", builder.map("over", builder.map("minus", operand, left), divisor))


def _entropy_terms(builder: GraphBuilder, operand: Operand) -> Operand:
    """-p log p. Of a softmax the logarithm is a difference of what is known: one logarithm a row, none a number."""
    share = operand.node
    if isinstance(share, Map) and share.function == "times_":
        power, inverse = (one.at(operand.index) for one in share.inputs)
        exponent, total = _argument(power, "exp"), _argument(inverse, "inverse")
        if exponent is not None and total is not None:
            log = builder.map("log", total).at(inverse.index)
            return builder.map("entropy_term", operand, builder.map("minus", exponent.at(power.index), log))
    return builder.map("entropy_term", operand, builder.map("log", operand))


def _argument(operand: Operand, function: str) -> Operand | None:
    """What a function was applied to, all of it; None where the operand is not of that function."""
    node = operand.node
    return node.inputs[0] if isinstance(node, Map) and node.function == function else None


POWERS: dict[Any, Callable[..., Operand]] = {
    _aten.pow.Tensor_Scalar: _power,
    _aten.exp2.default: _power_of(2.0),
    _aten.log2.default: _log_to(2.0),
    _aten.log10.default: _log_to(10.0),
    _aten.special_entr.default: _entropy_terms,
    _aten.div.Tensor_mode: _whole_quotient,
    _aten.div.Scalar_mode: _whole_quotient,
    _aten.isnan.default: lambda builder, operand: builder.map("differs", operand, operand),
}
