"""Least and largest values of numbers in a graph: whole numbers are exact as long as reals hold them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.codegen.graph.choices import choice_of
from pipeline.codegen.graph.nodes import ConstantNode, Draw, Lookup, Map, Move, Node, Operand, Reduce

_Numbers = NDArray[np.float64]
# Beyond it single and double precision leave out whole numbers.
EXACT = {"float32": 2.0**24, "float64": 2.0**53}
# |z| of `Draws.normal`, from uniforms of at least 2^-24.
_MOST_NORMAL = 5.77


class NumberRange(NamedTuple):
    """From `low` to `high`, both included, for each number of an array."""

    low: _Numbers
    high: _Numbers

    @staticmethod
    def all_of(size: int, low: float, high: float) -> NumberRange:
        """The same for as many numbers."""
        return NumberRange(np.full(size, low), np.full(size, high))

    def bounds(self) -> tuple[float, float]:
        """The least and the largest of all."""
        return (float(self.low.min()), float(self.high.max())) if self.low.size else (0.0, 0.0)


def _ordered(*corners: _Numbers) -> NumberRange:
    """From the least to the largest; anything where one is not a number."""
    stacked = np.stack(corners)
    is_open = np.isnan(stacked).any(0)
    return NumberRange(np.where(is_open, -np.inf, stacked.min(0)), np.where(is_open, np.inf, stacked.max(0)))


def _quotient(a: NumberRange, b: NumberRange) -> NumberRange:
    found = _ordered(*(np.floor(x / y) for x in a for y in b))
    return NumberRange(np.where(b.low > 0, found.low, -np.inf), np.where(b.low > 0, found.high, np.inf))


def _remainder(_: NumberRange, b: NumberRange) -> NumberRange:
    return NumberRange(np.where(b.low > 0, 0.0, -np.inf), np.where(b.low > 0, b.high - 1, np.inf))


def _truth(a: NumberRange, *_: NumberRange) -> NumberRange:
    return NumberRange(np.zeros_like(a.low), np.ones_like(a.low))


_MAPS: dict[str, Callable[..., NumberRange]] = {
    "plus": lambda a, b: NumberRange(a.low + b.low, a.high + b.high),
    "minus": lambda a, b: NumberRange(a.low - b.high, a.high - b.low),
    "times_": lambda a, b: _ordered(*(x * y for x in a for y in b)),
    "whole_quotient": _quotient,
    "whole_remainder": _remainder,
    "negative": lambda a: NumberRange(-a.high, -a.low),
    "copy": lambda a: a,
    "whole_part": lambda a: NumberRange(np.trunc(a.low), np.trunc(a.high)),
    "size_of": lambda a: _ordered(np.zeros_like(a.low), np.abs(a.low), np.abs(a.high)),
    "either": lambda _, a, b: NumberRange(np.minimum(a.low, b.low), np.maximum(a.high, b.high)),
    "larger": lambda a, b: NumberRange(np.maximum(a.low, b.low), np.maximum(a.high, b.high)),
    "smaller": lambda a, b: NumberRange(np.minimum(a.low, b.low), np.minimum(a.high, b.high)),
    "negation": lambda a: NumberRange(1 - a.high, 1 - a.low),
    **dict.fromkeys(("equals", "differs", "is_below", "is_at_most", "is_above", "is_at_least"), _truth),
}


class Ranges:
    """The ranges of the numbers of nodes, each found once."""

    def __init__(self) -> None:
        self._found: dict[int, tuple[Node, NumberRange]] = {}

    def know(self, node: Node, low: float, high: float) -> None:
        """Note what is known of a node's numbers by how they were made."""
        self._found[id(node)] = node, NumberRange.all_of(node.size, low, high)

    def of(self, operand: Operand) -> NumberRange:
        """Of what is read, number by number."""
        node = operand.node
        if id(node) not in self._found:
            with np.errstate(all="ignore"):
                self._found[id(node)] = node, self._of_node(node)
        found, places = self._found[id(node)][1], operand.index.reshape(-1)
        return NumberRange(found.low[places], found.high[places])

    def _of_node(self, node: Node) -> NumberRange:
        if isinstance(node, ConstantNode):
            values = node.values.astype(np.float64)
            return NumberRange(values, values)
        if isinstance(node, Draw):
            return NumberRange.all_of(node.size, *_of_draw(node))
        if isinstance(node, Map) and node.function in _MAPS:
            return _MAPS[node.function](*map(self.of, node.inputs))
        found = NumberRange.all_of(node.size, -math.inf, math.inf)
        if isinstance(node, Move):
            for number, part in enumerate(node.inputs):
                here = node.which == number
                found.low[here], found.high[here] = self.of(part)
            found.low[node.which < 0] = found.high[node.which < 0] = 0.0
        elif isinstance(node, Lookup):
            found = NumberRange.all_of(node.size, *self.of(node.table).bounds())
        elif isinstance(node, Reduce):
            terms = node.inputs[0].at_shape(node.size, -1)
            low, high = (part.reshape(node.size, -1) for part in self.of(terms))
            chosen = choice_of(terms)
            is_one = node.function != "add" or (chosen is not None and bool(np.diff(chosen.places).all()))
            return NumberRange(low.min(1), high.max(1)) if is_one else NumberRange(low.sum(1), high.sum(1))
        return found


def _of_draw(node: Draw) -> tuple[float, float]:
    return {
        "integer": (0.0, node.high - 1.0),
        "is_below": (0.0, 1.0),
        "order": (0.0, node.size - 1.0),
        "unit": (0.0, 1.0),
        "normal": (-_MOST_NORMAL, _MOST_NORMAL),
    }[node.kind]
