"""Differences of mean pairwise similarity between groups of runs, or states of one group; runs are resampled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from analysis.uncertainty.intervals import Estimate, from_bootstrap
from analysis.uncertainty.resampling import resample
from pipeline.arrays import Bools, Floats
from pipeline.store.history import RunInfo


@dataclass(frozen=True)
class SimilarityContrast:
    """Mean similarity of pairs of runs in two situations, and the first less the second, with 95% intervals.

    Intervals are NaN with fewer than three runs in a situation: their pairs all share a run. `num_runs` and `num_pairs`
    are of the first and the second; `unit` says in the plural what was resampled.
    """

    first: Estimate
    second: Estimate
    difference: Estimate
    num_runs: tuple[int, int]
    num_pairs: tuple[int, int]
    unit: str


def contrast(
    runs: Sequence[RunInfo],
    first_RR: Floats,
    second_RR: Floats,
    in_first_R: Bools | None = None,
    in_second_R: Bools | None = None,
    *,
    bootstrap: int = 1000,
    seed: int = 0,
) -> SimilarityContrast:
    """Pairs of the runs `in_first_R`, compared by `first_RR`, against pairs of `in_second_R`, compared by `second_RR`.

    The two matrices may be the same, with other runs (converged against unconverged), or of the same runs in another
    state (at init, permuted, earlier); entry (i, j) compares run i with run j. Runs are drawn, not pairs, and a drawn
    run counts in both matrices; a pair is two runs of different init seeds, so a run drawn twice is no pair with
    itself, nor a fork with its parent. Entries that are NaN are left out.
    """
    everyone = np.ones(len(runs), dtype=bool)
    resamples = resample(runs, bootstrap, seed)
    weight_BR = resamples.with_estimate()
    sides = [
        _mean_over_pairs(matrix_RR, everyone if member_R is None else member_R, runs, weight_BR)
        for matrix_RR, member_R in ((first_RR, in_first_R), (second_RR, in_second_R))
    ]
    means = [mean_B if num_runs > 2 else mean_B[:1] for mean_B, num_runs, _ in sides]
    both = min(len(mean_B) for mean_B in means)
    return SimilarityContrast(
        from_bootstrap(means[0]),
        from_bootstrap(means[1]),
        from_bootstrap(means[0][:both] - means[1][:both]),
        (sides[0][1], sides[1][1]),
        (sides[0][2], sides[1][2]),
        resamples.unit,
    )


def _mean_over_pairs(
    matrix_RR: Floats, member_R: Bools, runs: Sequence[RunInfo], weight_BR: Floats
) -> tuple[Floats, int, int]:
    """(B,) the mean over pairs of members under run weights; number of runs in any pair; number of pairs."""
    init_R = np.array([run.init_seed for run in runs])
    is_pair_RR = (init_R[:, None] != init_R) & np.isfinite(matrix_RR) & member_R & np.asarray(member_R)[:, None]
    values_RR = np.where(is_pair_RR, matrix_RR, 0)
    total_B = np.einsum("bi,ij,bj->b", weight_BR, values_RR, weight_BR, optimize=True)
    num_B = np.einsum("bi,ij,bj->b", weight_BR, is_pair_RR.astype(np.float64), weight_BR, optimize=True)
    mean_B = np.where(num_B > 0, total_B / np.maximum(num_B, 1e-12), np.nan)
    return mean_B, int(is_pair_RR.any(axis=0).sum()), int((is_pair_RR | is_pair_RR.T).sum() // 2)
