"""Figures of held-out forecasts under every row of bootstrap weights: what is sorted or compared once, is so once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from analysis.forecasting.held_out import HeldOutForecasts
from analysis.forecasting.scoring.calibration_line import LineData
from analysis.forecasting.scoring.ranked_pairs import OutcomePairs, RankedPairs, differ_in_groups
from analysis.forecasting.scoring.scores import DECIMALS, brier, ratio
from analysis.forecasting.scoring.seen_times import SeenTimes
from analysis.forecasting.scoring.time_pairs import OrderedPairs, PairWeights, TimePairs
from analysis.forecasting.scoring.time_scores import StepTruth, coverage
from analysis.uncertainty.blocks import in_blocks
from pipeline.arrays import Array, Bools, Floats, Ints


@dataclass(frozen=True)
class ScoredRuns:
    """What every predictor is scored on: M runs at risk, and N of them whose outcome is known and weighted.

    `known_N` are the places of the N among the M; `weight_N` and `copies_M` for how many runs each stands, the latter
    without those that are censored: scores of times bring their own weights for that. `fold_M` and `within_M` number
    the fold, and the setting and fold, of each.
    """

    seen: SeenTimes
    steps_G: Floats
    budget: int
    known_N: Ints
    weight_N: Floats
    copies_M: Floats
    fold_M: Ints
    within_M: Ints

    @classmethod
    def of(cls, seen: SeenTimes, steps_G: Floats, budget: int, fold_M: Ints, within_M: Ints) -> ScoredRuns:
        """Of what was seen of the M runs."""
        known_N, risk, row_M = np.flatnonzero(seen.has_weight_N), seen.risk, seen.row_N
        return cls(
            seen, steps_G, budget, known_N, risk.weight_R[row_M[known_N]], risk.copies_R[row_M], fold_M, within_M
        )

    @property
    def converged_N(self) -> Bools:
        """(N,) True for the runs that converged."""
        return self.seen.converged_N[self.known_N]


@dataclass(frozen=True)
class Figures:
    """(B,) figures of one predictor, as `ForecastScores` has them; NaN where undefined.

    `has_both_B` is 1 where some runs of positive weight converged and some did not, else 0.
    """

    pooled_B: Floats
    within_B: Floats
    brier_B: Floats
    slope_B: Floats
    intercept_B: Floats
    concordance_B: Floats
    converged_concordance_B: Floats
    integrated_B: Floats
    coverage_B: Floats
    has_both_B: Floats


def figures_of(forecasts: Mapping[str, HeldOutForecasts], runs: ScoredRuns, weight_BR: Array) -> dict[str, Figures]:
    """Of each predictor's forecasts of the M runs, under rows of weights of all R runs, a block at a time."""
    common = _Common.of(runs)
    prepared = [_Prepared.of(found, common) for found in forecasts.values()]

    def of_block(weight_BM: Floats) -> Floats:
        weights = _Weights.of(weight_BM, common)
        return np.stack([each.figures_SB(weights).T for each in prepared], axis=1)

    if not prepared:
        return {}
    found_BPS = in_blocks(of_block, weight_BR, runs.seen.row_N)
    return {name: Figures(*found_BPS[:, number].T) for number, name in enumerate(forecasts)}


@dataclass(frozen=True)
class _Common:
    """What is the same for all predictors and weights; `any_times` are the pairs of times in the order of no score."""

    runs: ScoredRuns
    pooled: OutcomePairs
    within: OutcomePairs
    times: TimePairs
    all_times: OrderedPairs
    any_times: OrderedPairs
    truth: StepTruth | None

    @classmethod
    def of(cls, runs: ScoredRuns) -> _Common:
        times, known_N = TimePairs.of(runs.seen, runs.within_M), runs.known_N
        return cls(
            runs,
            OutcomePairs.of(runs.converged_N, runs.fold_M[known_N]),
            OutcomePairs.of(runs.converged_N, runs.within_M[known_N]),
            times,
            times.everyone(),
            times.by(np.zeros(len(runs.copies_M))),
            StepTruth.of(runs.seen, runs.steps_G) if len(runs.steps_G) >= 2 else None,
        )


@dataclass(frozen=True)
class _Weights:
    """A block of weights, and what is the same for all predictors under them.

    `pooled_B`, `within_B` and `all_times` count all pairs, and what is named `before` those that are counted with them,
    and belong to no group.
    """

    known_BN: Floats
    at_risk_BM: Floats
    sides: tuple[Floats, Floats]
    pooled_B: Floats
    pooled_before_B: Floats
    within_B: Floats
    within_before_B: Floats
    times: PairWeights
    all_times: tuple[Floats, Floats]
    times_before: tuple[Floats, Floats]
    total_BG: Floats | None
    has_both_B: Floats

    @classmethod
    def of(cls, weight_BM: Floats, common: _Common) -> _Weights:
        runs = common.runs
        known_BN = weight_BM.take(runs.known_N, axis=1)
        known_BN *= runs.weight_N
        at_risk_BM = weight_BM * runs.copies_M if np.any(runs.copies_M != 1) else weight_BM
        sides, times = common.pooled.weights(known_BN), common.times.weights(at_risk_BM)
        pooled, within = common.pooled.everyone, common.within.everyone
        pooled_before_B, within_before_B = pooled.before_B(*sides), within.before_B(*sides)
        return cls(
            known_BN, at_risk_BM, sides,
            pooled.won_B(*sides, pooled_before_B), pooled_before_B,
            within.won_B(*sides, within_before_B), within_before_B,
            times, common.all_times.won_B(times), common.any_times.before_B(times),
            None if common.truth is None else common.truth.total_BG(at_risk_BM),
            np.asarray(sides[0].any(axis=1) & sides[1].any(axis=1), dtype=np.float64),
        )  # fmt: skip


@dataclass(frozen=True)
class _Prepared:
    """One predictor's forecasts, in the order of each score; `error_MG` is None of one that knows no times.

    `within` and `times` are None of one whose forecasts in a setting and fold are all equal: each pair there is a tie.
    """

    common: _Common
    found: HeldOutForecasts
    probability_N: Floats
    pooled: RankedPairs
    within: RankedPairs | None
    line: LineData
    times: OrderedPairs | None
    error_MG: Floats | None

    @classmethod
    def of(cls, found: HeldOutForecasts, common: _Common) -> _Prepared:
        """Of forecasts of the M runs."""
        runs, truth = common.runs, common.truth
        known = found.rows(runs.known_N)
        rounded_N, earliness_M = np.round(known.converged_R, DECIMALS), np.round(found.earliness_R, DECIMALS)
        differ_N = differ_in_groups(rounded_N, runs.within_M[runs.known_N])
        return cls(
            common,
            known,
            known.converged_R,
            common.pooled.by(rounded_N),
            common.within.by(rounded_N) if differ_N else None,
            LineData.of(known.converged_R, runs.converged_N, runs.fold_M[runs.known_N]),
            common.times.by(earliness_M) if differ_in_groups(earliness_M, runs.within_M) else None,
            None if truth is None or found.by_RG is None else truth.errors_NG(found.by_RG),
        )

    def figures_SB(self, weights: _Weights) -> Floats:
        """(S, B) the fields of `Figures`."""
        runs, truth = self.common.runs, self.common.truth
        undefined_B = np.full(len(weights.known_BN), np.nan)
        time_N = runs.seen.time_N[runs.known_N]
        integrated_B, coverage_B = undefined_B, undefined_B
        if truth is not None and self.error_MG is not None and weights.total_BG is not None:
            integrated_B = truth.integrated_B(self.error_MG, weights.at_risk_BM, weights.total_BG)
        if self.found.interval_R3 is not None:
            coverage_B = coverage(self.found.interval_R3, time_N, runs.converged_N, runs.budget, weights.known_BN)
        # Where all forecasts of a group are equal, each pair is a tie.
        within_B, times_B = 0.5 * weights.within_B, [0.5 * each_B for each_B in weights.all_times]
        if self.within is not None:
            within_B = self.within.won_B(*weights.sides, weights.within_before_B)
        if self.times is not None:
            times_B = [*self.times.won_B(weights.times, weights.times_before)]
        return np.stack([
            ratio(self.pooled.won_B(*weights.sides, weights.pooled_before_B), weights.pooled_B),
            ratio(within_B, weights.within_B),
            brier(self.probability_N, runs.converged_N, weights.known_BN),
            *self.line.lines_B(weights.known_BN),
            *map(ratio, times_B, weights.all_times),
            integrated_B,
            coverage_B,
            weights.has_both_B,
        ])  # fmt: skip
