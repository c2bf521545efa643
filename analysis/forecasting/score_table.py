"""Table of scores per predictor at one window, with bootstrap intervals, from held-out forecasts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

import numpy as np

from analysis.forecasting.scores import (
    auroc,
    brier,
    brier_skill,
    calibration_line,
    expected_calibration_error,
    num_pairs,
)
from analysis.uncertainty.intervals import Estimate, from_bootstrap
from pipeline.arrays import Bools, Floats, Ints

LOSS_BASELINE = "last_loss"
FEWEST_PAIRS = 20


@dataclass(frozen=True)
class ForecastScores:
    """One predictor at one window, each figure with its 95% interval over the resamples of the sweep.

    Intervals are of these fitted forecasts; variation from training them is not included.

    `auroc_pooled` counts pairs inside a fold; `auroc_within` pairs inside a setting and a fold, settings weighted by
    their number of pairs; `auroc_gain` is auroc_within less that of last_loss on the same resamples. The last two have
    no interval under FEWEST_PAIRS pairs. `brier_skill` is against the evaluation's `reference`, and NaN with one class.
    `calibration_error` has no interval: it is biased upwards, and its resamples are biased once more. All are about
    "converged by the budget" against "diverged or unconverged".
    """

    auroc_pooled: Estimate
    auroc_within: Estimate
    auroc_gain: Estimate
    brier: Estimate
    brier_skill: Estimate
    calibration_error: Estimate
    calibration_slope: Estimate
    calibration_intercept: Estimate

    @classmethod
    def undefined(cls) -> ForecastScores:
        """NaN throughout."""
        return cls(*(Estimate(np.nan) for _ in fields(cls)))


def score_forecasts(
    probability_N: Mapping[str, Floats],
    converged_N: Bools,
    fold_N: Ints,
    within_N: Ints,
    weight_BN: Floats,
    reference: str,
) -> dict[str, ForecastScores]:
    """Scores of each predictor. `within_N` numbers (setting, fold); row 0 of `weight_BN` is all ones."""
    undefined_B = np.full(len(weight_BN), np.nan)
    has_both_B = (weight_BN @ converged_N > 0) & (weight_BN @ ~converged_N > 0)
    brier_by = {name: brier(p_N, converged_N, weight_BN) for name, p_N in probability_N.items()}
    within_by = {name: auroc(p_N, converged_N, within_N, weight_BN) for name, p_N in probability_N.items()}
    num_within = num_pairs(converged_N, within_N)
    scores = {}
    for name, p_N in probability_N.items():
        slope_B, intercept_B = calibration_line(p_N, converged_N, fold_N, weight_BN)
        skill_B = brier_skill(brier_by[name], brier_by.get(reference, undefined_B))
        scores[name] = ForecastScores(
            auroc_pooled=from_bootstrap(auroc(p_N, converged_N, fold_N, weight_BN)),
            auroc_within=_of_pairs(within_by[name], num_within),
            auroc_gain=_of_pairs(within_by[name] - within_by.get(LOSS_BASELINE, undefined_B), num_within),
            brier=from_bootstrap(brier_by[name]),
            brier_skill=from_bootstrap(np.where(has_both_B, skill_B, np.nan)),
            calibration_error=Estimate(float(expected_calibration_error(p_N, converged_N, weight_BN[:1])[0])),
            calibration_slope=from_bootstrap(slope_B),
            calibration_intercept=from_bootstrap(intercept_B),
        )
    return scores


def _of_pairs(score_B: Floats, num: int) -> Estimate:
    return from_bootstrap(score_B if num >= FEWEST_PAIRS else score_B[:1])
