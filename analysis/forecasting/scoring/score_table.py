"""Table of scores per predictor at one window, with bootstrap intervals, from held-out forecasts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

import numpy as np

from analysis.forecasting.censoring import RiskSet
from analysis.forecasting.held_out import ForecastSample
from analysis.forecasting.scoring.figures import Figures, ScoredRuns, figures_of
from analysis.forecasting.scoring.scores import (
    brier_skill,
    debiased_calibration_error,
    expected_calibration_error,
    num_pairs,
)
from analysis.forecasting.scoring.seen_times import SeenTimes
from analysis.outcomes.outcomes import Outcomes
from analysis.uncertainty.intervals import Estimate, from_bootstrap
from pipeline.arrays import Array, Floats, Ints

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


def score_sample(
    sample: ForecastSample,
    outcomes: Outcomes,
    risk: RiskSet,
    within_R: Ints,
    weight_BR: Array,
    reference: str,
    budget: int,
) -> dict[str, ForecastScores]:
    """Scores of each predictor. `within_R` numbers (setting, fold); row 0 of `weight_BR`, of any type, is all ones."""
    asked = np.flatnonzero(sample.fold_R >= 0)
    seen = SeenTimes.of(outcomes, risk, asked)
    runs = ScoredRuns.of(seen, sample.steps_G, budget, sample.fold_R[asked], within_R[asked])
    asked_by = {name: found.rows(asked) for name, found in sample.forecasts.items()}
    figures_by = figures_of(asked_by, runs, weight_BR)
    is_few = num_pairs(runs.converged_N, runs.within_M[runs.known_N]) < FEWEST_PAIRS
    return {
        name: _scores(asked_by[name].converged_R[runs.known_N], runs, figures, figures_by, reference, is_few)
        for name, figures in figures_by.items()
    }


def _scores(
    probability_N: Floats,
    runs: ScoredRuns,
    found: Figures,
    figures_by: Mapping[str, Figures],
    reference: str,
    is_few: bool,
) -> ForecastScores:
    undefined_B = np.full(len(found.brier_B), np.nan)

    def against(name: str, figure: str) -> Floats:
        return getattr(figures_by[name], figure) if name in figures_by else undefined_B

    def of_pairs(score_B: Floats) -> Estimate:
        return from_bootstrap(score_B[:1] if is_few else score_B)

    has_both_B = found.has_both_B > 0
    skill_B = brier_skill(found.brier_B, against(reference, "brier_B"))
    time_skill_B = brier_skill(found.integrated_B, against(TIME_BASELINE, "integrated_B"))
    calibration = (probability_N, runs.converged_N, runs.weight_N[None])
    return ForecastScores(
        auroc_pooled=from_bootstrap(found.pooled_B),
        auroc_within=of_pairs(found.within_B),
        auroc_gain=of_pairs(found.within_B - against(LOSS_BASELINE, "within_B")),
        brier=from_bootstrap(found.brier_B),
        brier_skill=from_bootstrap(np.where(has_both_B, skill_B, np.nan)),
        calibration_error=Estimate(float(expected_calibration_error(*calibration)[0])),
        calibration_slope=from_bootstrap(found.slope_B),
        calibration_intercept=from_bootstrap(found.intercept_B),
        debiased_error=Estimate(float(debiased_calibration_error(*calibration)[0])),
        concordance=of_pairs(found.concordance_B),
        concordance_converged=of_pairs(found.converged_concordance_B),
        integrated_brier_skill=from_bootstrap(np.where(has_both_B, time_skill_B, np.nan)),
        coverage=from_bootstrap(found.coverage_B),
    )
