"""Pairs of runs of which the earlier converged, weighted by the chance that a pair like it is seen: for Uno's C."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from analysis.forecasting.scoring.ranked_pairs import LaterPairs, RankedPairs
from analysis.forecasting.scoring.seen_times import SeenTimes
from pipeline.arrays import Floats, Ints


@dataclass(frozen=True)
class TimePairs:
    """The pairs of N runs inside groups of which the first converged at T and the other outlived it.

    The other was watched past T, which a pair is seen to be with probability G(T-) G(T); or it diverged by T, and so
    never converges: G(T-) and the same of its own time. Of two runs that both converged, at T and T' after it, a second
    weight is for pairs of such runs alone: G(T-) G(T'-).

    `group_N` are numbers from 0, `time_N` times, infinite of runs that reached the budget. Places: `converged_F`, which
    are the first, `unconverged_U`, `diverged_D`, and `others_O`, those that neither converged nor reached the budget.
    `before_N` and `past_F` are 1 / G(T-) and 1 / G(T). A group lies in one setting, so in one stratum of censoring.
    """

    group_N: Ints
    time_N: Floats
    converged_F: Ints
    unconverged_U: Ints
    diverged_D: Ints
    others_O: Ints
    before_N: Floats
    past_F: Floats

    @classmethod
    def of(cls, seen: SeenTimes, group_N: Ints) -> TimePairs:
        """Of groups that are any numbers."""
        converged_F = np.flatnonzero(seen.converged_N)
        past_N = seen.risk.watched_past(seen.risk.time_R)[seen.row_N]
        return cls(
            np.unique(group_N, return_inverse=True)[1],
            np.where(seen.unconverged_N, np.inf, seen.time_N),
            converged_F,
            np.flatnonzero(seen.unconverged_N),
            np.flatnonzero(seen.diverged_N),
            np.flatnonzero(~seen.converged_N & ~seen.unconverged_N),
            1 / np.maximum(seen.watched_before(), 1e-12),
            1 / np.maximum(past_N[converged_F], 1e-12),
        )

    @property
    def is_weighted(self) -> bool:
        """Whether some pairs stand for others that are not seen."""
        return bool(np.any(self.before_N != 1) or np.any(self.past_F != 1))

    def weights(self, weight_BN: Floats) -> PairWeights:
        """What each run brings to its pairs under rows of weights."""
        first_BF = weight_BN.take(self.converged_F, axis=1)
        unconverged_BU, diverged_BD, others_BO = (
            weight_BN.take(places, axis=1) for places in (self.unconverged_U, self.diverged_D, self.others_O)
        )
        if not self.is_weighted:
            return PairWeights(first_BF, first_BF, first_BF, first_BF, unconverged_BU, diverged_BD, others_BO)
        before_BF = first_BF * self.before_N[self.converged_F]
        return PairWeights(
            before_BF * self.past_F, before_BF, first_BF, before_BF, unconverged_BU,
            diverged_BD * self.before_N[self.diverged_D], others_BO,
        )  # fmt: skip

    def by(self, score_N: Floats) -> OrderedPairs:
        """The pairs in the order of a score."""
        converged_F = self.converged_F

        def later(others: Ints) -> LaterPairs:
            group_N, time_N = self.group_N, self.time_N
            groups, times = (group_N[converged_F], group_N[others]), (time_N[converged_F], time_N[others])
            return LaterPairs.of(score_N[converged_F], score_N[others], *groups, *times)

        return OrderedPairs(
            later(converged_F),
            later(self.others_O),
            self._compared(score_N, self.unconverged_U),
            self._compared(score_N, self.diverged_D),
            later(self.diverged_D),
        )

    def everyone(self) -> OrderedPairs:
        """All pairs, whatever their scores."""
        is_first_N = np.zeros(len(self.time_N))
        is_first_N[self.converged_F] = 1.0
        converged, others, diverged = (
            # The one with the smaller time comes first.
            self._compared(-self.time_N, places, is_strict=True)
            for places in (self.converged_F, self.others_O, self.diverged_D)
        )
        unconverged, all_diverged = (
            self._compared(is_first_N, places) for places in (self.unconverged_U, self.diverged_D)
        )
        return OrderedPairs(converged, others, unconverged, all_diverged, diverged)

    def _compared(self, score_N: Floats, others: Ints, is_strict: bool = False) -> RankedPairs:
        first = self.converged_F
        return RankedPairs.of(score_N[first], score_N[others], self.group_N[first], self.group_N[others], is_strict)


@dataclass(frozen=True)
class PairWeights:
    """Weights of runs as members of pairs. The first: `past_BF` where the other outlived it, `before_BF` elsewhere.

    The other: `converged_BF`, and `converged_before_BF` where only pairs of converged runs count; `unconverged_BU`,
    `diverged_BD`, `others_BO`.
    """

    past_BF: Floats
    before_BF: Floats
    converged_BF: Floats
    converged_before_BF: Floats
    unconverged_BU: Floats
    diverged_BD: Floats
    others_BO: Floats


@dataclass(frozen=True)
class OrderedPairs:
    """The pairs of a run that converged with runs that outlived it, in the order of some score.

    `converged`, `others`: with runs of later times. `unconverged`: with any that reached the budget. `diverged`: with
    any that diverged, and `diverged_later`: of these, those that did so later, which are among `others`.
    """

    converged: LaterPairs | RankedPairs
    others: LaterPairs | RankedPairs
    unconverged: RankedPairs
    diverged: RankedPairs
    diverged_later: LaterPairs | RankedPairs

    def won_B(self, weights: PairWeights, before: tuple[Floats, Floats] | None = None) -> tuple[Floats, Floats]:
        """(B,) weighted numbers of pairs in which the first has the higher score: of all, and of converged runs.

        `before` is `self.before_B` of the same weights, where it is known: it is the same for any scores.
        """
        zeros_B = None if before is None else np.zeros(len(weights.past_BF))
        won_B, among_B = _over_kinds(
            self, weights, lambda pairs, first_BF, others_BM: pairs.won_B(first_BF, others_BM, zeros_B)
        )
        return (won_B, among_B) if before is None else (won_B - before[0], among_B - before[1])

    def before_B(self, weights: PairWeights) -> tuple[Floats, Floats]:
        """(B,) as of `RankedPairs`, of the same two numbers."""
        return _over_kinds(self, weights, lambda pairs, first_BF, others_BM: pairs.before_B(first_BF, others_BM))


def _over_kinds(
    pairs: OrderedPairs, weights: PairWeights, of_kind: Callable[[LaterPairs | RankedPairs, Floats, Floats], Floats]
) -> tuple[Floats, Floats]:
    """(B,) a sum over all kinds of pairs, and over those of converged runs, by their parts in Uno's C."""
    is_same = weights.past_BF is weights.before_BF
    among_B = of_kind(pairs.converged, weights.before_BF, weights.converged_before_BF)
    all_B = among_B if is_same else of_kind(pairs.converged, weights.past_BF, weights.converged_BF)
    all_B = all_B + of_kind(pairs.unconverged, weights.past_BF, weights.unconverged_BU)
    if weights.others_BO.shape[1]:
        all_B += of_kind(pairs.others, weights.past_BF, weights.others_BO)
    if weights.diverged_BD.shape[1]:
        all_B += of_kind(pairs.diverged, weights.before_BF, weights.diverged_BD)
        all_B -= of_kind(pairs.diverged_later, weights.before_BF, weights.diverged_BD)
    return all_B, among_B
