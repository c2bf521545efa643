"""The text of matrix products: whole, row by row where terms differ, and summed over a batch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pipeline.codegen.graph.nodes import BatchSum, Dependence, Node, Operand, Product, SourceNode
from pipeline.codegen.passes.extents import Flags, Spans, any_along, bounds_of
from pipeline.codegen.passes.strides import Strides
from pipeline.codegen.text.loop_text import LoopEmitter
from pipeline.codegen.text.loops import linear

# Fewer columns are less than a vector of rows; rows of more terms leave the first cache.
_LEAST_COLUMNS, _MOST_TERMS = 8, 64


class ProductEmitter(LoopEmitter):
    """Writes the products of one plan."""

    def _spans_blocks(self, node: Node) -> bool:
        """Whether several blocks of examples are computed at once: single rows times weights, or sums of products."""
        return False

    def _block_step(self, node: Node) -> str:
        """How many vectors are between what two blocks have of a node."""
        sources = {"slopes": "NUM_PREDICTIONS", "inputs": "sizeof(Batch) / sizeof(Lanes)"}
        return sources[node.name] if isinstance(node, SourceNode) else "STRIDE"

    def _turns(self, product: Product) -> bool:
        """Whether its sum over examples is cheaper by rows of one example each than by adding up the lanes of a vector.

        Turning costs about as much for a number of the right operand as adding up lanes does for one of the sum.
        """
        b, m, n, k = product.sizes
        are_lanes = all(one.node.level == Dependence.EXAMPLE for one in product.inputs)
        return b == 1 and are_lanes and k < m and k <= _MOST_TERMS and n >= _LEAST_COLUMNS

    def _out(self, node: Product) -> tuple[str, Strides]:
        """The address and the strides of its (b, m, n) numbers."""
        _, m, n, _ = node.sizes
        return self._name(node), self._plan.strides.get(id(node)) or Strides(0, (m * n, n, 1))

    def _product(self, node: Product, needed: Flags) -> list[str]:
        b, m, n, _ = node.sizes
        terms = self._plan.extents.terms[id(node)]
        # Columns between those that are wanted are computed, too.
        wanted = Spans.of(any_along(needed.reshape(b, m, n), 0)).filled(n)
        if is_box(wanted) and is_box(terms) and (any_along(terms, 1) == any_along(wanted, 1)).all():
            return self._whole_product(node, wanted, terms, "multiply", *self._out(node))
        return self._product_by_rows(node, wanted, terms)

    def _whole_product(
        self, node: Product, wanted: Flags, terms: Flags, function: str, target: str, out: Strides
    ) -> list[str]:
        (m0, m1), (n0, n1), (k0, k1) = (
            bounds_of(flags) for flags in (any_along(wanted, 1), any_along(wanted, 0), any_along(terms, 0))
        )
        left, right = self._strides(node.left), self._strides(node.right)
        sizes: list[int | str] = [m1 - m0, n1 - n0, k1 - k0, *left.steps[1:], *right.steps[1:], *out.steps[1:]]
        if function == "multiply" and self._spans_blocks(node):
            sizes[0], sizes[3], sizes[7] = "BLOCKS", self._block_step(node.left.node), self._block_step(node)
        reads = [
            (self._name(node.left.node), left, m0, k0),
            (self._name(node.right.node), right, k0, n0),
            (target, out, m0, n0),
        ]
        places = [
            f"{name} + {linear(one.base + row * one.steps[1] + column * one.steps[2], [one.steps[0]], ['b'])}"
            for name, one, row, column in reads
        ]
        return _each_matrix(node, f"{function}<{', '.join(map(str, sizes))}>({', '.join(places)});")

    def _product_by_rows(self, node: Product, wanted: Flags, terms: Flags) -> list[str]:
        _, out = self._out(node)
        left, right = self._strides(node.left), self._strides(node.right)
        (m0, m1), (n0, n1) = bounds_of(any_along(wanted, 1)), bounds_of(any_along(wanted, 0))
        k0, k1 = bounds_of(any_along(terms, 0))
        columns, sums = self._spans(wanted), self._spans(terms)
        if node.level == Dependence.EXAMPLE and terms[m0:m1, k0:k1].all():
            sizes = [m0, m1, node.sizes[2], k1 - k0, *left.steps[1:], *right.steps[1:], *out.steps[1:]]
            places = self._begins(node, left.base + k0 * left.steps[2], right.base + k0 * right.steps[1], out, None)
            return _each_matrix(node, f"multiply_to<{_listed(sizes)}>({places}, {', '.join(columns)});")
        steps, bounds = [left.steps[2], *right.steps[1:], out.steps[2]], [*columns, *sums]
        base, function = right.base, f"multiply_row<{_listed(steps)}>"
        if wanted[m0:m1, n0:n1].all():
            base, out = right.base + n0 * right.steps[2], Strides(out.base + n0 * out.steps[2], out.steps)
            function, bounds = f"multiply_terms<{_listed([n1 - n0, *steps])}>", [*sums]
        places = self._begins(node, left.base, base, out, "m")
        tables = ", ".join(f"{one}[m]" for one in bounds)
        return _each_matrix(node, f"for (int m = {m0}; m < {m1}; ++m) {function}({places}, {tables});")

    def _spans(self, flags: Flags) -> tuple[str, str]:
        """Tables of the first and behind the last True one of each row."""
        spans = Spans.of(flags)
        first, last = (self._tables.named(bounds.tolist(), "int") for bounds in (spans.first, spans.last))
        return first, last

    def _begins(self, node: Product, left: int, right: int, out: Strides, row: str | None) -> str:
        """Where operands and result of a matrix begin, or of its row."""
        sides = [
            (node.left.node, left, self._strides(node.left)),
            (node.right.node, right, Strides(0, (self._strides(node.right).steps[0], 0, 0))),
            (node, out.base, out),
        ]
        names = ["b"] if row is None else ["b", row]
        return ", ".join(
            f"{self._name(one)} + {linear(base, list(strides.steps[: len(names)]), names)}"
            for one, base, strides in sides
        )

    def _product_sum(self, node: BatchSum, product: Product) -> list[str]:
        """A product of (m, k) and (k, n) that is added to its sum over examples."""
        _, m, n, _ = product.sizes
        terms = self._plan.extents.terms[id(product)]
        k0, k1 = bounds_of(any_along(terms, 0))
        out = Strides(0, (m * n, n, 1))
        if not self._turns(product):
            span = np.broadcast_to(any_along(terms, 0), terms.shape)
            return self._whole_product(product, np.ones((m, n), bool), span, "add_product_sums", self._name(node), out)
        left, right = self._strides(product.left), self._strides(product.right)
        steps = [self._block_step(one.node) for one in product.inputs] if self._spans_blocks(node) else [0, 0]
        blocks = "BLOCKS" if self._spans_blocks(node) else 1
        sizes = _listed([m, n, k1 - k0, *left.steps[1:], *right.steps[1:], blocks, *steps])
        first = f"{self._name(product.left.node)} + {left.base + k0 * left.steps[2]}"
        second = f"{self._name(product.right.node)} + {right.base + k0 * right.steps[1]}"
        return [f"add_turned_sums<{sizes}>({first}, {second}, {self._name(node)});"]

    def _strides(self, operand: Operand) -> Strides:
        found = Strides.of(operand.index)
        assert found is not None, "operands of products are regular"
        return found


def _listed(numbers: Sequence[int | str]) -> str:
    return ", ".join(map(str, numbers))


def _each_matrix(node: Product, line: str) -> list[str]:
    """A line for each of a product's matrices."""
    count = node.sizes[0]
    return [f"for (int b = 0; b < {count}; ++b)" if count > 1 else "const int b = 0;", f"  {line}"]


def is_box(flags: Flags) -> bool:
    """Whether the True ones of (m, n) are all pairs of some rows and some columns, both without gaps."""
    (m0, m1), (n0, n1) = bounds_of(any_along(flags, 1)), bounds_of(any_along(flags, 0))
    return bool(flags[m0:m1, n0:n1].all())
