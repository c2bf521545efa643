"""Numbers that are moved as they are: read from one place by all, and computed where they are to stand."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np

from pipeline.codegen.graph.nodes import (
    Dependence,
    Index,
    Move,
    Node,
    Operand,
    Product,
    Scatter,
    in_order,
    readers_of,
)
from pipeline.codegen.passes.strides import Strides


def share_moves(order: Sequence[Node], ends: Collection[Node]) -> None:
    """Let what reads a move read an earlier one that holds the same numbers, as states of a recurrent network do."""
    readers = readers_of(order)
    of_part: dict[int, list[Move]] = {}
    for node in order:
        if not isinstance(node, Move) or node.level != Dependence.EXAMPLE:
            continue
        candidates = of_part.get(id(node.parts[0]), []) if node not in ends else []
        for other in candidates:
            positions = _positions(node, other)
            if positions is not None and _redirect(node, other, positions, readers.get(id(node), [])):
                break
        else:
            for part in node.parts:
                of_part.setdefault(id(part), []).append(node)


def _positions(node: Move, other: Move) -> Index | None:
    """Where the numbers of a move stand in another one; None where not all do."""
    if other.is_backward > node.is_backward or (node.which < 0).any():
        return None
    places = {id(part): number for number, part in enumerate(other.parts)}
    found = np.full(node.size, -1)
    for number, part in enumerate(node.parts):
        if id(part) not in places:
            return None
        inverse, there = np.full(part.size, -1), np.flatnonzero(other.which == places[id(part)])
        inverse[other.places[there]] = there
        here = node.which == number
        found[here] = inverse[node.places[here]]
    return None if (found < 0).any() else found


def _redirect(node: Move, other: Move, positions: Index, readers: Sequence[tuple[Node, Operand]]) -> bool:
    """Whether all readers can read the other move, and then they do."""
    changes: list[tuple[Node, tuple[Operand, ...]]] = []
    for reader, _ in readers:
        if not isinstance(reader, Product | Scatter):
            return False
        inputs = tuple(Operand(other, positions[one.index]) if one.node is node else one for one in reader.inputs)
        if any(one not in reader.inputs and Strides.of(one.index) is None for one in inputs):
            return False
        changes.append((reader, inputs))
    for reader, changed in changes:
        reader.inputs = changed
    return True


def stand_in_moves(
    steps: Sequence[Node], free: Collection[int], whole: Collection[int]
) -> tuple[dict[int, tuple[Move, int]], dict[int, Strides]]:
    """Node, by its id -> the move in which its numbers stand, where the first of them does; products -> their steps.

    They stand one behind the other, those of a product that nothing else reads at any steps. `free` are the nodes, by
    id, that have a place in memory of their own choosing, `whole` those of which no number is known, and no end.
    """
    found: dict[int, tuple[Move, int]] = {}
    strides: dict[int, Strides] = {}
    readers = readers_of(in_order(steps))
    for move in steps:
        if not isinstance(move, Move) or id(move) not in free:
            continue
        for number, part in enumerate(move.parts):
            here = np.flatnonzero(move.which == number)
            is_free = id(part) in free and id(part) not in found
            if is_free and here.size == part.size and _is_in_order(here - here[0], move.places[here]):
                found[id(part)] = move, int(here[0])
                continue
            is_own = is_free and id(part) in whole and len(readers[id(part)]) == 1
            there = product_strides(part, move.places[here], here) if is_own and isinstance(part, Product) else None
            if there is not None:
                found[id(part)], strides[id(part)] = (move, there.base), Strides(0, there.steps)
    return found, strides


def product_strides(node: Product, numbers: Index, places: Index) -> Strides | None:
    """Where the (b, m, n) numbers of a product stand; None where not each has a place, or not at regular steps."""
    if numbers.size != node.size or np.unique(numbers).size != node.size:
        return None
    return Strides.of(places[np.argsort(numbers)].reshape(node.sizes[:3]))


def _is_in_order(positions: Index, places: Index) -> bool:
    return bool((positions == places).all() and (positions == np.arange(positions.size)).all())


def outermost(node: Node, in_moves: Mapping[int, tuple[Move, int]]) -> tuple[Node, int]:
    """The node in whose memory another stands, itself if that is its own, and from where on."""
    first = 0
    while id(node) in in_moves:
        node, offset = in_moves[id(node)]
        first += offset
    return node, first
