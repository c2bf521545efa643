"""Table of scores per predictor at one window, with bootstrap intervals, from held-out forecasts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

import numpy as np

from analysis.forecasting.censoring import RiskSet
from analysis.forecasting.held_out import ForecastSample, HeldOutForecasts
from analysis.forecasting.scores import (
    auroc,
    brier,
    brier_skill,
    calibration_line,
    debiased_calibration_error,
    expected_calibration_error,
    num_pairs,
)
from analysis.forecasting.time_scores import SeenTimes, concordance, coverage, integrated_brier
from analysis.outcomes.outcomes import Outcomes
from analysis.uncertainty.intervals import Estimate, from_bootstrap
from pipeline.arrays import Bools, Floats, Ints

LOSS_BASELINE = "last_loss"
# What the integrated Brier score is held against: the cumulative incidence of each setting.
TIME_BASELINE = "setting_rate"
FEWEST_PAIRS = 20


@dataclass(frozen=True)
class ForecastScores:
    """One predictor at one window, each figure with its 95% interval over the resamples of the sweep.

    Intervals are of these fitted forecasts; variation from training them is not included. Runs count by their weights
    for censoring.

    `auroc_pooled` counts pairs inside a fold; `auroc_within` pairs inside a setting and a fold, settings weighted by
    their number of pairs; `auroc_gain` is auroc_within less that of last_loss on the same resamples. The last two have
    no interval under FEWEST_PAIRS pairs. `brier_skill` is against the evaluation's `reference`, and NaN with one class.
    `calibration_error` and `debiased_error` (less what a perfect forecaster has on average) have no interval: they are
    biased upwards in resamples. All these are about "converged by the budget" against "diverged or unconverged".

    `concordance` is Uno's C of the time to convergence in a setting and fold, `concordance_converged` the same among
    converging runs alone; a predictor that knows no time is judged by its probabilities. `integrated_brier_skill` is
    against TIME_BASELINE, `coverage` the share of runs with min(time, budget) inside the 90% interval; both are NaN of
    predictors that state no such thing.
    """

    auroc_pooled: Estimate
    auroc_within: Estimate
    auroc_gain: Estimate
    brier: Estimate
    brier_skill: Estimate
    calibration_error: Estimate
    calibration_slope: Estimate
    calibration_intercept: Estimate
    debiased_error: Estimate
    concordance: Estimate
    concordance_converged: Estimate
    integrated_brier_skill: Estimate
    coverage: Estimate

    @classmethod
    def undefined(cls) -> ForecastScores:
        """NaN throughout."""
        return cls(*(Estimate(np.nan) for _ in fields(cls)))


@dataclass(frozen=True)
class _Scored:
    """What every predictor is scored on: N runs with an outcome, M runs at risk (for times), and their resamples.

    `within_*` numbers (setting, fold), `fold_N` the fold. Weights of N include those for censoring, weights of M do
    not: the scores of times bring their own.
    """

    converged_N: Bools
    fold_N: Ints
    within_N: Ints
    weight_BN: Floats
    seen: SeenTimes
    within_M: Ints
    weight_BM: Floats
    steps_G: Floats
    budget: int
    num_within: int


def score_sample(
    sample: ForecastSample,
    outcomes: Outcomes,
    risk: RiskSet,
    within_R: Ints,
    weight_BR: Floats,
    reference: str,
    budget: int,
) -> dict[str, ForecastScores]:
    """Scores of each predictor. `within_R` numbers (setting, fold); row 0 of `weight_BR` is all ones."""
    asked = np.flatnonzero(sample.fold_R >= 0)
    known = asked[risk.known_R[asked]]
    seen = SeenTimes.of(outcomes, risk, asked)
    converged_N, within_N = seen.converged_N[risk.known_R[asked]], within_R[known]
    scored = _Scored(
        converged_N,
        sample.fold_R[known],
        within_N,
        (weight_BR * risk.weight_R)[:, known],
        seen,
        within_R[asked],
        (weight_BR * risk.copies_R)[:, asked],
        sample.steps_G,
        budget,
        num_pairs(converged_N, within_N),
    )
    known_by = {name: found.rows(known) for name, found in sample.forecasts.items()}
    asked_by = {name: found.rows(asked) for name, found in sample.forecasts.items()}
    return _scores(known_by, asked_by, scored, reference)


def _scores(
    known_by: Mapping[str, HeldOutForecasts],
    asked_by: Mapping[str, HeldOutForecasts],
    scored: _Scored,
    reference: str,
) -> dict[str, ForecastScores]:
    converged_N, weight_BN = scored.converged_N, scored.weight_BN
    undefined_B = np.full(len(weight_BN), np.nan)
    has_both_B = (weight_BN @ converged_N > 0) & (weight_BN @ ~converged_N > 0)
    brier_by = {name: brier(found.converged_R, converged_N, weight_BN) for name, found in known_by.items()}
    within_by = {
        name: auroc(found.converged_R, converged_N, scored.within_N, weight_BN) for name, found in known_by.items()
    }
    integrated_by = {name: _integrated(found, scored) for name, found in asked_by.items()}
    scores = {}
    for name, found in known_by.items():
        p_N = found.converged_R
        slope_B, intercept_B = calibration_line(p_N, converged_N, scored.fold_N, weight_BN)
        skill_B = brier_skill(brier_by[name], brier_by.get(reference, undefined_B))
        time_skill_B = brier_skill(integrated_by[name], integrated_by.get(TIME_BASELINE, undefined_B))
        gain_B = within_by[name] - within_by.get(LOSS_BASELINE, undefined_B)
        scores[name] = ForecastScores(
            auroc_pooled=from_bootstrap(auroc(p_N, converged_N, scored.fold_N, weight_BN)),
            auroc_within=_of_pairs(within_by[name], scored.num_within),
            auroc_gain=_of_pairs(gain_B, scored.num_within),
            brier=from_bootstrap(brier_by[name]),
            brier_skill=from_bootstrap(np.where(has_both_B, skill_B, np.nan)),
            calibration_error=Estimate(float(expected_calibration_error(p_N, converged_N, weight_BN[:1])[0])),
            calibration_slope=from_bootstrap(slope_B),
            calibration_intercept=from_bootstrap(intercept_B),
            debiased_error=Estimate(float(debiased_calibration_error(p_N, converged_N, weight_BN[:1])[0])),
            concordance=_of_pairs(_concordance(asked_by[name], scored, False), scored.num_within),
            concordance_converged=_of_pairs(_concordance(asked_by[name], scored, True), scored.num_within),
            integrated_brier_skill=from_bootstrap(np.where(has_both_B, time_skill_B, np.nan)),
            coverage=from_bootstrap(_coverage(found, scored)),
        )
    return scores


def _concordance(found: HeldOutForecasts, scored: _Scored, among_converged: bool) -> Floats:
    return concordance(found.earliness_R, scored.seen, scored.within_M, scored.weight_BM, among_converged)


def _integrated(found: HeldOutForecasts, scored: _Scored) -> Floats:
    if found.by_RG is None or len(scored.steps_G) < 2:
        return np.full(len(scored.weight_BM), np.nan)
    return integrated_brier(found.by_RG, scored.seen, scored.steps_G, scored.weight_BM)


def _coverage(found: HeldOutForecasts, scored: _Scored) -> Floats:
    if found.interval_R3 is None:
        return np.full(len(scored.weight_BN), np.nan)
    time_N = scored.seen.time_N[scored.seen.has_weight_N]
    return coverage(found.interval_R3, time_N, scored.converged_N, scored.budget, scored.weight_BN)


def _of_pairs(score_B: Floats, num: int) -> Estimate:
    return from_bootstrap(score_B if num >= FEWEST_PAIRS else score_B[:1])
