"""Scores of probability forecasts (AUROC, Brier, calibration), vectorised over bootstrap weights.

Weights are (B, R): row 0 gives the estimate (all ones, or weights for censoring), the others say how often the
bootstrap drew each run, times those. A score is (B,),
NaN where it is undefined (no pair, no run, one class).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from analysis.forecasting.scoring.ranked_pairs import OutcomePairs
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
    pairs = OutcomePairs.of(positive_R, group_R)
    weights = pairs.weights(weight_BR)
    return ratio(pairs.by(np.round(probability_R, DECIMALS)).won_B(*weights), pairs.everyone.won_B(*weights))


def num_pairs(positive_R: Bools, group_R: Ints) -> int:
    """Number of pairs of a positive and a negative run of the same group."""
    number_R = np.unique(group_R, return_inverse=True)[1]
    positives_G = np.bincount(number_R, weights=positive_R)
    return int(positives_G @ (np.bincount(number_R) - positives_G))


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


def ratio(numerator_B: Floats, denominator_B: Floats) -> Floats:
    """(B,) quotients; NaN where the denominator is not above 0."""
    return np.where(denominator_B > 0, numerator_B / np.where(denominator_B > 0, denominator_B, 1.0), np.nan)
