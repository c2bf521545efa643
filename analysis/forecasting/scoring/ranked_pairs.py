"""Weighted counts of pairs of runs that a score puts in order: by sorting once, for any number of rows of weights.

A sum over pairs of two groups of N runs costs N^2 products; cumulative sums over the runs in the order of their scores
give it in N (the rank sums of Wilcoxon 1945, with weights). With whole weights both are exact, and so equal to the bit.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from pipeline.arrays import Bools, Floats, Ints


@dataclass(frozen=True)
class RankedPairs:
    """F runs, each compared with those of M others that are of its group.

    `order_M` are the others by group and score. In that order, `low_F` is where those of a lower score than a run's
    end, and `base_F` where its group begins. `tied_T` are the runs with others of an equal score, which end at
    `high_T`: each of these counts half.
    """

    order_M: Ints
    base_F: Ints
    low_F: Ints
    tied_T: Ints
    high_T: Ints

    @classmethod
    def of(
        cls, first_F: Floats, others_M: Floats, group_F: Ints, group_M: Ints, is_strict: bool = False
    ) -> RankedPairs:
        """By scores; equal ones count half, or not at all if `is_strict`. Groups are numbers from 0."""
        ranks, rank = np.unique(np.concatenate([first_F, others_M]), return_inverse=True)
        key_F, key_M = (group_F * len(ranks) + rank[: len(first_F)], group_M * len(ranks) + rank[len(first_F) :])
        order_M = np.argsort(key_M, kind="stable")
        sorted_M = key_M[order_M]
        low_F = np.searchsorted(sorted_M, key_F)
        high_F = low_F if is_strict else np.searchsorted(sorted_M, key_F, side="right")
        tied_T = np.flatnonzero(high_F != low_F)
        return cls(order_M, np.searchsorted(sorted_M, group_F * len(ranks)), low_F, tied_T, high_F[tied_T])

    def won_B(self, first_BF: Floats, others_BM: Floats, before_B: Floats | None = None) -> Floats:
        """(B,) the sum of products of weights over all pairs in which the first has the higher score.

        `before_B` is `self.before_B` of the same weights, where it is known: it is the same for any scores.
        """
        upto_BM = self._upto(others_BM)
        won_B = _dot(first_BF, upto_BM, self.low_F)
        if len(self.tied_T):
            tied_BT = upto_BM.take(self.high_T, axis=1)
            tied_BT -= upto_BM.take(self.low_F[self.tied_T], axis=1)
            won_B += 0.5 * np.einsum("bt,bt->b", first_BF.take(self.tied_T, axis=1), tied_BT)
        if before_B is None:
            before_B = self._before(first_BF, upto_BM)
        return np.asarray(won_B - before_B)

    def before_B(self, first_BF: Floats, others_BM: Floats) -> Floats:
        """(B,) the sum of products of weights over the pairs with others of groups before a run's own."""
        return self._before(first_BF, self._upto(others_BM))

    def _before(self, first_BF: Floats, upto_BM: Floats) -> Floats:
        return _dot(first_BF, upto_BM, self.base_F) if self.base_F.any() else np.zeros(len(first_BF))

    def _upto(self, others_BM: Floats) -> Floats:
        """(B, M + 1) sums of the first weights, in the order."""
        upto_BM = np.empty((len(others_BM), len(self.order_M) + 1))
        upto_BM[:, 0] = 0
        np.cumsum(others_BM.take(self.order_M, axis=1), axis=1, out=upto_BM[:, 1:])
        return upto_BM


def _dot(first_BF: Floats, upto_BM: Floats, place_F: Ints) -> Floats:
    return np.asarray(np.einsum("bf,bf->b", first_BF, upto_BM.take(place_F, axis=1)))


def differ_in_groups(score_N: Floats, group_N: Ints) -> bool:
    """Whether in some group two scores differ; else each of its pairs is a tie."""
    scores, code_N = np.unique(score_N, return_inverse=True)
    groups, number_N = np.unique(group_N, return_inverse=True)
    return len(np.unique(number_N * max(len(scores), 1) + code_N)) > len(groups)


@dataclass(frozen=True)
class OutcomePairs:
    """The pairs of a positive and a negative run of one group, whatever their scores.

    `positive_P` and `negative_N` are the places of these runs among all, and `everyone` counts all pairs.
    """

    positive_P: Ints
    negative_N: Ints
    group_P: Ints
    group_N: Ints
    everyone: RankedPairs

    @classmethod
    def of(cls, positive_R: Bools, group_R: Ints) -> OutcomePairs:
        """The pairs of the runs marked and not marked; groups are any numbers."""
        number_R = np.unique(group_R, return_inverse=True)[1]
        positive_P, negative_N = np.flatnonzero(positive_R), np.flatnonzero(~positive_R)
        group_P, group_N = number_R[positive_P], number_R[negative_N]
        ones_P, zeros_N = np.ones(len(positive_P)), np.zeros(len(negative_N))
        return cls(positive_P, negative_N, group_P, group_N, RankedPairs.of(ones_P, zeros_N, group_P, group_N))

    def by(self, score_R: Floats) -> RankedPairs:
        """The pairs in the order of a score."""
        return RankedPairs.of(score_R[self.positive_P], score_R[self.negative_N], self.group_P, self.group_N)

    def weights(self, weight_BR: Floats) -> tuple[Floats, Floats]:
        """(B, P) and (B, N) weights of the positives and of the negatives."""
        return weight_BR.take(self.positive_P, axis=1), weight_BR.take(self.negative_N, axis=1)


@dataclass(frozen=True)
class LaterPairs:
    """Of F runs, each compared with those of M others that are of its group and have a later time.

    Times as binary numbers: of two, the later one has a 1 in the highest place at which they differ. So the pairs that
    differ at one place are those of runs with 0 and others with 1 there that agree in all higher places, which is one
    `RankedPairs`, and there are as many as places: the logarithm of the number of different times. `parts` has each of
    them with the places of the runs that take part.
    """

    parts: tuple[tuple[Ints, RankedPairs], ...]

    @classmethod
    def of(
        cls, first_F: Floats, others_M: Floats, group_F: Ints, group_M: Ints, time_F: Floats, time_M: Floats
    ) -> LaterPairs:
        """By scores, of which equal ones count half, among runs with these times."""
        times, number = np.unique(np.concatenate([time_F, time_M]), return_inverse=True)
        number_F, number_M = number[: len(time_F)], number[len(time_F) :]
        parts = []
        for place in range(max(len(times) - 1, 0).bit_length()):
            use_F, use_M = (np.flatnonzero((each >> place) % 2 == bit) for each, bit in ((number_F, 0), (number_M, 1)))
            if not len(use_F) or not len(use_M):
                continue
            group_f, group_m = (
                group[use] * (len(times) + 1) + (each[use] >> (place + 1))
                for group, each, use in ((group_F, number_F, use_F), (group_M, number_M, use_M))
            )
            found = RankedPairs.of(first_F[use_F], others_M[use_M], group_f, group_m)
            parts.append((use_F, replace(found, order_M=use_M[found.order_M])))
        return cls(tuple(parts))

    def won_B(self, first_BF: Floats, others_BM: Floats, before_B: Floats | None = None) -> Floats:
        """(B,) the sum of products of weights over all pairs in which the first has the higher score.

        `before_B` as in `RankedPairs`.
        """
        none_B = None if before_B is None else np.zeros(len(first_BF))
        won_B = np.zeros(len(first_BF))
        for use_F, comparison in self.parts:
            won_B += comparison.won_B(first_BF.take(use_F, axis=1), others_BM, none_B)
        return won_B if before_B is None else won_B - before_B

    def before_B(self, first_BF: Floats, others_BM: Floats) -> Floats:
        """(B,) as of `RankedPairs`, of all parts together."""
        before_B = np.zeros(len(first_BF))
        for use_F, comparison in self.parts:
            before_B += comparison.before_B(first_BF.take(use_F, axis=1), others_BM)
        return before_B
