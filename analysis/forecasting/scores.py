"""Scores of probability forecasts (AUROC, Brier, calibration), vectorised over bootstrap weights.

Weights are (B, R): row 0 gives the estimate (all ones, or weights for censoring), the others say how often the
bootstrap drew each run, times those. A score is (B,),
NaN where it is undefined (no pair, no run, one class).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from analysis.uncertainty.intervals import Estimate, wilson_proportion
from pipeline.arrays import Bools, Floats, Ints

DECIMALS = 9


def auroc(probability_R: Floats, positive_R: Bools, group_R: Ints, weight_BR: Floats) -> Floats:
    """Chance that a positive gets a higher forecast than a negative of the same group; ties count half.

    Pairs across groups are never compared. Groups are averaged by their (weighted) number of pairs. Forecasts are
    compared after rounding to 1e-9, lest rounding noise in equal forecasts passes for a ranking.

    >>> probability_R, positive_R = np.array([0.9, 0.6, 0.4, 0.6]), np.array([True, True, False, False])
    >>> auroc(probability_R, positive_R, np.zeros(4, dtype=int), np.ones((1, 4))).tolist()
    [0.875]
    """
    score_R = np.round(probability_R, DECIMALS)
    won_B, pairs_B = np.zeros(len(weight_BR)), np.zeros(len(weight_BR))
    for group in np.unique(group_R):
        in_group_R = group_R == group
        positive, negative = np.flatnonzero(in_group_R & positive_R), np.flatnonzero(in_group_R & ~positive_R)
        if not len(positive) or not len(negative):
            continue
        difference_PN = score_R[positive][:, None] - score_R[negative]
        wins_PN = 0.5 * (np.sign(difference_PN) + 1)
        weight_BP, weight_BN = weight_BR[:, positive], weight_BR[:, negative]
        won_B += ((weight_BP @ wins_PN) * weight_BN).sum(axis=1)
        pairs_B += weight_BP.sum(axis=1) * weight_BN.sum(axis=1)
    return ratio(won_B, pairs_B)


def num_pairs(positive_R: Bools, group_R: Ints) -> int:
    """Number of pairs of a positive and a negative run of the same group."""
    return sum(
        int((positive_R & (group_R == group)).sum() * (~positive_R & (group_R == group)).sum())
        for group in np.unique(group_R)
    )


def brier(probability_R: Floats, positive_R: Bools, weight_BR: Floats) -> Floats:
    """Mean squared distance of forecast and truth, 0 (best) to 1.

    >>> brier(np.array([0.5, 1.0]), np.array([True, False]), np.ones((1, 2))).tolist()
    [0.625]
    """
    return ratio(weight_BR @ (probability_R - positive_R) ** 2, weight_BR.sum(axis=1))


def brier_skill(brier_B: Floats, reference_B: Floats) -> Floats:
    """Share of the reference's Brier score that is saved: 1 is perfect, 0 no better, negative worse.

    >>> brier_skill(np.array([0.125, 0.5]), np.array([0.25, 0.25])).tolist()
    [0.5, -1.0]
    """
    return 1 - ratio(brier_B, reference_B)


def expected_calibration_error(probability_R: Floats, positive_R: Bools, weight_BR: Floats, bins: int = 10) -> Floats:
    """Expected calibration error over `bins` bins of equal mass: mean over runs of |forecast - truth|, per bin means.

    Bins are cut once, at the quantiles of all forecasts; equal forecasts share a bin. With fewer runs than bins each
    run is a bin. Biased upwards in small samples (a perfect forecaster has about .05 at 400 runs), and resamples are
    biased once more, so that percentile intervals reach too far up; read it with the calibration line.
    """
    bin_R = equal_mass_bins(probability_R, bins)
    gap_B = np.zeros(len(weight_BR))
    for b in np.unique(bin_R):
        in_bin_R = bin_R == b
        gap_B += np.abs(weight_BR[:, in_bin_R] @ (probability_R - positive_R)[in_bin_R])
    return ratio(gap_B, weight_BR.sum(axis=1))


def debiased_calibration_error(probability_R: Floats, positive_R: Bools, weight_BR: Floats, bins: int = 10) -> Floats:
    """`expected_calibration_error` less what a perfect forecaster would have on average; about 0 for one, negative too.

    The gap of a bin then has mean 0 and the variance of its weighted Bernoulli draws; its mean absolute value is that
    of a normal variable, sqrt(2 / pi) standard deviations (as Broecker 2012 does for squared gaps).
    """
    bin_R = equal_mass_bins(probability_R, bins)
    expected_B = np.zeros(len(weight_BR))
    for b in np.unique(bin_R):
        in_bin_R = bin_R == b
        variance_R = (probability_R * (1 - probability_R))[in_bin_R]
        expected_B += np.sqrt(2 / np.pi * (weight_BR[:, in_bin_R] ** 2 @ variance_R))
    return expected_calibration_error(probability_R, positive_R, weight_BR, bins) - ratio(
        expected_B, weight_BR.sum(axis=1)
    )


def equal_mass_bins(probability_R: Floats, bins: int) -> Ints:
    """(R,) number of the bin of each forecast, by rank; equal forecasts get one bin, that of the first of them.

    >>> equal_mass_bins(np.array([0.1, 0.4, 0.4, 0.9]), bins=2).tolist()
    [0, 0, 0, 1]
    """
    rounded_R = np.round(probability_R, DECIMALS)
    rank_R = np.searchsorted(np.sort(rounded_R), rounded_R)
    return np.asarray(rank_R * min(bins, max(len(rank_R), 1)) // max(len(rank_R), 1), dtype=np.int64)


@dataclass(frozen=True)
class CalibrationBin:
    """Forecasts of about one size: their mean, and the share of their runs that converged, with its 95% interval."""

    forecast: float
    share: Estimate
    num_runs: int


def calibration_bins(
    probability_R: Floats, positive_R: Bools, weight_R: Floats, bins: int = 10
) -> tuple[CalibrationBin, ...]:
    """Bins of equal mass, in order of their forecasts; none of no runs. Wilson intervals, as if runs were independent.

    By weights that differ, a share is as good as one of fewer runs (Kish 1965, section 8.2).

    >>> [one.share.value for one in calibration_bins(np.array([0.1, 0.9]), np.array([False, True]), np.ones(2))]
    [0.0, 1.0]
    """
    bin_R = equal_mass_bins(probability_R, bins)
    found = []
    for b in np.unique(bin_R):
        inside_R = bin_R == b
        weight_M = weight_R[inside_R]
        num_effective = weight_M.sum() ** 2 / (weight_M**2).sum()
        share = wilson_proportion(float(np.average(positive_R[inside_R], weights=weight_M)), num_effective)
        mean = float(np.average(probability_R[inside_R], weights=weight_M))
        found.append(CalibrationBin(mean, share, len(weight_M)))
    return tuple(found)


def calibration_line(
    probability_R: Floats, positive_R: Bools, group_R: Ints, weight_BR: Floats
) -> tuple[Floats, Floats]:
    """Slope and intercept of the logistic regression of the truth on logit(forecast); a perfect forecaster has 1 and 0.

    Cox (1958). Forecasts are kept within [1e-4, 1 - 1e-4] first. NaN when the forecasts of no group differ (a constant
    predictor has no slope), with one class, or when truth and forecast are separable, so that no finite slope is best.
    """
    undefined_B = np.full(len(weight_BR), np.nan)
    if not any(np.ptp(np.round(probability_R[group_R == g], DECIMALS)) > 0 for g in np.unique(group_R)):
        return undefined_B, undefined_B
    bounded_R = np.clip(probability_R, 1e-4, 1 - 1e-4)
    logit_R = np.log(bounded_R / (1 - bounded_R))
    slope_B, intercept_B = np.zeros(len(weight_BR)), np.zeros(len(weight_BR))
    for _ in range(25):
        before_B, (slope_B, intercept_B) = slope_B, _newton_step(logit_R, positive_R, weight_BR, slope_B, intercept_B)
        # Those that run off (see below) never settle.
        if np.all((np.abs(slope_B - before_B) < 1e-10) | (np.abs(slope_B) > 20)):
            break
    positives_B = weight_BR @ positive_R.astype(np.float64)
    has_both_B = (positives_B > 0) & (positives_B < weight_BR.sum(axis=1))
    is_finite_B = has_both_B & (np.abs(slope_B) < 20) & (np.abs(intercept_B) < 50)
    return np.where(is_finite_B, slope_B, np.nan), np.where(is_finite_B, intercept_B, np.nan)


def _newton_step(
    logit_R: Floats, positive_R: Bools, weight_BR: Floats, slope_B: Floats, intercept_B: Floats
) -> tuple[Floats, Floats]:
    linear_BR = np.clip(slope_B[:, None] * logit_R + intercept_B[:, None], -30, 30)
    mean_BR = 1 / (1 + np.exp(-linear_BR))
    residual_BR = weight_BR * (positive_R - mean_BR)
    # The small ridge keeps the 2 x 2 system solvable where the data are separable; those fits run off and become NaN.
    curvature_BR = weight_BR * np.maximum(mean_BR * (1 - mean_BR), 1e-9)
    a_B, b_B = curvature_BR @ logit_R**2 + 1e-12, curvature_BR @ logit_R
    c_B = curvature_BR.sum(axis=1) + 1e-12
    gradient_slope_B, gradient_intercept_B = residual_BR @ logit_R, residual_BR.sum(axis=1)
    determinant_B = np.maximum(a_B * c_B - b_B**2, 1e-18)
    step_slope_B = (c_B * gradient_slope_B - b_B * gradient_intercept_B) / determinant_B
    step_intercept_B = (a_B * gradient_intercept_B - b_B * gradient_slope_B) / determinant_B
    return slope_B + np.clip(step_slope_B, -2, 2), intercept_B + np.clip(step_intercept_B, -4, 4)


def ratio(numerator_B: Floats, denominator_B: Floats) -> Floats:
    """(B,) quotients; NaN where the denominator is not above 0."""
    return np.where(denominator_B > 0, numerator_B / np.where(denominator_B > 0, denominator_B, 1.0), np.nan)
