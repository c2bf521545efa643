"""Decides which nodes are kept in memory, when each is computed, and where it stands."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from pipeline.codegen.graph.build import GraphBuilder, NoCodeError
from pipeline.codegen.graph.nodes import (
    BatchSum,
    ConstantNode,
    Dependence,
    Map,
    Move,
    Node,
    Operand,
    Product,
    Reduce,
    Scatter,
    ScatterToAll,
    SourceNode,
    in_order,
    readers_of,
)
from pipeline.codegen.passes.again import compute_again
from pipeline.codegen.passes.extents import Extents
from pipeline.codegen.passes.homes import Home, homes
from pipeline.codegen.passes.moved import outermost, share_moves, stand_in_moves
from pipeline.codegen.passes.rows import RowGroup, keeps_rows, reads_of, row_groups
from pipeline.codegen.passes.strides import Strides
from pipeline.codegen.passes.turned import turn_products


class Phase(IntEnum):
    """The parts of a step: once before all examples, for each block of them forward and backward, once after all."""

    BEGIN = 0
    FORWARD = 1
    BACKWARD = 2
    FINISH = 3


@dataclass(frozen=True)
class ProgramPlan:
    """`steps`: the nodes that are computed into memory, in order. `places`: where each begins, in its arena.

    `groups`: number of a step -> the steps with which it is computed row by row. `homes`: what stands in an output.
    `in_moves`: what stands in a move that reads it, by id, and from where on; `strides`: the steps of products there.

    KnownNumbers of an example stand in an arena whose memory is used again; all others in one of scalars.
    """

    steps: tuple[Node, ...]
    places: Mapping[int, int]
    num_lanes: int
    num_scalars: int
    extents: Extents
    predictions: Operand
    gradients: tuple[Operand, ...]
    groups: Mapping[int, RowGroup]
    homes: Mapping[int, Home]
    in_moves: Mapping[int, tuple[Move, int]]
    strides: Mapping[int, Strides]


def phase_of(node: Node) -> Phase:
    """When a node is computed."""
    if node.level <= Dependence.WEIGHTS:
        return Phase.BEGIN
    if node.level == Dependence.EXAMPLE:
        return Phase.BACKWARD if node.is_backward else Phase.FORWARD
    return Phase.BACKWARD if isinstance(node, BatchSum) else Phase.FINISH


def planned(
    builder: GraphBuilder, predictions: Operand, gradients: tuple[Operand, ...], is_real: Sequence[bool] = ()
) -> ProgramPlan:
    """The plan of a graph with these ends. Raises NoCodeError.

    `is_real`: of a function that gives all of them at once, whether their numbers are real, for `homes`.
    """
    ends = [predictions.node, *(one.node for one in gradients)]
    _make_regular(builder, in_order(ends))
    order = in_order(ends)
    turn_products(order, ends)
    compute_again(order, ends, _inlined(order, ends))
    order = in_order(ends)
    share_moves(order, ends)
    order = in_order(ends)
    extents = Extents.of(order, [predictions, *gradients])
    kept = [node for node in order if extents.needed[id(node)].any()]
    inlined = _inlined(kept, [*ends, *(node for node in kept if extents.filled(node).any())])
    readers = readers_of(kept)
    steps = [
        node
        for node in kept
        if not isinstance(node, ConstantNode | SourceNode)
        and id(node) not in inlined
        and not _is_summed_at_once(node, readers)
    ]
    steps.sort(key=phase_of)
    is_whole = [not extents.filled(node).any() for node in steps]
    groups = row_groups(steps, ends, [phase_of(node) for node in steps], is_whole)
    whole = [node for node, is_all in zip(steps, is_whole, strict=True) if is_all or isinstance(node, Move)]
    found = homes(whole, [predictions, *gradients], is_real) if is_real else {}
    local = set(found).union(*(group.local for group in groups.values()))
    free = {id(node) for node in steps if node.level == Dependence.EXAMPLE} - local
    in_moves, strides = stand_in_moves(steps, free, {id(node) for node in whole if node not in ends})
    sizes = _placed(steps, [predictions, *gradients], groups, found, in_moves)
    return ProgramPlan(tuple(steps), *sizes, extents, predictions, gradients, groups, found, in_moves, strides)


def _make_regular(builder: GraphBuilder, order: list[Node]) -> None:
    """Copy the operands of products that no strides describe, and those that are constants.

    What is copied of another product may be computed where the copy would stand.
    """
    for node in order:
        if isinstance(node, Product):
            node.inputs = tuple(_regular(builder, one) for one in node.inputs)


def _regular(builder: GraphBuilder, operand: Operand) -> Operand:
    source, index = operand.node, operand.index
    if not isinstance(source, ConstantNode) and Strides.of(index) is not None:
        return operand
    if isinstance(source, Product):
        move = builder.move((source,), np.zeros(index.size, int), index.reshape(-1), index.shape)
        return move.whole(*index.shape)
    return builder.map("copy", operand)


def _inlined(kept: list[Node], stored: list[Node]) -> set[int]:
    """Maps that are computed where they are read, but for those `stored`: by one reader, once for each number."""
    is_stored = set(map(id, stored))
    readers = readers_of(kept)
    found: set[int] = set()
    for node in kept:
        if not isinstance(node, Map) or id(node) in is_stored:
            continue
        mine = readers.get(id(node), [])
        if (len(mine) == 1 and _reads_once(*mine[0], node)) or (mine and _compares_given(node, mine)):
            found.add(id(node))
    return found


def _compares_given(node: Map, readers: list[tuple[Node, Operand]]) -> bool:
    """Whether a map compares what the program is given with what is known, which costs no more than to read it."""
    is_given = all(isinstance(one.node, ConstantNode | SourceNode) for one in node.inputs)
    return node.function == "equals" and is_given and all(isinstance(one, Map | Reduce | Move) for one, _ in readers)


def _reads_once(reader: Node, operand: Operand, node: Map) -> bool:
    """Whether a loop over numbers reads each of the node's at most once."""
    index = operand.index
    is_loop = isinstance(reader, Map | Reduce | Move) and reader.level == node.level
    return is_loop and index.size <= node.size and np.unique(index).size == index.size


def _is_summed_at_once(node: Node, readers: Mapping[int, list[tuple[Node, Operand]]]) -> bool:
    """Whether a product or scatter is added to a batch's sum where it is computed, and read by nothing else."""
    if not isinstance(node, Product | Scatter | ScatterToAll):
        return False
    mine = [isinstance(reader, BatchSum) for reader, _ in readers.get(id(node), ())]
    is_summed = bool(mine) and all(mine)
    if not isinstance(node, Product) and not is_summed:
        raise NoCodeError("no C++ is written for gradients of tables that depend on an example")
    return is_summed


def _placed(
    steps: list[Node],
    ends: list[Operand],
    groups: Mapping[int, RowGroup],
    elsewhere: Collection[int],
    in_moves: Mapping[int, tuple[Move, int]],
) -> tuple[dict[int, int], int, int]:
    """First fit of arrays in the order of steps, each alive until its last reader, or the end of that one's group."""
    first = [groups[number].first if number in groups else number for number in range(len(steps))]
    end_of = [groups[number].last if number in groups else number for number in range(len(steps))]
    last: dict[int, int] = {}
    inlined_readers = _last_reads(steps)
    for number, node in enumerate(steps):
        last[id(node)] = end_of[max(number, inlined_readers.get(id(node), 0))]
    for end in ends:
        # What is of an example is copied out at the end of its phase.
        if end.node.level == Dependence.EXAMPLE and id(end.node) in last:
            count = sum(phase_of(node) <= phase_of(end.node) for node in steps)
            last[id(end.node)] = max(last[id(end.node)], count)
    for node in steps:
        whole, _ = outermost(node, in_moves)
        last[id(whole)] = max(last[id(whole)], last[id(node)])
    places: dict[int, int] = {}
    alive: list[tuple[int, int, int]] = []
    num_lanes = num_scalars = 0
    for number, node in enumerate(steps):
        if node.level != Dependence.EXAMPLE:
            places[id(node)] = num_scalars
            num_scalars += -(-node.size // 16) * 16
            continue
        group = groups.get(number)
        if id(node) in elsewhere or (group is not None and group.is_in_registers(node)):
            continue
        whole, offset = outermost(node, in_moves)
        if id(whole) in places:
            # A move of which some part stands there already, or another part of it.
            places[id(node)] = places[id(whole)] + offset
            continue
        size = whole.size if group is None or whole is not node else group.row_size(node)
        old = _replaced(number, steps, group, inlined_readers) if whole is node else None
        if old is not None and id(old) in places and id(old) not in in_moves and last[id(old)] <= end_of[number]:
            # Its numbers take the places of those that they are made of.
            start = places[id(node)] = places[id(old)]
            alive = [one for one in alive if one[0] != start]
            alive.append((start, start + size, last[id(node)]))
            continue
        alive = sorted(one for one in alive if one[2] >= first[number])
        start = 0
        for begin, end_, _ in alive:
            if begin - start >= size:
                break
            start = max(start, end_)
        places[id(whole)], places[id(node)] = start, start + offset
        alive.append((start, start + size, last[id(whole)]))
        num_lanes = max(num_lanes, start + size)
    return places, num_lanes, num_scalars


def _replaced(number: int, steps: list[Node], group: RowGroup | None, last_reads: Mapping[int, int]) -> Node | None:
    """What a map is the last step to read, each number where it writes its own."""
    node = steps[number]
    if not isinstance(node, Map) or (group is not None and id(node) in group.local):
        return None
    kept = {id(step) for step in steps}
    reads = list(reads_of(node, kept))
    for source, _ in reads:
        mine = [index.reshape(-1) for other, index in reads if other is source]
        is_own = source.size == node.size and all((index == np.arange(node.size)).all() for index in mine)
        if is_own and last_reads[id(source)] == number and _is_free(source, node, steps, group, kept):
            return source
    return None


def _is_free(source: Node, node: Node, steps: list[Node], group: RowGroup | None, kept: Collection[int]) -> bool:
    """Whether no other step of a group reads another row of `source` than its own."""
    if source.level != Dependence.EXAMPLE or isinstance(source, SourceNode):
        return False
    if group is None:
        return True
    others = [
        index for one in steps[group.first : group.last + 1] for read, index in reads_of(one, kept) if read is source
    ]
    return id(source) not in group.local and all(keeps_rows(source, index, group.num_rows) for index in others)


def _last_reads(steps: list[Node]) -> dict[int, int]:
    """The number of the last step that reads each node, through what is computed where it is read."""
    found: dict[int, int] = {}
    kept = {id(node) for node in steps}

    def reads(node: Node, number: int) -> None:
        for operand in node.inputs:
            found[id(operand.node)] = max(found.get(id(operand.node), 0), number)
            if id(operand.node) not in kept:
                reads(operand.node, number)

    for number, node in enumerate(steps):
        reads(node, number)
    return found
