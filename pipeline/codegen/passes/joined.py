"""Products that are added up, as one with the terms of all: gradients of a weight that is used at every position."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

from pipeline.codegen.graph.build import GraphBuilder
from pipeline.codegen.graph.nodes import Map, Operand, Product
from pipeline.codegen.graph.operands import summands

_Factors = tuple[Operand, Operand]


def joined_products(builder: GraphBuilder, node: Map) -> Operand | None:
    """A sum of products of one size with fewer of them; None where no two can be joined."""
    terms = list(summands(node.whole()))
    groups: dict[object, list[Operand]] = {}
    for term in terms:
        factors = _factors(builder, term)
        key = id(term) if factors is None else (factors[0].shape[:2], factors[1].shape[2], term.index.tobytes())
        groups.setdefault(key, []).append(term)
    if len(groups) == len(terms):
        return None
    parts = (_joined(builder, group) if len(group) > 1 else group[0] for group in groups.values())
    return reduce(lambda one, other: builder.map("plus", one, other), parts)


def _factors(builder: GraphBuilder, term: Operand) -> _Factors | None:
    """(b, m, k) and (b, k, n), whose product a term is."""
    if isinstance(term.node, Product):
        return term.node.left, term.node.right
    return builder.outer_products.get(id(term.node))


def _joined(builder: GraphBuilder, terms: Sequence[Operand]) -> Operand:
    """The sum of products of one size, read at the same positions."""
    factors = [found for one in terms if (found := _factors(builder, one)) is not None]
    # (b, k, m), so that what is multiplied together stands together.
    columns = builder.concatenated([Operand(left.node, left.index.transpose(0, 2, 1)) for left, _ in factors], 1)
    rows = builder.concatenated([right for _, right in factors], 1)
    product = builder.matrix_product(Operand(columns.node, columns.index.transpose(0, 2, 1)), rows)
    return product.at(terms[0].index)
