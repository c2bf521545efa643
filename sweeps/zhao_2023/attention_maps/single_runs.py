"""How alike each converged run attends to the others in layer 1 from values, and whether its values look back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from analysis.claims.claims import Evidence
from analysis.claims.sweeps import JudgedSweep, Sweeps
from analysis.uncertainty.estimates import proportion_of_runs
from analysis.uncertainty.intervals import short
from pipeline.arrays import Floats
from pipeline.store.history import RunInfo
from sweeps.zhao_2023.attention_maps.by_query import UNLIKE, VALUES, first_layer, mean_with_others_R, positions

# So many of the least alike runs are named in a note.
_NUM_NAMED = 3


@dataclass(frozen=True)
class LikenessOfRuns:
    """Of each converged run R, from values in layer 1.

    `likeness_R`: mean cosine of its map with those of the other runs. `looking_back_R`: share of values that attend
    most to the position before them, by the mean map over sequences.
    """

    runs: Sequence[RunInfo]
    likeness_R: Floats
    looking_back_R: Floats

    @classmethod
    def of(cls, sweep: JudgedSweep) -> LikenessOfRuns:
        """Raises UndecidedError where no map was kept."""
        found = first_layer(sweep)
        at = positions(VALUES, found.length)
        kept = np.flatnonzero(found.converged_R)
        alike_RR = found.similarity_RR(at)[np.ix_(kept, kept)]
        map_RLL = found.maps[kept][:, 0].mean(axis=(1, 2))
        looking_back_R = np.mean(map_RLL[:, at].argmax(axis=-1) == np.array(at) - 1, axis=1)
        return cls([found.runs[r] for r in kept.tolist()], mean_with_others_R(alike_RR), looking_back_R)


def share_of_unlike_runs(sweeps: Sweeps, *, sweep: str) -> Evidence:
    """Share of converged runs whose mean cosine with the others is at most UNLIKE; the least alike are in the note."""
    found = LikenessOfRuns.of(sweeps[sweep])
    least = np.argsort(found.likeness_R)[:_NUM_NAMED]
    named = ", ".join(
        f"{short(found.likeness_R[r])} (seed {found.runs[r].init_seed}, of its values "
        f"{short(found.looking_back_R[r])} look back)"
        for r in least.tolist()
    )
    note = f"{len(found.runs)} runs converged; lowest mean cosines {named}."
    return Evidence.of(proportion_of_runs(found.likeness_R <= UNLIKE, found.runs), found.runs, note)
