"""The graph of a program: tensors of one example as nodes, each read through index arrays.

Every shape is static and small, so a view, a slice, a transpose or a broadcast is no operation: it is an array of the
flat positions that are read. A node is a source or a computation whose result may be kept in memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

Index = NDArray[np.int64]


class Dependence(IntEnum):
    """What the numbers of a node depend on: nothing, a run's weights, an example, or all examples of a batch.

    A number of an example is a vector in the program, one element for each of the examples that are computed together;
    all others are scalars.
    """

    CONSTANT = 0
    WEIGHTS = 1
    EXAMPLE = 2
    BATCH = 3


@dataclass(frozen=True, eq=False)
class Operand:
    """What a computation reads: `index` has the shape of its loops, and holds positions in the flattened `node`."""

    # A graph written out from each of its nodes would be endless where one is read by many.
    node: Node = field(repr=False)
    index: Index

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the tensor that this is."""
        return self.index.shape

    @property
    def is_whole(self) -> bool:
        """Whether it reads all numbers of its node, in their order."""
        return np.array_equal(self.index.reshape(-1), np.arange(self.node.size))

    @property
    def known(self) -> NDArray[Any] | None:
        """Its numbers, where they are known when the program is written."""
        return self.node.values[self.index] if isinstance(self.node, ConstantNode) else None

    @property
    def is_zero(self) -> bool:
        """Whether its numbers are known, and all 0."""
        return isinstance(self.node, ConstantNode) and not self.node.values[self.index].any()

    def at(self, index: Index) -> Operand:
        """The operand read at flat positions `index` of itself."""
        return Operand(self.node, self.index.reshape(-1)[index])

    def at_positions(self, slices: Any) -> Operand:
        """A part of it, as numpy slices an array."""
        return Operand(self.node, self.index[slices])

    def at_shape(self, *shape: int) -> Operand:
        """The same numbers under another shape."""
        return Operand(self.node, self.index.reshape(shape))

    def key(self) -> tuple[int, tuple[int, ...], bytes]:
        """Equal for operands that read the same."""
        return id(self.node), self.index.shape, self.index.tobytes()


@dataclass(eq=False)
class Node:
    """Base of all nodes: a flat array of `size` numbers, computed from `inputs`.

    `is_backward`: whether it depends on the loss's slopes.
    """

    size: int
    level: Dependence
    is_backward: bool
    inputs: tuple[Operand, ...] = ()

    def whole(self, *shape: int) -> Operand:
        """All of it, as a tensor of a shape."""
        return Operand(self, np.arange(self.size).reshape(shape or (self.size,)))


class _Input:
    """The name of one of a node's inputs."""

    def __init__(self, place: int) -> None:
        self._place = place

    def __get__(self, node: Node, _: type[Node]) -> Operand:
        return node.inputs[self._place]


@dataclass(eq=False)
class ConstantNode(Node):
    """Numbers that are known when the program is written; truth values are 0 and 1."""

    values: NDArray[Any] = field(default_factory=lambda: np.zeros(0))


@dataclass(eq=False)
class SourceNode(Node):
    """What the program is given: "weights", "inputs" (of an example) or "slopes" (of its loss by the predictions).

    `place` numbers the parameters. Inputs may be whole numbers.
    """

    name: str = ""
    place: int = 0
    is_integer: bool = False


@dataclass(eq=False)
class Draw(Node):
    """Random numbers of an example: the columns of one draw from a stream of its run, counted in `Task.streams`.

    `kind`: "integer" below `high`; "is_below", whether such an integer is below `bound`; "order", the places 0, 1, ..
    sorted by such integers; "unit", on (0, 1); "normal". Steps are counted modulo `period`, unless that is 0. What a
    model draws in training stands in `pieces` among the batch's numbers (see `Model.noise_pieces`), where truth values
    are divided by `divisor`; examples of a task are rows of their own, and have no pieces.
    """

    kind: str = ""
    stream: int = 0
    substream: int = 0
    high: int = 0
    period: int = 0
    bound: int = 0
    pieces: int = 0
    divisor: float = 1.0


@dataclass(eq=False)
class Map(Node):
    """A function of single numbers, by name, applied to each position of its inputs, which have one shape."""

    function: str = ""


@dataclass(eq=False)
class Reduce(Node):
    """ "add", "maximum" or "maximum_number" over the last `num_gone` axes of one operand.

    As in IEEE 754, the last leaves out what is not a number.
    """

    function: str = ""
    num_gone: int = 1

    @property
    def shape(self) -> tuple[int, ...]:
        """The axes that are left."""
        shape = self.inputs[0].shape
        return shape[: len(shape) - self.num_gone]


@dataclass(eq=False)
class Product(Node):
    """Matrix products left (b, m, k) times right (b, k, n): (b, m, n)."""

    left, right = _Input(0), _Input(1)

    @property
    def sizes(self) -> tuple[int, int, int, int]:
        """b, m, n, k."""
        b, m, k = self.left.shape
        return b, m, self.right.shape[2], k


@dataclass(eq=False)
class Move(Node):
    """Numbers gathered from several nodes: position i is `places[i]` of `parts[which[i]]`, or 0 where which is -1.

    `shape` is that of the tensor as it was made.
    """

    which: Index = field(default_factory=lambda: np.zeros(0, np.int64))
    places: Index = field(default_factory=lambda: np.zeros(0, np.int64))
    shape: tuple[int, ...] = ()

    @property
    def parts(self) -> tuple[Node, ...]:
        """The nodes that it gathers from."""
        return tuple(one.node for one in self.inputs)


@dataclass(eq=False)
class Lookup(Node):
    """Rows of a `table` (v, d) at the whole numbers of `rows` (n,): (n, d)."""

    table, rows = _Input(0), _Input(1)


@dataclass(eq=False)
class Scatter(Node):
    """The transpose of a lookup: rows of `values` (n, d) added up in a table (v, d) at the numbers of `rows` (n,)."""

    values, rows = _Input(0), _Input(1)


@dataclass(eq=False)
class LookupSum(Node):
    """The sum over `tables` (n, v, d) of the row of each at the whole numbers of `rows` (n,): (d,)."""

    tables, rows = _Input(0), _Input(1)


@dataclass(eq=False)
class ScatterToAll(Node):
    """The transpose of a `LookupSum`: `values` (d,) at the row of each of n tables (n, v, d) that `rows` (n,) names."""

    values, rows = _Input(0), _Input(1)


@dataclass(eq=False)
class BatchSum(Node):
    """The sum over all examples of a batch."""

    summed = _Input(0)


def in_order(ends: Sequence[Node]) -> list[Node]:
    """All nodes that `ends` need, each behind what it reads."""
    found: dict[int, Node] = {}
    waiting = [(end, False) for end in reversed(ends)]
    while waiting:
        node, is_read = waiting.pop()
        if is_read:
            found[id(node)] = node
        elif id(node) not in found:
            waiting += [(node, True), *((one.node, False) for one in reversed(node.inputs))]
    return list(found.values())


def readers_of(nodes: Iterable[Node]) -> dict[int, list[tuple[Node, Operand]]]:
    """Node, by its id -> which of `nodes` read it, each with the operand that it reads."""
    found: dict[int, list[tuple[Node, Operand]]] = {}
    for node in nodes:
        for operand in node.inputs:
            found.setdefault(id(operand.node), []).append((node, operand))
    return found
