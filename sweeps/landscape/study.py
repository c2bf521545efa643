"""The sweeps on the landscape of an initialisation: factorials between two parents, widths, and learning rates.

Chosen parents come from the sweep `screening`: init seeds by mean log time over three data streams, the budget in place
of the times that are longer. Chosen pair p is the p-th fastest and the p-th slowest. The parents of ordinary pairs are
init seeds in order, which nothing was known about. All factorials have data streams that the screening did not have, so
that what made a parent slow under the first three alone does not count.
"""

from __future__ import annotations

from dataclasses import dataclass

from sweeps.papers import Paper, PaperSweep

# Matrices that are exchanged together in the factorials of groups; that of matrices exchanges every one by itself.
GROUPS = {
    "embedding": ("embedding",),
    "position": ("position",),
    "QK, layer 1": ("layer0.query", "layer0.key"),
    "VO, layer 1": ("layer0.value", "layer0.output"),
    "QK, layer 2": ("layer1.query", "layer1.key"),
    "VO, layer 2": ("layer1.value", "layer1.output"),
    "unembedding": ("unembedding",),
}
MATRICES = tuple(name for names in GROUPS.values() for name in names)
# Matrices of which the model uses the product alone: that of queries and keys, and that of values and outputs.
PRODUCTS = tuple(names for names in GROUPS.values() if len(names) == 2)


@dataclass(frozen=True)
class ParentPair:
    """The init seeds of two parents, the first of which is the faster one where they were chosen by their times."""

    name: str
    first: int
    second: int

    def overrides(self, factors: tuple[tuple[str, ...], ...]) -> tuple[str, ...]:
        """The factorial of these parents: each factor, some matrices, from the first one or from the second one."""
        entries = (
            ", ".join(f"streams.init/{matrix}: [{self.first}, {self.second}]" for matrix in matrices)
            for matrices in factors
        )
        return (f"name=landscape_{self.name}", f"vary=[{', '.join(f'{{{entry}}}' for entry in entries)}]")


CHOSEN = (ParentPair("pair_1", 17, 27), ParentPair("pair_2", 7, 2), ParentPair("pair_3", 12, 14))
ORDINARY = tuple(ParentPair(f"pair_{4 + p}", 40 + 2 * p, 41 + 2 * p) for p in range(5))
PAIRS = CHOSEN + ORDINARY
# Every matrix by itself, between the parents of the first pair.
BY_MATRIX = ParentPair("matrices", CHOSEN[0].first, CHOSEN[0].second)

_FACTORIAL = "landscape/factorial.yaml"
# The shorter sweeps stand first. The full profile is the fast one and more, so both have one results folder.
STUDY = Paper(
    name="landscape",
    title="The landscape of an initialisation",
    sweeps=(
        PaperSweep("screening", "landscape/screening.yaml"),
        *(
            PaperSweep(pair.name, _FACTORIAL, overrides, overrides)
            for pair in PAIRS
            for overrides in [pair.overrides(tuple(GROUPS.values()))]
        ),
        PaperSweep(
            BY_MATRIX.name,
            _FACTORIAL,
            fast=None,
            full=(
                *BY_MATRIX.overrides(tuple((matrix,) for matrix in MATRICES)),
                "seeds.crossed.data_seed=[104, 105]",
            ),
        ),
        PaperSweep("widths", "landscape/widths.yaml"),
        PaperSweep("rates", "landscape/rates.yaml", fast=None),
    ),
)
