"""Finds neighbouring steps that are computed together, row by row, so that a row stays in the first cache."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from operator import mul

import numpy as np

from pipeline.codegen.nodes import Dependence, Index, Map, Move, Node, Operand, Reduce


@dataclass(frozen=True)
class RowGroup:
    """Steps `first` to `last`, computed in one loop over `num_rows` rows. Of those that are `local` one row is kept."""

    first: int
    last: int
    num_rows: int
    local: frozenset[int]


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
            inside = range(first, last + 1)
            own = {id(end) for end in ends}
            local = {
                id(steps[number])
                for number in inside
                if id(steps[number]) not in own and readers[number] <= set(inside)
            }
            found |= dict.fromkeys(inside, RowGroup(first, last, rows, frozenset(local)))
        first = last + 1
    return found


def _longest(steps: Sequence[Node], first: int, phases: Sequence[int], kept: Mapping[int, int]) -> tuple[int, int]:
    """The last of the steps from `first` on that have rows in common, and the number of rows."""
    possible = _possible_rows(steps[first])
    last = first
    while possible and last + 1 < len(steps) and phases[last + 1] == phases[first]:
        node = steps[last + 1]
        common = possible & _possible_rows(node)
        for source, index, is_read in reads_of(node, kept):
            if kept.get(id(source), -1) >= first:
                common = {rows for rows in common if _keeps_rows(source, index, is_read, rows)}
        if not common:
            break
        possible, last = common, last + 1
    return last, max(possible, default=0)


def _possible_rows(node: Node) -> set[int]:
    """How many rows the numbers of a node may be taken as: products of the first of its axes."""
    if node.level != Dependence.EXAMPLE or not isinstance(node, Map | Reduce):
        return set()
    shape = node.shape if isinstance(node, Reduce) else node.inputs[0].shape
    return {rows for rows in accumulate(shape, mul) if rows > 1}


def _keeps_rows(source: Node, index: Index, is_read: Index, rows: int) -> bool:
    """Whether each row of what reads (rows, ...) reads of the source the same row alone."""
    if source.size % rows:
        return False
    row = index.reshape(rows, -1) // (source.size // rows)
    is_same = row == np.arange(rows)[:, None]
    return bool(is_same[is_read.reshape(rows, -1)].all())


def reads_of(node: Node, kept: Collection[int]) -> Iterator[tuple[Node, Index, Index]]:
    """What is read from memory: node, positions in the order of the reader's loops, and which of them are read."""
    for operand in node.operands():
        everywhere = np.ones(operand.shape, bool)
        yield from _leaves(operand, everywhere, kept)


def _leaves(operand: Operand, is_read: Index, kept: Collection[int]) -> Iterator[tuple[Node, Index, Index]]:
    node = operand.node
    if id(node) in kept:
        yield node, operand.index, is_read
    elif isinstance(node, Map):
        for one in node.inputs:
            yield from _leaves(one.at(operand.index), is_read, kept)
    elif not isinstance(node, Move):
        # A product that is summed where it is computed.
        for one in node.operands():
            yield from _leaves(one, np.ones(one.shape, bool), kept)
    else:
        for number, part in enumerate(node.parts):
            here = is_read & (node.which[operand.index] == number)
            if here.any():
                yield from _leaves(Operand(part, np.where(here, node.places[operand.index], 0)), here, kept)


def _readers(steps: Sequence[Node], kept: Mapping[int, int]) -> list[set[int]]:
    """For each step the numbers of the steps that read it."""
    found: list[set[int]] = [set() for _ in steps]
    for number, node in enumerate(steps):
        for source, _, _ in reads_of(node, kept):
            if id(source) in kept:
                found[kept[id(source)]].add(number)
    return found
