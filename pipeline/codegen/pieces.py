"""Loops over numbers that are moved, taken apart where they come from different parts."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from pipeline.codegen.extents import Flags, any_along
from pipeline.codegen.nodes import Index, Map, Move, Node, Operand

_NOT_READ = -2


def pieces(region: Flags, operand: Operand, is_read_through: Callable[[Node], bool]) -> list[Flags]:
    """The parts of a region in each of which every move that is read through has its numbers from one part."""
    which = _sources(operand, region.shape, is_read_through)
    if not len(which):
        return [region]
    kinds = np.unique(which[:, region], axis=1).T
    return [region & (which == kind.reshape(-1, *[1] * region.ndim)).all(0) for kind in kinds]


def _sources(operand: Operand, shape: tuple[int, ...], is_read_through: Callable[[Node], bool]) -> Index:
    """(moves, *shape): the number of the part of each move that is read."""
    found: list[Index] = []

    def visit(one: Operand, is_read: Flags) -> None:
        node = one.node
        if not is_read_through(node):
            return
        if isinstance(node, Move):
            which = np.where(is_read, node.which[one.index], _NOT_READ)
            found.append(which)
            for number, part in enumerate(node.parts):
                here = which == number
                visit(Operand(part, np.where(here, node.places[one.index], 0)), here)
        else:
            for read in node.operands():
                visit(read.at(one.index), is_read)

    visit(operand, np.ones(shape, bool))
    return np.array(found, np.int64).reshape(len(found), *shape)


def can_be_taken_apart(node: Map, needed: Flags, inlined: set[int]) -> bool:
    """Whether loops over the boxes around the pieces of a map write nothing of another piece, also in rows."""
    shape = node.inputs[0].shape
    region = needed.reshape(shape)
    found = pieces(region, node.whole(*shape), lambda one: one is node or id(one) in inlined)
    return len(found) == 1 or all(
        _is_apart(piece.reshape(rows, *shape[count:]), region.reshape(rows, *shape[count:]))
        for piece in found
        for count in range(1, len(shape) + 1)
        if (rows := math.prod(shape[:count]))
    )


def _is_apart(piece: Flags, region: Flags) -> bool:
    box = np.ones(piece.shape, bool)
    for axis in range(piece.ndim):
        used = np.flatnonzero(any_along(piece, *(other for other in range(piece.ndim) if other != axis)))
        along = np.zeros(piece.shape[axis], bool)
        along[used[0] : used[-1] + 1] = True
        box &= along.reshape([-1 if other == axis else 1 for other in range(piece.ndim)])
    return not (box & region & ~piece).any()


def moves_read_by(node: Map, inlined: set[int]) -> set[int]:
    """The moves that a map reads through, by their ids."""
    found: set[int] = set()
    waiting: list[Node] = [operand.node for operand in node.operands()]
    while waiting:
        one = waiting.pop()
        if id(one) in inlined:
            waiting += [operand.node for operand in one.operands()]
            found |= {id(one)} if isinstance(one, Move) else set()
    return found
