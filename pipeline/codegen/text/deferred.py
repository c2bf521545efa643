"""Products that are summed over a batch, computed for several blocks of examples at once: no lanes are added up.

Where a product has few terms, adding up the lanes of its sums costs more than the product. So its operands are kept for
some blocks, and the products of all of them are computed together, of one example after the other.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from pipeline.codegen.graph.nodes import BatchSum, Dependence, Operand, Product

# With more of them the operands of several blocks leave the cache (a transformer of width 64 took 1.25 times as long).
_MOST_TERMS = 4
# What adding up the lanes of a vector costs, and copying a vector, in multiplications of vectors.
_FOLD_COST, _COPY_COST = 3, 2


@dataclass
class Deferred:
    """What is kept of a block: where each operand begins, and the calls that add the products to their sums."""

    size: int = 0
    calls: list[tuple[Product, BatchSum, int, int, int]] = field(default_factory=list)
    _places: dict[object, int] = field(default_factory=dict)

    def pays(self, product: Product, num_terms: int) -> bool:
        """Whether it is cheaper to keep the operands than to add up lanes at every block."""
        b, m, n, _ = product.sizes
        sides = (product.left, product.right)
        is_plain = b == 1 and all(one.node.level == Dependence.EXAMPLE for one in sides)
        return is_plain and num_terms <= _MOST_TERMS and _FOLD_COST * m * n > _COPY_COST * num_terms * (m + n)

    def place(self, operand: Operand) -> tuple[int, bool]:
        """Where an operand is kept, and whether it is already."""
        key = operand.key()
        is_known = key in self._places
        if not is_known:
            self._places[key] = self.size
            self.size += operand.index.size
        return self._places[key], is_known
