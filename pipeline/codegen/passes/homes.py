"""Which numbers are computed where a function gives them, and need no memory of its own."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.codegen.graph.nodes import Dependence, Index, Map, Move, Node, Operand, Reduce, in_order, readers_of

_Readers = Mapping[int, list[tuple[Node, Operand]]]


@dataclass(frozen=True)
class Home:
    """The numbers of a node stand at `places` of the output with this number."""

    output: int
    places: Index


def homes(steps: Sequence[Node], ends: Sequence[Operand], is_real: Sequence[bool]) -> dict[int, Home]:
    """Node, by its id -> where it stands, for ends that are the whole of a node, and what they copy in whole.

    An output that is not `is_real` holds numbers of another type, so what is read again does not stand there.
    """
    found: dict[int, Home] = {}
    readers = readers_of(in_order(steps))
    kept = {id(node) for node in steps}
    for number, end in enumerate(ends):
        node = end.node
        may_stand = end.is_whole and id(node) in kept and _may_stand(node, readers, found)
        if not may_stand or (id(node) in readers and not is_real[number]):
            continue
        found[id(node)] = Home(number, np.arange(node.size))
        if is_real[number] and isinstance(node, Move):
            copied = _copied(node, readers, found)
            found |= {id(part): Home(number, places) for part, places in copied if id(part) in kept}
    return found


def _may_stand(node: Node, readers: _Readers, found: Collection[int]) -> bool:
    is_one = isinstance(node, Map | Reduce | Move) and node.level == Dependence.EXAMPLE
    others = [reader for reader, _ in readers.get(id(node), ()) if not isinstance(reader, Map | Reduce | Move)]
    return is_one and id(node) not in found and not others


def _copied(move: Move, readers: _Readers, found: Collection[int]) -> Iterator[tuple[Node, Index]]:
    """Parts of which all numbers are moved, each once, and where to."""
    for number, part in enumerate(move.parts):
        here = np.flatnonzero(move.which == number)
        sources = move.places[here]
        is_whole = not isinstance(part, Move) and here.size == part.size == np.unique(sources).size
        if is_whole and _may_stand(part, readers, found):
            yield part, here[np.argsort(sources)]
