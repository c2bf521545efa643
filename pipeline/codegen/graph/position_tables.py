"""Embeddings of several positions, side by side, times weights: the sum of a row of each position's own table.

Row v of the table of a position is the embedding of token v times the weights of that position. So weights are
multiplied with each token of the vocabulary, not with each example of a batch, and gradients are made of sums by
position and token.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pipeline.codegen.graph.nodes import (
    Dependence,
    Index,
    Lookup,
    LookupSum,
    Operand,
    Product,
    Scatter,
    ScatterToAll,
)
from pipeline.codegen.graph.operands import behind_moves, summands

if TYPE_CHECKING:
    from pipeline.codegen.graph.build import GraphBuilder

# Tables are for vocabularies that are small beside a batch, embeddings of some width, and as many numbers as stay in a
# cache.
_MOST_ROWS, _LEAST_TERMS, _MOST_NUMBERS = 32, 8, 1 << 19


@dataclass(frozen=True)
class _SideBySide:
    """Rows of a lookup, one behind the other: which of its positions (n,), and which columns (d,) of the table."""

    lookup: Lookup
    positions: Index
    columns: Index

    @property
    def rows(self) -> Operand:
        """The token of each position, (n,)."""
        return Operand(self.lookup.rows.node, self.lookup.rows.index[self.positions])

    @property
    def embedding(self) -> Operand:
        """The table (n, v, d) that is looked up, the same for each position."""
        table = self.lookup.table.index[:, self.columns]
        return Operand(self.lookup.table.node, np.broadcast_to(table, (len(self.positions), *table.shape)))

    @staticmethod
    def of(numbers: Operand) -> _SideBySide | None:
        """Of (n * d,) numbers; None where they are no such rows, or tables are not worth it."""
        node, places = behind_moves(numbers)
        if not isinstance(node, Lookup) or (places < 0).any():
            return None
        width = node.table.shape[1]
        if places.size % width or places.size < 2 * width:
            return None
        positions, columns = np.divmod(places.reshape(-1, width), width)
        is_regular = (positions == positions[:, :1]).all() and (columns == columns[:1]).all()
        return _SideBySide(node, positions[:, 0], columns[0]) if is_regular else None

    def pays(self, num_outputs: int) -> bool:
        """Whether tables of products with so many columns of weights are worth it."""
        return _pays(len(self.positions), self.lookup.table.shape[0], self.columns.size, num_outputs)


def product_by_tables(builder: GraphBuilder, left: Operand, right: Operand) -> Operand | None:
    """A product (1, 1, k) times weights (1, k, n) as a sum of rows of tables; else None, or where it does not pay."""
    if left.shape[:2] != (1, 1) or right.node.level != Dependence.WEIGHTS:
        return None
    found, count = _SideBySide.of(left.at_shape(-1)), right.shape[2]
    if found is None or not found.pays(count):
        return None
    weights = right.at_shape(len(found.positions), found.columns.size, count)
    tables = builder.matrix_product(found.embedding, weights)
    return builder.computed(LookupSum, count, (tables, found.rows)).whole(1, 1, count)


def gradient_by_tables(builder: GraphBuilder, node: Product) -> tuple[ScatterToAll, Operand, Index] | None:
    """Of an outer product (m, 1) times (1, n) of slopes and embeddings side by side, for its sum over examples.

    Slopes by position and token, the table (n, v, d) that these are multiplied with, and where the numbers of the
    product (n, d, slopes) stand in the outer product. None where it is no such product, or does not pay.
    """
    if node.sizes[0] != 1 or node.sizes[3] != 1:
        return None
    sides = node.left.at_shape(-1), node.right.at_shape(-1)
    for number, (one, slopes) in enumerate((sides, sides[::-1])):
        found = _SideBySide.of(one)
        if found is not None and found.pays(slopes.index.size) and slopes.node.level == Dependence.EXAMPLE:
            scatter = _scattered(builder, slopes, found.rows, found.lookup.table.shape[0])
            places = np.arange(node.size).reshape(node.sizes[1:3])
            return scatter, found.embedding, places.T if number else places
    return None


def table_gradient(builder: GraphBuilder, node: Scatter) -> list[tuple[ScatterToAll, Operand]] | None:
    """Of a sum by tokens of products with weights, each a position's: slopes by position and token, weights (n, k, d).

    A pair for each product that is added up. None where there are other values, or it does not pay.
    """
    count, width = node.values.shape
    num_rows = node.size // width
    found = []
    for term in summands(node.values):
        source, places = behind_moves(term)
        if not isinstance(source, Product) or source.sizes[:2] != (1, 1) or (places < 0).any():
            return None
        slopes = source.left.at_shape(-1)
        is_of_weights = (slopes.node.level, source.right.node.level) == (Dependence.EXAMPLE, Dependence.WEIGHTS)
        if not is_of_weights or not _pays(count, num_rows, width, slopes.index.size):
            return None
        weights = Operand(source.right.node, source.right.index[0][:, places].transpose(1, 0, 2))
        found.append((_scattered(builder, slopes, node.rows, num_rows), weights))
    return found


def _scattered(builder: GraphBuilder, slopes: Operand, rows: Operand, num_rows: int) -> ScatterToAll:
    size = rows.index.size * num_rows * slopes.index.size
    return builder.computed(ScatterToAll, size, (slopes, rows))


def _pays(num_positions: int, num_rows: int, width: int, num_outputs: int) -> bool:
    is_small = num_rows <= _MOST_ROWS and num_positions * num_rows * num_outputs <= _MOST_NUMBERS
    return is_small and num_positions > 1 and width >= _LEAST_TERMS
