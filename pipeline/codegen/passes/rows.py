"""Finds neighbouring steps that are computed together, row by row, so that a row stays in the first cache."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from operator import mul

import numpy as np

from pipeline.codegen.graph.nodes import Dependence, Index, Map, Node, Operand, Reduce

# Functions that take many instructions, each of which waits for the one before.
_LONG = {"exp", "log", "tanh", "sigmoid", "erf", "sine", "cosine"}
# Numbers of a row that compilers keep in registers, of which there are 32.
MOST_IN_REGISTERS = 32


@dataclass(frozen=True)
class RowGroup:
    """Steps `first` to `last`, computed in one loop over `num_rows` rows. Of those that are `local` one row is kept."""

    first: int
    last: int
    num_rows: int
    local: frozenset[int]

    def row_size(self, node: Node) -> int:
        """How many numbers of a node are kept at once."""
        return node.size // self.num_rows if id(node) in self.local else node.size

    def is_in_registers(self, node: Node) -> bool:
        """Whether a node's row is short enough to be a variable of the loop, and no place in memory."""
        return id(node) in self.local and self.row_size(node) <= MOST_IN_REGISTERS


def row_groups(
    steps: Sequence[Node], ends: Collection[Node], phases: Sequence[int], is_whole: Sequence[bool]
) -> dict[int, RowGroup]:
    """Number of a step -> its group, for all steps that are in one; none is that is not computed as a whole."""
    kept = {id(node): number for number, node in enumerate(steps)}
    found: dict[int, RowGroup] = {}
    readers = _readers(steps, kept)
    first = 0
    while first < len(steps):
        last, rows = _longest(steps, first, phases, kept) if is_whole[first] else (first, 0)
        last = next((number - 1 for number in range(first + 1, last + 1) if not is_whole[number]), last)
        if last > first:
            inside = set(range(first, last + 1))
            local = {id(steps[number]) for number in inside if steps[number] not in ends and readers[number] <= inside}
            found |= dict.fromkeys(inside, RowGroup(first, last, rows, frozenset(local)))
        first = last + 1
    return found


def _longest(steps: Sequence[Node], first: int, phases: Sequence[int], kept: Mapping[int, int]) -> tuple[int, int]:
    """The last of the steps from `first` on that have rows in common, and the number of rows."""
    possible = _possible_rows(steps[first])
    last, is_long = first, _is_long(steps[first], kept)
    while possible and last + 1 < len(steps) and phases[last + 1] == phases[first]:
        node = steps[last + 1]
        common = possible & _possible_rows(node)
        for source, index in reads_of(node, kept):
            if kept.get(id(source), -1) >= first:
                common = {rows for rows in common if keeps_rows(source, index, rows)}
        is_next_long = _is_long(node, kept)
        if is_long and is_next_long:
            # Of single numbers a processor has several under way in a loop of one such function, of more of them one.
            common.discard(node.size)
        if not common:
            break
        possible, last, is_long = common, last + 1, is_long or is_next_long
    return last, max(possible, default=0)


def _is_long(node: Node, kept: Collection[int]) -> bool:
    """Whether a map or reduction takes a long function of each number, itself or where it reads."""
    inputs = [one.node for one in node.inputs if id(one.node) not in kept]
    return (isinstance(node, Map) and node.function in _LONG) or any(_is_long(one, kept) for one in inputs)


def _possible_rows(node: Node) -> set[int]:
    """How many rows the numbers of a node may be taken as: products of the first of its axes."""
    if node.level != Dependence.EXAMPLE or not isinstance(node, Map | Reduce):
        return set()
    shape = node.shape if isinstance(node, Reduce) else node.inputs[0].shape
    return {rows for rows in accumulate(shape, mul) if rows > 1}


def keeps_rows(source: Node, index: Index, rows: int) -> bool:
    """Whether each row of what reads (rows, ...) reads of the source the same row alone."""
    if source.size % rows:
        return False
    row = index.reshape(rows, -1) // (source.size // rows)
    return bool((row == np.arange(rows)[:, None]).all())


def reads_of(node: Node, kept: Collection[int]) -> Iterator[tuple[Node, Index]]:
    """What a node reads from memory: nodes and positions, of maps and reductions in the order of their loops."""
    for operand in node.inputs:
        yield from _leaves(operand, kept)


def _leaves(operand: Operand, kept: Collection[int]) -> Iterator[tuple[Node, Index]]:
    node = operand.node
    if id(node) in kept:
        yield node, operand.index
        return
    for one in node.inputs:
        # Through maps that are computed where they are read, and products that are summed where they are computed.
        yield from _leaves(one.at(operand.index) if isinstance(node, Map) else one, kept)


def _readers(steps: Sequence[Node], kept: Mapping[int, int]) -> list[set[int]]:
    """For each step the numbers of the steps that read it."""
    found: list[set[int]] = [set() for _ in steps]
    for number, node in enumerate(steps):
        for source, _ in reads_of(node, kept):
            if id(source) in kept:
                found[kept[id(source)]].add(number)
    return found
