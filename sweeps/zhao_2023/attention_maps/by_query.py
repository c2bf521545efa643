"""How alike runs attend in the first layer, by kind of query: where the task forces a pattern, and where it does not.

In the sequence `x1 f(x1) ... xN f(xN) xq` the first of two layers has to let each value look at its key; what the keys
and the last query attend to there, the task leaves open. With one token a pair and one layer, the loss depends on the
last query alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from analysis.claims.claims import Evidence
from analysis.claims.sweeps import JudgedSweep, Sweeps
from analysis.dynamics.attention import similarity
from analysis.dynamics.similarity_contrasts import contrast
from analysis.outcomes.outcomes import CONVERGED
from analysis.uncertainty.intervals import Estimate
from pipeline.arrays import Bools, Floats
from pipeline.store.history import RunInfo
from sweeps.zhao_2023.attention_maps.contrasts import AttentionMaps
from sweeps.zhao_2023.measures import outcomes_of

KEYS, VALUES, QUERY = "keys", "values", "query"
# A run whose mean cosine with the others is at most this may do something else.
UNLIKE = 0.6


def positions(kind: str, length: int) -> list[int]:
    """Positions of the queries of one kind in a sequence of interleaved keys and values; the query is the last.

    >>> positions(VALUES, 7), positions(KEYS, 7), positions(QUERY, 7)
    ([1, 3, 5], [2, 4], [6])
    """
    # The first key sees itself alone, so that its row is the same in every run.
    return {VALUES: list(range(1, length, 2)), KEYS: list(range(2, length - 1, 2)), QUERY: [length - 1]}[kind]


@dataclass(frozen=True)
class LayerMaps:
    """Attention maps (R, 1, items, H, L, L) of one layer of every run at the budget, and which runs converged."""

    runs: Sequence[RunInfo]
    maps: Floats
    converged_R: Bools

    @property
    def length(self) -> int:
        """Tokens in a sequence."""
        return int(self.maps.shape[-1])

    def similarity_RR(self, queries: Sequence[int]) -> Floats:
        """(R, R) cosine of the maps of two runs, from these queries alone."""
        return similarity(self.maps[..., list(queries), :])

    def mean_similarity(self, queries: Sequence[int]) -> Estimate:
        """Its mean over pairs of converged runs, with an interval that resamples runs."""
        alike_RR = self.similarity_RR(queries)
        return contrast(self.runs, alike_RR, alike_RR, self.converged_R, self.converged_R).first


def first_layer(sweep: JudgedSweep) -> LayerMaps:
    """The maps of the first layer. Raises UndecidedError where none was kept."""
    history = sweep.history
    maps = AttentionMaps.at(sweep, np.full(len(history.runs), float(history.budget)))
    return LayerMaps(history.runs, maps.layer1, outcomes_of(history).is_kind_R(CONVERGED))


def mean_with_others_R(alike_RR: Floats) -> Floats:
    """(R,) mean of each row but for its diagonal, which must be 1: how alike a run is to the others. 0 for one run."""
    return np.asarray((alike_RR.sum(axis=1) - 1) / max(1, len(alike_RR) - 1))


def similarity_of_runs(sweeps: Sweeps, *, sweep: str, queries: str) -> Evidence:
    """Mean cosine of the first-layer maps of two converged runs, from queries of one kind; 5% and 95% of single pairs.

    The note says how many runs have a mean cosine with the others of .6 or less: they may do something else.
    """
    found = first_layer(sweeps[sweep])
    at = positions(queries, found.length)
    alike_RR = found.similarity_RR(at)[np.ix_(found.converged_R, found.converged_R)]
    pairs = alike_RR[np.triu_indices(len(alike_RR), 1)]
    note = f"{len(alike_RR)} of {len(found.runs)} runs converged; no pair of them."
    if len(pairs):
        low, high = np.quantile(pairs, [0.05, 0.95])
        num_unlike = int(np.sum(mean_with_others_R(alike_RR) <= UNLIKE))
        note = (
            f"{len(alike_RR)} of {len(found.runs)} runs converged; 90% of their pairs lie from {low:.2f} to "
            f"{high:.2f}; {num_unlike} runs have a mean of .6 or less with the others."
        )
    return Evidence.of(found.mean_similarity(at), found.runs, note, num_runs=len(alike_RR))
