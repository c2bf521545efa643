"""Exponentials, softmax and activation functions as nodes of the graph."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch

from pipeline.codegen.graph.nodes import Operand

if TYPE_CHECKING:
    from pipeline.codegen.graph.build import GraphBuilder

_aten = torch.ops.aten


def _gelu(builder: GraphBuilder, operand: Operand, *, approximate: str = "none") -> Operand:
    """x P(Z < x) for a standard normal Z, or its approximation by tanh (Hendrycks and Gimpel 2016, section 2)."""
    if approximate == "none":
        curve = builder.map("erf", builder.map("times_", operand, builder.number(math.sqrt(0.5))))
    else:
        square = builder.map("times_", operand, operand)
        cubic = builder.map("plus", builder.map("times_", square, builder.number(0.044715)), builder.number(1.0))
        inner = builder.map("times_", builder.map("times_", operand, cubic), builder.number(math.sqrt(2 / math.pi)))
        curve = builder.map("tanh", inner)
    half = builder.map("times_", operand, builder.number(0.5))
    return builder.map("times_", half, builder.map("plus", curve, builder.number(1.0)))


def _log_of_one_more(builder: GraphBuilder, operand: Operand) -> Operand:
    """x log(u) / (u - 1) with u the rounded 1 + x, whose rounding errors cancel; x where u is 1 (Kahan)."""
    one = builder.number(1.0)
    more = builder.map("plus", operand, one)
    step = builder.map("minus", more, one)
    ratio = builder.map("over", builder.map("log", more), builder.map("either", step, step, one))
    return builder.map("either", step, builder.map("times_", operand, ratio), operand)


def _power_less_one(builder: GraphBuilder, operand: Operand) -> Operand:
    """x (u - 1) / log(u) with u the rounded exp(x); x where u is 1, and u - 1 where its logarithm is far from x."""
    one = builder.number(1.0)
    power = builder.map("exp", operand)
    step = builder.map("minus", power, one)
    is_small = builder.map("is_below", builder.map("size_of", operand), builder.number(0.5))
    log = builder.map("log", builder.map("either", is_small, power, builder.number(2.0)))
    ratio = builder.map("over", step, builder.map("either", log, log, one))
    precise = builder.map("either", step, builder.map("times_", operand, ratio), operand)
    return builder.map("either", is_small, precise, step)


def _elu(builder: GraphBuilder, operand: Operand, alpha: float = 1, scale: float = 1, inner: float = 1) -> Operand:
    # exp of what is below zero alone, so that nothing is infinite.
    below = builder.map("smaller", operand, builder.number(0.0))
    powers = builder.map("exp", builder.map("times_", below, builder.number(inner)))
    low = builder.map("times_", builder.map("minus", powers, builder.number(1.0)), builder.number(alpha * scale))
    is_above = builder.map("is_above", operand, builder.number(0.0))
    return builder.map("either", is_above, builder.map("times_", operand, builder.number(scale)), low)


def _softmax(builder: GraphBuilder, operand: Operand, axis: int, *_: Any) -> Operand:
    most = builder.reduce("maximum_number", operand, [axis], True)
    numbers = builder.map("exp", builder.map("minus", operand, most))
    return builder.map("times_", numbers, builder.map("inverse", builder.reduce("add", numbers, [axis], True)))


def _log_softmax(builder: GraphBuilder, operand: Operand, axis: int, *_: Any) -> Operand:
    rest = builder.map("minus", operand, builder.reduce("maximum_number", operand, [axis], True))
    numbers = builder.map("exp", rest)
    total = builder.reduce("add", numbers, [axis], True)
    found = builder.map("minus", rest, builder.map("log", total))
    builder.log_shares[id(found.node)] = builder.map("times_", numbers, builder.map("inverse", total))
    return found


def _exp(builder: GraphBuilder, operand: Operand) -> Operand:
    """Of a log_softmax the softmax, from the same exponentials."""
    shares = builder.log_shares.get(id(operand.node))
    return builder.map("exp", operand) if shares is None else shares.at(operand.index)


ACTIVATIONS: dict[Any, Callable[..., Any]] = {
    _aten.log1p.default: _log_of_one_more,
    _aten.expm1.default: _power_less_one,
    _aten.gelu.default: _gelu,
    _aten.elu.default: _elu,
    _aten._softmax.default: _softmax,
    _aten._log_softmax.default: _log_softmax,
    _aten.exp.default: _exp,
}
