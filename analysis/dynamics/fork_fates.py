"""Agreement of forks with their parents' outcomes by fork step, and the step from which outcomes are fixed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from analysis.outcomes.outcomes import CENSORED, CONVERGED, Outcomes
from analysis.uncertainty.intervals import Estimate, from_bootstrap, proportion_from_bootstrap
from analysis.uncertainty.resampling import resample
from pipeline.arrays import Bools, Floats, Ints
from pipeline.store.history import RunInfo


@dataclass(frozen=True)
class ForkFates:
    """One row per fork whose own outcome and whose parent's are known, N in all.

    `forks[n]` left its parent at `step_N`. `agrees_N`: both converged, or neither did. `by_chance_N`: the share of
    the other parents of that setting whose outcome is that of the fork's parent, which is what an unrelated run would
    share; NaN without other parents. `num_unknown` forks are left out: they or their parents are censored, or the
    parent is not among the parents given.
    """

    forks: tuple[RunInfo, ...]
    step_N: Ints
    agrees_N: Bools
    by_chance_N: Floats
    num_unknown: int


def fork_fates(
    forks: Sequence[RunInfo], fork_outcomes: Outcomes, parents: Sequence[RunInfo], parent_outcomes: Outcomes
) -> ForkFates:
    """Each fork beside its parent; runs that are no forks are passed over in `forks`, so both may be one sweep.

    Outcomes must be by the same criterion and budget; diverged and unconverged both count as not converged. Raises
    ValueError where the criteria differ.
    """
    if fork_outcomes.criterion != parent_outcomes.criterion:
        raise ValueError(
            f"forks are judged by {fork_outcomes.criterion}, parents by {parent_outcomes.criterion}: use one criterion"
        )
    known = {
        run.run_id: (run.setting_id, kind == CONVERGED)
        for run, kind in zip(parents, parent_outcomes.kind_R, strict=True)
        if kind != CENSORED
    }
    parent_ids = {run.parent for run in forks if run.parent is not None} & set(known)
    rows, num_unknown = [], 0
    for run, kind in zip(forks, fork_outcomes.kind_R, strict=True):
        if run.parent is None or run.fork_step is None:
            continue
        if run.parent not in known or kind == CENSORED:
            num_unknown += 1
            continue
        setting, converged = known[run.parent]
        others = [known[p][1] == converged for p in parent_ids if p != run.parent and known[p][0] == setting]
        chance = float(np.mean(others)) if others else np.nan
        rows.append((run, run.fork_step, (kind == CONVERGED) == converged, chance))
    return ForkFates(
        tuple(row[0] for row in rows),
        np.array([row[1] for row in rows], dtype=np.int64),
        np.array([row[2] for row in rows], dtype=bool),
        np.array([row[3] for row in rows], dtype=np.float64),
        num_unknown,
    )


@dataclass(frozen=True)
class FateAtStep:
    """Agreement of forks made at one step with their parents' outcomes, beside the agreement expected by chance.

    `unit` says in the plural what the 95% interval resampled. `agreement` is informative only above `by_chance`.
    """

    step: int
    agreement: Estimate
    by_chance: float
    num_forks: int
    num_parents: int
    unit: str


def fates_by_step(fates: ForkFates, *, bootstrap: int = 1000, seed: int = 0) -> tuple[FateAtStep, ...]:
    """All parents together, in order of the step. Forks of one parent are drawn together.

    Where the forks of several parents have the same data streams, those are drawn, too.

    Where all agree the interval is Wilson's on the number of parents (or seeds): 73 of 73 are needed for .95.
    """
    found = []
    for step in np.unique(fates.step_N):
        at = np.flatnonzero(fates.step_N == step)
        runs = [fates.forks[n] for n in at]
        resamples = resample(runs, bootstrap, seed)
        weight_BN = resamples.with_estimate()
        total_B = weight_BN.sum(axis=1)
        share_B = np.where(total_B > 0, weight_BN @ fates.agrees_N[at] / np.maximum(total_B, 1), np.nan)
        chance_N = fates.by_chance_N[at]
        chance = float(np.mean(chance_N)) if np.all(np.isfinite(chance_N)) else np.nan
        num_parents = len({run.parent for run in runs})
        num_units = min(num_parents, resamples.num_units)
        share = proportion_from_bootstrap(share_B, num_units)
        found.append(FateAtStep(int(step), share, chance, len(at), num_parents, resamples.unit))
    return tuple(found)


def fixed_step(fates: ForkFates, budget: int, least: float = 0.95, *, bootstrap: int = 1000, seed: int = 0) -> Estimate:
    """The first fork step from which, there and at every later one, a share `least` of the forks end as their parents.

    At the budget all do, so the outcome is fixed there where it is at no fork step; between fork steps nothing is
    known. The 95% interval resamples what the forks' seeds leave independent, all steps together. NaN without forks.
    """
    steps = np.unique(fates.step_N)
    if not len(steps):
        return Estimate(np.nan)
    weight_BN = resample(fates.forks, bootstrap, seed).with_estimate()
    is_at_SN = fates.step_N == steps[:, None]
    total_BS, shared_BS = weight_BN @ is_at_SN.T, weight_BN @ (is_at_SN & fates.agrees_N).T
    is_fixed_BS = (total_BS > 0) & (shared_BS >= least * total_BS)
    stays_BS = np.cumprod(is_fixed_BS[:, ::-1], axis=1)[:, ::-1].astype(bool)
    return from_bootstrap(np.where(stays_BS.any(axis=1), steps[stays_BS.argmax(axis=1)], float(budget)))
