"""The text of matrix products: whole, row by row where terms differ, and summed over a batch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pipeline.codegen.graph.nodes import BatchSum, Dependence, Operand, Product
from pipeline.codegen.passes.extents import Flags, Spans, any_along, bounds_of
from pipeline.codegen.passes.plan import ProgramPlan
from pipeline.codegen.passes.strides import Strides
from pipeline.codegen.text.deferred import Deferred
from pipeline.codegen.text.loop_text import LoopEmitter
from pipeline.codegen.text.loops import linear


class ProductEmitter(LoopEmitter):
    """Writes the products of one plan."""

    def __init__(self, plan: ProgramPlan, table: str = "table") -> None:
        super().__init__(plan, table)
        self._deferred = Deferred()

    def _product(self, node: Product, needed: Flags) -> list[str]:
        b, m, n, _ = node.sizes
        terms = self._plan.extents.terms[id(node)]
        # Columns between those that are wanted are computed, too.
        wanted = Spans.of(any_along(needed.reshape(b, m, n), 0)).filled(n)
        out = Strides(0, (m * n, n, 1))
        if _is_box(wanted) and _is_box(terms) and (any_along(terms, 1) == any_along(wanted, 1)).all():
            return self._whole_product(node, wanted, terms, out, "multiply", self._name(node))
        return self._product_by_rows(node, wanted, terms, out)

    def _whole_product(
        self, node: Product, wanted: Flags, terms: Flags, out: Strides, function: str, target: str
    ) -> list[str]:
        (m0, m1), (n0, n1), (k0, k1) = (
            bounds_of(flags) for flags in (any_along(wanted, 1), any_along(wanted, 0), any_along(terms, 0))
        )
        left, right = self._strides(node.left), self._strides(node.right)
        sizes = [m1 - m0, n1 - n0, k1 - k0, *left.steps[1:], *right.steps[1:], *out.steps[1:]]
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

    def _product_by_rows(self, node: Product, wanted: Flags, terms: Flags, out: Strides) -> list[str]:
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

    def _strides(self, operand: Operand) -> Strides:
        found = Strides.of(operand.index)
        assert found is not None, "operands of products are regular"
        return found

    def _kept_for_later(self, node: BatchSum, product: Product, k0: int, k1: int) -> list[str]:
        """Copies of a product's operands (m, k) and (k, n), from the first to the last term that counts."""
        left = product.left.at_positions(np.s_[0, :, k0:k1])
        right = product.right.at_positions(np.s_[0, k0:k1, :])
        lines, places = [], []
        for operand in (left, right):
            place, is_known = self._deferred.place(operand)
            places.append(place)
            if not is_known:
                lines += self._written(f"(kept + {place})", operand, Dependence.EXAMPLE, "=")
        self._deferred.calls.append((product, node, places[0], places[1], k1 - k0))
        return lines

    def _flush(self) -> list[str]:
        """The function that adds the products of what was kept."""
        lines = ["static void flush(Tape& tape, real* g) {"]
        for product, node, left, right, num_terms in self._deferred.calls:
            _, m, n, _ = product.sizes
            sizes = f"{m}, {n}, {num_terms}, {num_terms}, 1, {n}, 1, {self._deferred.size}"
            places = f"tape.kept + {left}, tape.kept + {right}, tape.num_kept, {self._name(node)}"
            lines.append(f"  add_sums_of_blocks<{sizes}>({places});")
        return [*lines, "  tape.num_kept = 0;", "}"]


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))


def _each_matrix(node: Product, line: str) -> list[str]:
    """A line for each of a product's matrices."""
    count = node.sizes[0]
    return [f"for (int b = 0; b < {count}; ++b)" if count > 1 else "const int b = 0;", f"  {line}"]


def _is_box(flags: Flags) -> bool:
    """Whether the True ones of (m, n) are all pairs of some rows and some columns, both without gaps."""
    (m0, m1), (n0, n1) = bounds_of(any_along(flags, 1)), bounds_of(any_along(flags, 0))
    return bool(flags[m0:m1, n0:n1].all())
