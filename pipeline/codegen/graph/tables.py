"""What is linear in an embedding is computed once for each token of the vocabulary, and looked up at every position."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from pipeline.codegen.graph.nodes import Dependence, Index, Lookup, Operand, Product, Scatter
from pipeline.codegen.graph.operands import behind_moves, summands

if TYPE_CHECKING:
    from pipeline.codegen.graph.build import GraphBuilder

# A table is worth its rows if they are at most so many times those that an example reads, and its terms so many.
_MOST_ROWS, _LEAST_TERMS = 4, 8


@dataclass(frozen=True)
class RowsOf:
    """Rows (r, d) read of a matrix: `numbers` (r,) of its rows, -1 for zeros, and the `columns` (d,) of each."""

    numbers: Index
    columns: Index

    @property
    def is_read(self) -> Index:
        """The rows, of r, that are not zeros."""
        return np.flatnonzero(self.numbers >= 0)

    @staticmethod
    def of(places: Index, width: int, *, is_turned: bool = False) -> RowsOf | None:
        """Of flat places (r, d) in a matrix of that width, or in its transpose; None where they are not rows of it."""
        is_zero = places < 0
        is_gone = is_zero.all(1)
        rows, columns = np.divmod(places[~is_gone], width)
        if is_turned:
            rows, columns = columns, rows
        if is_zero[~is_gone].any() or not rows.size or (rows != rows[:, :1]).any() or (columns != columns[:1]).any():
            return None
        numbers = np.full(len(places), -1)
        numbers[~is_gone] = rows[:, 0]
        return RowsOf(numbers, columns[0])


def product_by_table(builder: GraphBuilder, left: Operand, right: Operand) -> Operand | None:
    """A product (1, m, k) times (1, k, n) of looked up rows and weights as rows of a table times these weights.

    None where it is no such product, or a table is not worth it.
    """
    if left.shape[0] != 1:
        return None
    one, other = _first(left), turned(_first(right))
    if other.node.level <= Dependence.WEIGHTS:
        found = _looked_up_product(builder, one, other)
        return None if found is None else Operand(found.node, found.index[None])
    if one.node.level <= Dependence.WEIGHTS:
        found = _looked_up_product(builder, other, one)
        return None if found is None else Operand(found.node, found.index.T[None])
    return None


def _looked_up_product(builder: GraphBuilder, rows: Operand, weights: Operand) -> Operand | None:
    """Rows (r, k) times weights (n, k): (r, n)."""
    found = looked_up(rows)
    if found is None:
        return None
    lookup, read = found
    if not _pays(lookup.table.shape[0], read):
        return None
    # (n, v), so that a column of the table is contiguous.
    product = multiplied(builder, weights, turned(Operand(lookup.table.node, lookup.table.index[:, read.columns])))
    here = read.is_read
    values = builder.lookup(turned(product), Operand(lookup.rows.node, lookup.rows.index[read.numbers[here]]))
    positions = np.zeros((len(read.numbers), values.shape[1]), np.int64)
    positions[here] = 1 + np.arange(values.index.size).reshape(values.shape)
    return builder.gathered([values], positions)


def sum_by_table(builder: GraphBuilder, inputs: tuple[Operand, ...]) -> Operand | None:
    """What is looked up in a table of products, plus a bias, as rows of that table with the bias in it; else None."""
    for rows, bias in (inputs, inputs[::-1]):
        if len(rows.shape) != 2 or rows.node.level <= bias.node.level or (bias.index != bias.index[:1]).any():
            continue
        found = looked_up(rows)
        if found is None or not isinstance(found[0].table.node, Product):
            continue
        lookup, read = found
        if read.is_read.size == len(read.numbers):
            columns = turned(Operand(lookup.table.node, lookup.table.index[:, read.columns]))
            total = builder.map("plus", columns, Operand(bias.node, bias.index[0][:, None]))
            return builder.lookup(turned(total), Operand(lookup.rows.node, lookup.rows.index[read.numbers]))
    return None


def summed_as_table(builder: GraphBuilder, node: Product) -> tuple[Operand, Operand, bool] | None:
    """Of a sum over looked up rows of products: sums by row (v, m), the table (v, n), whether the table is on the left.

    The product is the transpose of one times the other. None where it is no such product, or a table is not worth it.
    """
    if node.sizes[0] != 1:
        return None
    left, right = turned(_first(node.left)), _first(node.right)
    for values, rows, is_turned in ((left, right, False), (right, left, True)):
        found = looked_up(rows)
        if found is not None and _pays(found[0].table.shape[0], found[1]):
            lookup, read = found
            here = read.is_read
            places = Operand(lookup.rows.node, lookup.rows.index[read.numbers[here]])
            scatter = builder.scatter(values.at_positions(here), places, lookup.table.shape[0])
            return scatter, Operand(lookup.table.node, lookup.table.index[:, read.columns]), is_turned
    return None


def scattered_products(builder: GraphBuilder, node: Scatter) -> list[tuple[Operand, Operand]] | None:
    """Of a sum by rows of products with weights: sums by row (v, k) of what is multiplied, and the weights (k, d).

    A pair for each product that is added up; None where there are other values, or a table is not worth it.
    """
    num_rows = node.size // node.values.shape[1]
    found = []
    for term in summands(node.values):
        split = _rows_and_weights(term)
        if split is None or not _pays(num_rows, split[2]):
            return None
        rows, weights, read = split
        here = read.is_read
        values = rows.at_positions(read.numbers[here])
        scatter = builder.scatter(values, node.rows.at_positions(here), num_rows)
        found.append((scatter, Operand(weights.node, weights.index[:, read.columns])))
    return found


def scattered_to(builder: GraphBuilder, rows: Index, values: Operand, num_rows: int) -> Operand:
    """Values (n, d) added up by rows that are known: moved if they differ, else multiplied with ones and zeros."""
    is_here = rows == np.arange(num_rows)[:, None]
    if (is_here.sum(1) <= 1).all():
        positions = np.zeros((num_rows, values.shape[1]), np.int64)
        positions[rows] = 1 + np.arange(values.index.size).reshape(values.shape)
        return builder.gathered([values], positions)
    ones = builder.constant(torch.from_numpy(is_here.astype(np.float64)))
    return _first(builder.product(Operand(ones.node, ones.index[None]), Operand(values.node, values.index[None])))


def multiplied(builder: GraphBuilder, left: Operand, right: Operand) -> Operand:
    """The matrix product of two matrices."""
    found = builder.matrix_product(Operand(left.node, left.index[None]), Operand(right.node, right.index[None]))
    return _first(found)


def looked_up(operand: Operand) -> tuple[Lookup, RowsOf] | None:
    """The lookup of which an operand (r, d) reads rows."""
    node, places = behind_moves(operand)
    if not isinstance(node, Lookup):
        return None
    read = RowsOf.of(places, node.table.shape[1])
    return None if read is None else (node, read)


def _rows_and_weights(term: Operand) -> tuple[Operand, Operand, RowsOf] | None:
    """What an operand reads rows of, as rows (m, k) of examples times weights (k, n), and which of their product's."""
    node, places = behind_moves(term)
    if not isinstance(node, Product) or node.sizes[0] != 1:
        return None
    left, right = _first(node.left), _first(node.right)
    is_turned = right.node.level > Dependence.WEIGHTS
    rows, weights = (turned(right), turned(left)) if is_turned else (left, right)
    read = RowsOf.of(places, node.sizes[2], is_turned=is_turned)
    return None if read is None or weights.node.level > Dependence.WEIGHTS else (rows, weights, read)


def _pays(num_rows: int, read: RowsOf) -> bool:
    return num_rows <= _MOST_ROWS * read.is_read.size and read.columns.size >= _LEAST_TERMS


def _first(operand: Operand) -> Operand:
    return operand.at_positions(0)


def turned(operand: Operand) -> Operand:
    """The transpose of a matrix."""
    return Operand(operand.node, operand.index.T)
