"""The text of loops that write the numbers of one operand, and of what they read."""

from __future__ import annotations

import math

import numpy as np

from pipeline.codegen.graph.nodes import ConstantNode, Dependence, Index, Map, Node, Operand, SourceNode
from pipeline.codegen.passes.extents import Flags
from pipeline.codegen.passes.plan import ProgramPlan
from pipeline.codegen.passes.rows import RowGroup
from pipeline.codegen.text.fused import Loop
from pipeline.codegen.text.loops import Nest, Tables, literal, unrolled

# Functions as C++, of vectors and of scalars alike. Others are functions of native/functions.h of the same name.
_INFIX = {"plus": "+", "minus": "-", "times_": "*", "over": "/"}


class LoopEmitter:
    """Writes loops over the numbers of one plan; `table` begins the names of its arrays of constants.

    A map that no step keeps is computed where it is read.
    """

    # Where the numbers of a block of examples stand.
    _arena = "tape.lanes"

    def __init__(self, plan: ProgramPlan, table: str = "table") -> None:
        self._plan = plan
        self._tables = Tables(table)
        self._kept = {id(node) for node in plan.steps}
        # The group whose rows are being written.
        self._group: RowGroup | None = None
        # What the last expression read: arrays and positions.
        self._reads: set[tuple[str, str]] = set()
        # The names of what a function gives, and what makes a real number one of theirs.
        self._outputs: tuple[str, ...] = ()
        self._conversions: dict[str, str] = {}
        # Numbers that a line is given, and need not be read.
        self._at_hand: dict[int, str] = {}

    def _written(self, target: str, operand: Operand, level: Dependence, sign: str) -> list[str]:
        """target = operand, number by number."""
        places = np.arange(operand.index.size).reshape(operand.shape)
        region = np.ones(operand.shape, bool)
        return self._loop(target, places, operand, region, level, sign).lines()

    def _loop(
        self,
        target: str,
        places: Index,
        operand: Operand,
        region: Flags,
        level: Dependence,
        sign: str,
        root: Map | None = None,
    ) -> Loop:
        """target[places] = operand over a region."""
        if root is not None:
            places = self._in_own_row(root, places)
        if self._group is not None:
            shape = as_rows(region.shape, self._group.num_rows)
            places, region, operand = places.reshape(shape), region.reshape(shape), operand.at_shape(*shape)
        leaves: list[Index] = [places]
        self._leaves(operand, leaves, root)
        nest = Nest(region, region.ndim, leaves, self._tables, has_rows=self._group is not None)
        self._reads = set()
        value = self._read(operand, nest, region, level, root)
        position = nest.position(places)
        line = f"  {target}[{position}] {sign} {self._converted(target, value)};"
        return Loop((*self._heads(nest),), (line,), reads=frozenset(self._reads), written={target: position})

    def _converted(self, target: str, value: str) -> str:
        return self._conversions.get(target, "{}").format(value)

    def _heads(self, nest: Nest) -> list[str]:
        return nest.outer() if self._group is None else self._unrolled(nest.in_a_row(self._group.num_rows))

    def _unrolled(self, heads: list[str]) -> list[str]:
        """The same with the last loop of a row unrolled, if it is short: its numbers may then stay in registers."""
        return heads if self._group is None or not heads else [*heads[:-1], *unrolled(heads[-1])]

    def _in_own_row(self, node: Node, index: Index) -> Index:
        """Positions in the memory of a node, of which one row may be kept."""
        if id(node) in self._plan.homes:
            places: Index = self._plan.homes[id(node)].places[index]
            return places
        group = self._group
        return index if group is None or id(node) not in group.local else index % (node.size // group.num_rows)

    def _is_inlined(self, node: Node) -> bool:
        return isinstance(node, Map) and id(node) not in self._kept

    def _leaves(self, operand: Operand, found: list[Index], root: Node | None = None) -> None:
        """Positions of everything in memory that is read."""
        if self._is_inlined(operand.node) or operand.node is root:
            assert isinstance(operand.node, Map)
            for one in operand.node.inputs:
                self._leaves(one.at(operand.index), found)
        elif not isinstance(operand.node, ConstantNode):
            found.append(self._in_own_row(operand.node, operand.index))

    def _read(self, operand: Operand, nest: Nest, region: Flags, level: Dependence, root: Node | None = None) -> str:
        """The expression of a number in loops over a region."""
        node = operand.node
        if self._is_inlined(node) or node is root:
            assert isinstance(node, Map)
            inputs = [one.at(operand.index) for one in node.inputs]
            if node.function == "either" and isinstance(inputs[0].node, ConstantNode):
                chosen = inputs[0].node.values[inputs[0].index][region]
                if (chosen == chosen.flat[0]).all():
                    return self._read(inputs[1 if chosen.flat[0] else 2], nest, region, level)
            return call(node.function, [self._read(one, nest, region, level) for one in inputs])
        if isinstance(node, ConstantNode):
            numbers = node.values[operand.index].astype(np.float64)
            used = numbers[region]
            text = literal(float(used.flat[0])) if (used == used.flat[0]).all() else nest.values(numbers)
            return f"lanes({text})" if level == Dependence.EXAMPLE else text
        if id(node) in self._at_hand:
            return self._at_hand[id(node)]
        name, position = self._name(node), nest.position(self._in_own_row(node, operand.index))
        self._reads.add((name, position))
        text = f"{name}[{position}]"
        if isinstance(node, SourceNode) and node.is_integer:
            return f"real_numbers({text})"
        return f"lanes({text})" if level == Dependence.EXAMPLE and node.level < Dependence.EXAMPLE else text

    def _name(self, node: Node) -> str:
        """The address of a node's first number."""
        if isinstance(node, SourceNode):
            return f"(w + {offset_of(node.place)})" if node.name == "weights" else node.name
        if id(node) in self._plan.homes:
            return self._outputs[self._plan.homes[id(node)].output]
        if self._group is not None and self._group.is_in_registers(node):
            return f"row{self._plan.steps.index(node) - self._group.first}"
        arena = self._arena if node.level == Dependence.EXAMPLE else "tape.scalars"
        place = self._plan.places[id(node)]
        return f"({arena} + {place})" if place else arena


def call(function: str, arguments: list[str]) -> str:
    """A function of numbers as C++."""
    if function in _INFIX:
        return f"({f' {_INFIX[function]} '.join(arguments)})"
    if function == "copy":
        return arguments[0]
    if function == "negative":
        return f"(-{arguments[0]})"
    return f"on_numbers::{function}({', '.join(arguments)})"


def offset_of(place: int) -> str:
    """Where a parameter begins in a run's weights."""
    return f"constants::offsets[{place}]"


def as_rows(shape: tuple[int, ...], num_rows: int) -> tuple[int, ...]:
    """A shape with its first axes as one of that many rows."""
    count = next(count for count in range(1, len(shape) + 1) if math.prod(shape[:count]) == num_rows)
    return (num_rows, *shape[count:])
