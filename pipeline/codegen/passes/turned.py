"""Products whose columns have fewer terms than their rows, as slopes of causal keys, are computed as their transpose.

Text is written for products whose rows have unlike numbers of terms.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np

from pipeline.codegen.graph.nodes import BatchSum, Dependence, Index, Move, Node, Operand, Product, readers_of
from pipeline.codegen.passes.extents import KnownNumbers, Spans, any_along, known_numbers
from pipeline.codegen.passes.strides import Strides


def turn_products(order: Sequence[Node], ends: Collection[Node]) -> None:
    """Turn what takes fewer multiplications so, of products of numbers of examples."""
    found = [node for node in order if isinstance(node, Product) and _is_of_examples(node) and node not in ends]
    known, readers = (known_numbers(order), readers_of(order)) if found else ({}, {})
    for node in found:
        mine = readers[id(node)]
        if _takes_fewer(node, known) and not any(isinstance(one, BatchSum) for one, _ in mine):
            _turn(node, mine, known)


def _is_of_examples(node: Product) -> bool:
    return all(one.node.level == Dependence.EXAMPLE for one in node.inputs)


def _takes_fewer(node: Product, known: Mapping[int, KnownNumbers]) -> bool:
    _, m, n, k = node.sizes
    left, right = (any_along(known[id(one.node)][one.index] != 0, 0) for one in node.inputs)
    of_rows = Spans.of(left & any_along(right, 1)).filled(k).sum() * n
    of_columns = Spans.of(right.T & any_along(left, 0)).filled(k).sum() * m
    return bool(of_columns < of_rows)


def _turn(node: Product, readers: Sequence[tuple[Node, Operand]], known: dict[int, KnownNumbers]) -> None:
    """Make a product its transpose, unless a product that reads it would not do so at regular steps."""
    b, m, n, _ = node.sizes
    places = np.arange(node.size).reshape(b, n, m).transpose(0, 2, 1).reshape(-1)
    if any(isinstance(one, Product) and Strides.of(places[operand.index]) is None for one, operand in readers):
        return
    node.inputs = tuple(Operand(one.node, one.index.transpose(0, 2, 1)) for one in reversed(node.inputs))
    known[id(node)] = known[id(node)][np.argsort(places)]
    for reader in {id(one): one for one, _ in readers}.values():
        _reread(reader, node, places)


def _reread(reader: Node, node: Node, places: Index) -> None:
    """Let a reader find at `places` what a node held in order."""
    if isinstance(reader, Move):
        here = np.isin(reader.which, [number for number, part in enumerate(reader.parts) if part is node])
        reader.places = np.where(here, places[np.where(here, reader.places, 0)], reader.places)
    reader.inputs = tuple(Operand(node, places[one.index]) if one.node is node else one for one in reader.inputs)
