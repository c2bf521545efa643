"""Scores of forecasts of the time to convergence, with weights for censoring, vectorised over bootstrap weights.

Weights are (B, N) as in `scores`; a score is (B,), NaN where it is undefined. Divergence competes: a diverged run never
converges, so it outlives every converged one (Wolbers, Blanche, Koller, Witteman and Gerds 2014, section 2.3).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from analysis.forecasting.censoring import RiskSet
from analysis.forecasting.scores import DECIMALS, ratio
from analysis.outcomes.outcomes import CONVERGED, DIVERGED, UNCONVERGED, Outcomes
from pipeline.arrays import Bools, Floats, Ints


@dataclass(frozen=True)
class SeenTimes:
    """What was seen of N runs at risk: outcomes, the step of each or that to which the run was watched, and censoring.

    `converged_N`, `diverged_N` and `unconverged_N` mark the runs with these outcomes; the others were watched to
    `time_N` without one. `risk` is the risk set of the sweep, `row_N` the places of the runs in it.
    """

    risk: RiskSet
    row_N: Ints
    time_N: Floats
    converged_N: Bools
    diverged_N: Bools
    unconverged_N: Bools

    @classmethod
    def of(cls, outcomes: Outcomes, risk: RiskSet, row_N: Ints) -> SeenTimes:
        """What was seen of the runs at these places of the sweep."""
        kind_N = outcomes.kind_R[row_N]
        kinds = (kind_N == kind for kind in (CONVERGED, DIVERGED, UNCONVERGED))
        return cls(risk, row_N, risk.time_R[row_N], *kinds)

    @property
    def has_weight_N(self) -> Bools:
        """(N,) True for the runs whose outcome is known and weighted."""
        return self.risk.known_R[self.row_N]

    def watched_past(self, step: float) -> Floats:
        """(N,) G(step) of each run."""
        return self.risk.watched_past(np.full(len(self.risk.time_R), step))[self.row_N]

    def watched_before(self) -> Floats:
        """(N,) G(T-) of each run, T being its own time."""
        return self.risk.watched_before(self.risk.time_R)[self.row_N]

    def is_past(self, step: float) -> Bools:
        """(N,) True for the runs that were watched past the step without an outcome, and those that never have one."""
        return self.unconverged_N | (self.time_N > step)


def concordance(score_N: Floats, seen: SeenTimes, group_N: Ints, weight_BN: Floats, among_converged: bool) -> Floats:
    """Chance that of two runs of a group the one that converges earlier has the higher score; ties count half.

    Uno, Cai, Pencina, D'Agostino and Wei (2011, eq. 6) up to the budget: a pair counts where the earlier run converged
    and the other was watched past its time or diverged, by the inverse probability that a pair like it is seen. With
    `among_converged` both must have converged; then the pairs say nothing about who converges at all.
    """
    score_N, before_N = np.round(score_N, DECIMALS), np.maximum(seen.watched_before(), 1e-12)
    won_B, pairs_B = np.zeros(len(weight_BN)), np.zeros(len(weight_BN))
    for group in np.unique(group_N):
        in_group = np.flatnonzero(group_N == group)
        first = in_group[seen.converged_N[in_group]]
        if len(first) == 0 or len(in_group) < 2:
            continue
        pair_FN = _pair_weights(seen, first, in_group, before_N, among_converged)
        wins_FN = pair_FN * 0.5 * (np.sign(score_N[first][:, None] - score_N[in_group]) + 1)
        first_BF, other_BN = weight_BN[:, first] / before_N[first], weight_BN[:, in_group]
        won_B += ((first_BF @ wins_FN) * other_BN).sum(axis=1)
        pairs_B += ((first_BF @ pair_FN) * other_BN).sum(axis=1)
    return ratio(won_B, pairs_B)


def _pair_weights(seen: SeenTimes, first: Ints, others: Ints, before_N: Floats, among_converged: bool) -> Floats:
    """(F, N) 1 / P(the other run is seen to outlive the first), 0 where it is not seen to."""
    time_F1, time_N = seen.time_N[first][:, None], seen.time_N[others]
    later_FN = time_N > time_F1
    if among_converged:
        return np.where(later_FN & seen.converged_N[others], 1 / before_N[others], 0.0)
    # A group lies in one setting, so in one stratum: any of its runs has the curve of all.
    steps, of_first = np.unique(time_F1, return_inverse=True)
    past_F = np.array([seen.watched_past(step)[others[0]] for step in steps])[of_first.reshape(-1)]
    later_FN |= seen.unconverged_N[others]
    pair_FN = np.where(later_FN, 1 / np.maximum(past_F, 1e-12)[:, None], 0.0)
    return np.where(~later_FN & seen.diverged_N[others], 1 / before_N[others], pair_FN)


def integrated_brier(by_NG: Floats, seen: SeenTimes, steps_G: Floats, weight_BN: Floats) -> Floats:
    """Mean over steps of the squared distance of P(converged by the step) and truth, 0 (best) to 1.

    Graf, Schmoor, Sauerbrei and Schumacher (1999, section 3): a run counts at a step if it had an outcome by then, by
    1 / G(T-), or was watched past it, by 1 / G(step); weights add up to 1 at every step. `by_NG` are the forecasts at
    `steps_G`, at least two; the trapezoid rule, in steps.
    """
    before_N = np.maximum(seen.watched_before(), 1e-12)
    columns = zip(steps_G.tolist(), by_NG.T, strict=True)
    brier_BG = np.stack([_brier_at(step, by_N, seen, before_N, weight_BN) for step, by_N in columns], axis=1)
    return np.asarray(np.trapezoid(brier_BG, steps_G, axis=1) / (steps_G[-1] - steps_G[0]))


def _brier_at(step: float, by_N: Floats, seen: SeenTimes, before_N: Floats, weight_BN: Floats) -> Floats:
    past_N = seen.is_past(step)
    had_N = ~past_N & (seen.converged_N | seen.diverged_N)
    past_by_N = np.maximum(seen.watched_past(step), 1e-12)
    weighted_BN = weight_BN * (np.where(had_N, 1 / before_N, 0.0) + np.where(past_N, 1 / past_by_N, 0.0))
    return ratio(weighted_BN @ (by_N - (had_N & seen.converged_N)) ** 2, weighted_BN.sum(axis=1))


def coverage(interval_N3: Floats, time_N: Floats, converged_N: Bools, budget: float, weight_BN: Floats) -> Floats:
    """Share of runs whose min(time, budget) lies in the interval; `time_N` counts of converged runs alone."""
    capped_N = np.where(converged_N, time_N, budget)
    inside_N = (capped_N >= np.minimum(interval_N3[:, 0], budget)) & (capped_N <= interval_N3[:, 2])
    return ratio(weight_BN @ inside_N.astype(np.float64), weight_BN.sum(axis=1))
