"""Times of every combination of two parents' initial matrices, as tables that a Walsh spectrum is computed of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from analysis.claims.sweeps import Sweeps, UndecidedError
from analysis.outcomes.outcomes import CENSORED, CONVERGED, DIVERGED, decide_outcomes
from pipeline.arrays import Bools, Floats
from pipeline.spec.criterion import Criterion
from pipeline.store.history import History
from sweeps.landscape.parent_pair import ParentPair
from sweeps.landscape.study import CHOSEN, GROUPS, MATRICES

KEPT_ACCURACY = Criterion("label_accuracy", at_least=0.99, evaluations=3)
# How a time beyond the budget counts: as the budget, as twice the budget, or by ranks, where it is the longest.
Scale = Literal["log", "log, late doubled", "ranks"]
_PREFIX = "streams.init/"


@dataclass(frozen=True)
class Factorial:
    """Log times (D, C) of all combinations: bit g of a place in C is set where factor g is the second parent's.

    `factors` names what is exchanged, group by group or matrix by matrix. `num_late` runs did not converge within the
    budget, and count with `latest` steps.
    """

    pair: ParentPair
    factors: tuple[str, ...]
    values_DC: Floats
    num_late: int
    latest: float = np.inf

    @property
    def num_runs(self) -> int:
        """Runs in the table."""
        return self.values_DC.size


def factorials(sweeps: Sweeps, pairs: Sequence[ParentPair] = CHOSEN, scale: Scale = "log") -> list[Factorial]:
    """Those of the pairs whose sweeps are there. Raises UndecidedError where none is, or one has not ended."""
    found = [factorial(sweeps[pair.name].history, pair, scale) for pair in pairs if sweeps.has(pair.name)]
    if not found:
        raise UndecidedError("no factorial is there")
    return found


def factorial(
    history: History,
    pair: ParentPair,
    scale: Scale = "log",
    criterion: Criterion = KEPT_ACCURACY,
    groups: Mapping[str, Sequence[str]] | None = None,
) -> Factorial:
    """The table of one sweep, of its runs' `log_times`.

    `groups` are the matrices that are exchanged together. None: GROUPS, or single matrices where those vary by
    themselves.
    """
    value_R, is_late_R = log_times(history, scale, criterion)
    factors = _factors_of(history, pair) if groups is None else groups
    seeds = sorted({run.data_seed for run in history.runs})
    values_DC = np.full((len(seeds), 2 ** len(factors)), np.nan)
    for run, value in zip(history.runs, value_R, strict=True):
        drawn = [run.hyperparameters[f"{_PREFIX}{matrices[0]}"] for matrices in factors.values()]
        place = sum(1 << g for g, seed in enumerate(drawn) if seed == pair.second)
        values_DC[seeds.index(run.data_seed), place] = value
    if np.isnan(values_DC).any():
        raise UndecidedError(f"{history.name}: {int(np.isnan(values_DC).sum())} combinations were not trained")
    return Factorial(pair, tuple(factors), values_DC, int(is_late_R.sum()), history.budget)


def log_times(history: History, scale: Scale = "log", criterion: Criterion = KEPT_ACCURACY) -> tuple[Floats, Bools]:
    """(R,) the logarithm of each run's time, and which runs did not converge within the budget.

    A time is the geometric mean of the two evaluations between which the run converged. Raises UndecidedError where
    runs were stopped, failed or diverged.
    """
    outcomes = decide_outcomes(history, criterion)
    if set(outcomes.kind_R.tolist()) & {CENSORED, DIVERGED}:
        raise UndecidedError(f"{history.name}: runs were stopped, failed or diverged, so their times are unknown")
    is_late_R = np.asarray(outcomes.kind_R != CONVERGED)
    late = history.budget * (2 if scale == "log, late doubled" else 1)
    middle_R = np.sqrt(np.maximum(outcomes.lower_R, 1) * outcomes.upper_R)
    value_R = np.log(np.where(is_late_R, late, middle_R))
    if scale == "ranks":
        value_R = _ranks(np.where(is_late_R, np.inf, value_R))
    return value_R, is_late_R


def _factors_of(history: History, pair: ParentPair) -> dict[str, Sequence[str]]:
    """What varies by itself: the groups, unless matrices of one group come from both parents in some run."""
    is_second_RM = np.array(
        [[run.hyperparameters[f"{_PREFIX}{name}"] == pair.second for name in MATRICES] for run in history.runs]
    )
    is_varied_M = np.ptp(is_second_RM.astype(int), axis=0) > 0
    for names in GROUPS.values():
        columns = [MATRICES.index(name) for name in names]
        if np.any(is_second_RM[:, columns] != is_second_RM[:, columns[:1]]):
            return {name: (name,) for name, is_varied in zip(MATRICES, is_varied_M, strict=True) if is_varied}
    return dict(GROUPS)


def _ranks(values_R: Floats) -> Floats:
    """Ranks from 0 to 1, equal ones at their mean."""
    _, place_R, count = np.unique(values_R, return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(count) - (count + 1) / 2)[place_R] / len(values_R))
