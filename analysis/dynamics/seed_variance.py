"""Variance of log time to convergence split into init-seed, data-seed and interaction shares.

For crossed seeds, every init seed with every data seed. A run is determined by its two seeds, so what neither explains
alone is interaction, not noise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from analysis.outcomes.outcomes import CENSORED, CONVERGED, Outcomes
from analysis.uncertainty.intervals import Estimate, from_bootstrap
from pipeline.arrays import Floats
from pipeline.store.history import RunInfo


@dataclass(frozen=True)
class SeedVariance:
    """Shares of the variance of log time, adding up to 1, with 95% intervals over seeds.

    `num_init` times `num_data` runs were used; of them `num_restricted` did not converge and count with the budget.
    `num_left_out` init seeds were not used, because a run of theirs is censored or was not made. The shares are NaN
    with fewer than two seeds of a kind, or where all times are equal. `init_without_slowest` is init's share without
    the init seed of the largest mean log time, which alone can make much of it; NaN with fewer than 3 init seeds.
    """

    init: Estimate
    data: Estimate
    interaction: Estimate
    num_init: int
    num_data: int
    num_restricted: int
    num_left_out: int
    init_without_slowest: Estimate


def seed_variance(
    outcomes: Outcomes,
    runs: Sequence[RunInfo],
    budget: int,
    *,
    draws_data_seeds: bool = True,
    bootstrap: int = 2000,
    seed: int = 0,
) -> SeedVariance:
    """Two-way random effects on log min(time, budget), by mean squares, for the runs of one setting.

    A run that did not converge by the budget, or diverged, counts with the budget, so the shares are of *restricted*
    time, as in restricted mean survival: exact, but where many runs are restricted the variance that the slow ones
    would have shown is cut off. An init seed with a censored (stopped) run is left out, for its times are unknown.
    Estimates below 0 are set to 0. The interval is a percentile bootstrap that draws init seeds and, apart from them,
    data seeds (the pigeonhole bootstrap of Owen 2007, section 3). Without `draws_data_seeds` it says what other init
    seeds would give with these very data seeds, and covers too rarely as a statement on both (simulated: .82 to .88 of
    the time for init's share, against .91 to .99). Raises ValueError where two runs share both seeds.

    >>> from pipeline.spec.criterion import Criterion
    >>> runs = [RunInfo(f"run-{i}-{j}", "setting", i, j, {}) for i in range(4) for j in range(3)]
    >>> time_R = np.array([100.0 * 2**run.init_seed for run in runs])
    >>> outcomes = Outcomes(Criterion(at_most=0.02), np.full(12, CONVERGED), time_R, time_R)
    >>> found = seed_variance(outcomes, runs, budget=1000)
    >>> round(found.init.value, 6), round(found.data.value, 6), round(found.interaction.value, 6)
    (1.0, 0.0, 0.0)
    """
    log_time_IJ = _table(outcomes, runs, budget)
    is_whole_I = np.all(np.isfinite(log_time_IJ), axis=1)
    table_IJ = log_time_IJ[is_whole_I]
    num_init, num_data = table_IJ.shape
    num_left_out = int((~is_whole_I).sum())
    if min(num_init, num_data) < 2:
        none = Estimate(np.nan)
        return SeedVariance(none, none, none, num_init, num_data, 0, num_left_out, none)
    init, data, interaction = _shares(table_IJ, draws_data_seeds, bootstrap, seed)
    others_IJ = np.delete(table_IJ, table_IJ.mean(axis=1).argmax(), axis=0)
    without = _shares(others_IJ, draws_data_seeds, bootstrap, seed)[0] if len(others_IJ) > 1 else Estimate(np.nan)
    used = set(np.array(_seeds(runs)[0])[is_whole_I].tolist())
    num_restricted = sum(
        run.init_seed in used and kind != CONVERGED for run, kind in zip(runs, outcomes.kind_R, strict=True)
    )
    return SeedVariance(init, data, interaction, num_init, num_data, num_restricted, num_left_out, without)


def _shares(table_IJ: Floats, draws_data_seeds: bool, bootstrap: int, seed: int) -> list[Estimate]:
    """Init's, the data's and the interaction's, with their intervals."""
    num_init, num_data = table_IJ.shape
    rng = np.random.default_rng(seed)
    init_BI = rng.integers(num_init, size=(bootstrap, num_init))
    data_BJ = np.broadcast_to(np.arange(num_data), (bootstrap, num_data))
    if draws_data_seeds:
        data_BJ = rng.integers(num_data, size=(bootstrap, num_data))
    resampled_BIJ = table_IJ[init_BI[:, :, None], data_BJ[:, None, :]]
    share_3B = variance_shares(np.concatenate([table_IJ[None], resampled_BIJ]))
    return [from_bootstrap(share_B) for share_B in share_3B]


def variance_shares(table_BIJ: Floats) -> Floats:
    """(3, B) shares of rows, columns and interaction in each table (I, J); NaN where a table is constant.

    With mean squares of rows, columns and the rest, the components are (MS_I - MS) / J, (MS_J - MS) / I and MS
    (Searle, Casella and McCulloch 1992, chapter 4: two-way crossed classification, random model, one observation each).

    >>> by_init = np.array([[[1.0, 1.0], [2.0, 2.0], [3.0, 3.0]]])
    >>> variance_shares(by_init).ravel().tolist()
    [1.0, 0.0, 0.0]
    """
    num_i, num_j = table_BIJ.shape[1:]
    mean_B = table_BIJ.mean(axis=(1, 2))[:, None]
    row_BI, column_BJ = table_BIJ.mean(axis=2) - mean_B, table_BIJ.mean(axis=1) - mean_B
    rest_BIJ = table_BIJ - mean_B[..., None] - row_BI[:, :, None] - column_BJ[:, None, :]
    rest_B = np.sum(rest_BIJ**2, axis=(1, 2)) / ((num_i - 1) * (num_j - 1))
    init_B = np.maximum(np.sum(row_BI**2, axis=1) / (num_i - 1) - rest_B / num_j, 0)
    data_B = np.maximum(np.sum(column_BJ**2, axis=1) / (num_j - 1) - rest_B / num_i, 0)
    total_B = init_B + data_B + rest_B
    # Rounding leaves about 1e-30 of a constant table.
    is_flat_B = total_B <= 1e-20 * np.maximum(mean_B[:, 0] ** 2, 1)
    return np.asarray(np.where(is_flat_B, np.nan, np.stack([init_B, data_B, rest_B]) / np.where(is_flat_B, 1, total_B)))


def _seeds(runs: Sequence[RunInfo]) -> tuple[list[int], list[int]]:
    return sorted({run.init_seed for run in runs}), sorted({run.data_seed for run in runs})


def _table(outcomes: Outcomes, runs: Sequence[RunInfo], budget: int) -> Floats:
    """(I, J) log of restricted time; NaN where the run is censored or there is none."""
    init_seeds, data_seeds = _seeds(runs)
    table_IJ = np.full((len(init_seeds), len(data_seeds)), np.nan)
    filled: set[tuple[int, int]] = set()
    for run, kind, time in zip(runs, outcomes.kind_R, outcomes.upper_R, strict=True):
        seeds = (run.init_seed, run.data_seed)
        if seeds in filled:
            raise ValueError(
                f"two runs have init_seed {seeds[0]} and data_seed {seeds[1]}: give the runs of one setting"
            )
        filled.add(seeds)
        if kind != CENSORED:
            restricted = max(1.0, float(time)) if kind == CONVERGED else float(budget)
            table_IJ[init_seeds.index(seeds[0]), data_seeds.index(seeds[1])] = np.log(min(restricted, budget))
    return table_IJ
