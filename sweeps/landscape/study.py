"""The sweeps on the landscape of an initialisation: factorials between a fast and a slow parent, matrix by matrix.

Parents were chosen by the sweep `screening`: init seeds by mean log time over three data streams, the budget in place
of the times that are longer. Pair p is the p-th fastest and the p-th slowest. The factorials have other data streams,
so that what made a parent slow under the first three alone does not count.
"""

from __future__ import annotations

from dataclasses import dataclass

from sweeps.papers import Paper, PaperSweep

# Matrices that are exchanged together in the fast profile; the full profile exchanges every matrix by itself.
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


@dataclass(frozen=True)
class ParentPair:
    """The init seeds of two parents."""

    name: str
    fast: int
    slow: int

    def overrides(self, factors: tuple[tuple[str, ...], ...]) -> tuple[str, ...]:
        """The factorial of these parents: each factor, some matrices, from the fast one or from the slow one."""
        entries = (
            ", ".join(f"streams.init/{matrix}: [{self.fast}, {self.slow}]" for matrix in matrices)
            for matrices in factors
        )
        return (f"name=landscape_{self.name}", f"vary=[{', '.join(f'{{{entry}}}' for entry in entries)}]")


PAIRS = (ParentPair("pair_1", 17, 27), ParentPair("pair_2", 7, 2), ParentPair("pair_3", 12, 14))

STUDY = Paper(
    name="landscape",
    title="The landscape of an initialisation",
    sweeps=(
        PaperSweep("screening", "landscape/screening.yaml"),
        *(
            PaperSweep(
                pair.name,
                "landscape/factorial.yaml",
                fast=pair.overrides(tuple(GROUPS.values())),
                full=pair.overrides(tuple((matrix,) for matrix in MATRICES)),
            )
            for pair in PAIRS
        ),
    ),
)
