"""Calibration line of probability forecasts: logistic regression of the truth on their logits (Cox 1958)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from analysis.forecasting.scoring.ranked_pairs import differ_in_groups
from analysis.forecasting.scoring.scores import DECIMALS
from pipeline.arrays import Bools, Floats, Ints

# A slope or an intercept beyond these runs off: truth and forecast are separable.
_MOST_SLOPE, _MOST_INTERCEPT = 20.0, 50.0
_MOST_STEPS, _SETTLED = 25, 1e-10
# Of more runs Newton's method starts from so many bins of them; a small step leaves an error of about its square.
NUM_BINS, _SMALL_STEP, _MOST_FURTHER = 512, 1e-5, 6


def calibration_line(
    probability_R: Floats, positive_R: Bools, group_R: Ints, weight_BR: Floats
) -> tuple[Floats, Floats]:
    """Slope and intercept of the logistic regression of the truth on logit(forecast); a perfect forecaster has 1 and 0.

    Cox (1958). Forecasts are kept within [1e-4, 1 - 1e-4] first. NaN when the forecasts of no group differ (a constant
    predictor has no slope), with one class, or when truth and forecast are separable, so that no finite slope is best.
    """
    return LineData.of(probability_R, positive_R, group_R).lines_B(weight_BR)


@dataclass(frozen=True)
class LineData:
    """Logits and truth of R runs, and, of more than NUM_BINS runs, the K bins of near logits from which a fit starts.

    `order_R` are the runs by bin, `start_K` where each begins, `logit_K` the mean logits in them. `is_exact`: in no bin
    do logits differ, so that a fit to bins is one to runs. `is_defined`: in some group forecasts differ.
    """

    logit_R: Floats
    share_1R: Floats
    order_R: Ints
    start_K: Ints
    logit_K: Floats
    is_exact: bool
    is_defined: bool

    @classmethod
    def of(cls, probability_R: Floats, positive_R: Bools, group_R: Ints) -> LineData:
        """Of forecasts, and of groups that are any numbers."""
        is_defined = differ_in_groups(np.round(probability_R, DECIMALS), group_R)
        bounded_R = np.clip(probability_R, 1e-4, 1 - 1e-4)
        logit_R = np.log(bounded_R / (1 - bounded_R))
        values, bin_R = np.unique(logit_R, return_inverse=True)
        is_exact = len(values) <= NUM_BINS
        if not is_exact:
            bin_R = ((logit_R - values[0]) * ((NUM_BINS - 1e-6) / (values[-1] - values[0]))).astype(np.int64)
        order_R = np.argsort(bin_R, kind="stable")
        start_K = np.unique(bin_R[order_R], return_index=True)[1]
        sizes_K = np.diff(np.append(start_K, len(logit_R)))
        logit_K = np.add.reduceat(logit_R[order_R], start_K) / sizes_K if len(start_K) else logit_R
        share_1R = positive_R.astype(np.float64)[None]
        return cls(logit_R, share_1R, order_R, start_K, logit_K, is_exact, is_defined)

    def lines_B(self, weight_BR: Floats) -> tuple[Floats, Floats]:
        """(B,) slopes and intercepts under each row of weights.

        By Newton's method from 0; of many runs from the line of the bins, which a step or two of all runs then make
        that of the runs, to about 1e-9, and from 0 only where these do not settle.
        """
        undefined_B = np.full(len(weight_BR), np.nan)
        if not self.is_defined:
            return undefined_B, undefined_B
        line_B2 = self._from_zero(weight_BR) if len(self.logit_R) <= NUM_BINS else self._from_bins(weight_BR)
        positives_B, total_B = weight_BR @ self.share_1R[0], weight_BR.sum(axis=1)
        has_both_B = (positives_B > 0) & (positives_B < total_B)
        is_finite_B = has_both_B & ~_runs_off(line_B2)
        return np.where(is_finite_B, line_B2[:, 0], np.nan), np.where(is_finite_B, line_B2[:, 1], np.nan)

    def _from_zero(self, weight_BR: Floats) -> Floats:
        return _newton(self.logit_R, self.share_1R, weight_BR)

    def _from_bins(self, weight_BR: Floats) -> Floats:
        total_BK, positive_BK = (
            np.add.reduceat(each_BR.take(self.order_R, axis=1), self.start_K, axis=1)
            for each_BR in (weight_BR, weight_BR * self.share_1R)
        )
        share_BK = np.divide(positive_BK, total_BK, out=np.zeros(total_BK.shape), where=total_BK > 0)
        line_B2 = _newton(self.logit_K, share_BK, total_BK)
        if self.is_exact:
            return line_B2
        for _ in range(_MOST_FURTHER):
            before_B2, line_B2 = line_B2, _newton_step(self.logit_R, self.share_1R, weight_BR, line_B2)
            is_settled_B = (np.abs(line_B2 - before_B2) < _SMALL_STEP).all(axis=1) & ~_runs_off(line_B2)
            if is_settled_B.all():
                return line_B2
        line_B2[~is_settled_B] = self._from_zero(weight_BR[~is_settled_B])
        return line_B2


def _runs_off(line_B2: Floats) -> Bools:
    return np.asarray((np.abs(line_B2) >= (_MOST_SLOPE, _MOST_INTERCEPT)).any(axis=1))


def _newton(logit_K: Floats, share_BK: Floats, total_BK: Floats) -> Floats:
    line_B2 = np.zeros((len(total_BK), 2))
    for _ in range(_MOST_STEPS):
        before_B2, line_B2 = line_B2, _newton_step(logit_K, share_BK, total_BK, line_B2)
        # Those that run off never settle.
        is_done_B = (np.abs(line_B2 - before_B2)[:, 0] < _SETTLED) | (np.abs(line_B2[:, 0]) > _MOST_SLOPE)
        if is_done_B.all():
            break
    return line_B2


def _newton_step(logit_K: Floats, share_BK: Floats, total_BK: Floats, line_B2: Floats) -> Floats:
    """(B, 2) the next slopes and intercepts; `share_BK` of the weights `total_BK` are of positives."""
    chance_BK = line_B2[:, :1] * logit_K
    chance_BK += line_B2[:, 1:]
    np.clip(chance_BK, -30, 30, out=chance_BK)
    np.exp(np.negative(chance_BK, out=chance_BK), out=chance_BK)
    chance_BK += 1
    np.divide(1, chance_BK, out=chance_BK)
    residual_BK = share_BK - chance_BK
    residual_BK *= total_BK
    # The small ridge keeps the 2 x 2 system solvable where the data are separable; those fits run off and become NaN.
    chance_BK *= 1 - chance_BK
    curvature_BK = np.maximum(chance_BK, 1e-9, out=chance_BK)
    curvature_BK *= total_BK
    a_B, b_B = curvature_BK @ logit_K**2 + 1e-12, curvature_BK @ logit_K
    c_B = curvature_BK.sum(axis=1) + 1e-12
    gradient_slope_B, gradient_intercept_B = residual_BK @ logit_K, residual_BK.sum(axis=1)
    determinant_B = np.maximum(a_B * c_B - b_B**2, 1e-18)
    step_slope_B = (c_B * gradient_slope_B - b_B * gradient_intercept_B) / determinant_B
    step_intercept_B = (a_B * gradient_intercept_B - b_B * gradient_slope_B) / determinant_B
    step_B2 = np.stack([np.clip(step_slope_B, -2, 2), np.clip(step_intercept_B, -4, 4)], axis=1)
    return np.asarray(line_B2 + step_B2)
