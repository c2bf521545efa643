"""Calibration line of probability forecasts: logistic regression of the truth on their logits (Cox 1958)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from analysis.forecasting.scoring.ranked_pairs import differ_in_groups
from analysis.forecasting.scoring.scores import DECIMALS
from pipeline.arrays import Bools, Floats, Ints

# A slope or an intercept beyond these runs off: truth and forecast are separable.
_MOST_SLOPE, _MOST_INTERCEPT = 20.0, 50.0
_MOST_STEPS, _SETTLED = 25, 1e-10
# Of more runs Newton's method starts near the end; a small step there leaves an error of about its square.
MANY_RUNS, _SMALL_STEP, _MOST_FURTHER = 512, 5e-5, 6
_FEW_VALUES, _EXPANSION_STEPS = 64, 12


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
    """Logits and truth (1 or 0) of R runs. `is_defined`: in some group forecasts differ."""

    logit_R: Floats
    share_1R: Floats
    is_defined: bool

    @classmethod
    def of(cls, probability_R: Floats, positive_R: Bools, group_R: Ints) -> LineData:
        """Of forecasts, and of groups that are any numbers."""
        is_defined = differ_in_groups(np.round(probability_R, DECIMALS), group_R)
        bounded_R = np.clip(probability_R, 1e-4, 1 - 1e-4)
        return cls(np.log(bounded_R / (1 - bounded_R)), positive_R.astype(np.float64)[None], is_defined)

    def lines_B(self, weight_BR: Floats) -> tuple[Floats, Floats]:
        """(B,) slopes and intercepts under each row of weights.

        By Newton's method from 0. Of many runs, of which that takes long, by few distinct logits, or else from where an
        expansion around the line of all runs leads, to about 3e-9; from 0 where this does not settle.
        """
        if not self.is_defined:
            undefined_B = np.full(len(weight_BR), np.nan)
            return undefined_B, undefined_B
        line_B2 = self._from_zero(weight_BR) if len(self.logit_R) <= MANY_RUNS else self._of_many(weight_BR)
        positives_B, total_B = weight_BR @ self.share_1R[0], weight_BR.sum(axis=1)
        has_both_B = (positives_B > 0) & (positives_B < total_B)
        is_finite_B = has_both_B & ~_runs_off(line_B2)
        return np.where(is_finite_B, line_B2[:, 0], np.nan), np.where(is_finite_B, line_B2[:, 1], np.nan)

    def _from_zero(self, weight_BR: Floats) -> Floats:
        return _newton(self.logit_R, self.share_1R, weight_BR)

    def _of_many(self, weight_BR: Floats) -> Floats:
        if self._values is not None:
            logit_K, is_value_RK = self._values
            total_BK = weight_BR @ is_value_RK
            positive_BK = weight_BR @ (is_value_RK * self.share_1R.T)
            return _newton(
                logit_K, np.divide(positive_BK, total_BK, out=np.zeros(total_BK.shape), where=total_BK > 0), total_BK
            )
        if _runs_off(self._line_12)[0]:
            return self._from_zero(weight_BR)
        line_B2 = self._line_12 + _expanded_steps(weight_BR @ self._expansion_RM)
        for _ in range(_MOST_FURTHER):
            before_B2, line_B2 = line_B2, _newton_step(self.logit_R, self.share_1R, weight_BR, line_B2)
            is_settled_B = (np.abs(line_B2 - before_B2) < _SMALL_STEP).all(axis=1) & ~_runs_off(line_B2)
            if is_settled_B.all():
                return line_B2
        line_B2[~is_settled_B] = self._from_zero(weight_BR[~is_settled_B])
        return line_B2

    @cached_property
    def _values(self) -> tuple[Floats, Floats] | None:
        """The distinct logits, and (R, K) 1 for the one that each run has; None where there are many."""
        logit_K, number_R = np.unique(self.logit_R, return_inverse=True)
        if len(logit_K) > _FEW_VALUES:
            return None
        return logit_K, np.asarray(number_R[:, None] == np.arange(len(logit_K)), dtype=np.float64)

    @cached_property
    def _line_12(self) -> Floats:
        """The line of all runs."""
        return self._from_zero(np.ones((1, len(self.logit_R))))

    @cached_property
    def _expansion_RM(self) -> Floats:
        """(R, M) what sums of which give the score function around the line of all runs to the third order.

        Truth less chance, and derivatives 1 to 3 of the chance, each times the powers of the logit in `_POWERS`.
        """
        chance_R = 1 / (1 + np.exp(-np.clip(self._line_12[0, 0] * self.logit_R + self._line_12[0, 1], -30, 30)))
        first_R = chance_R * (1 - chance_R)
        orders = (self.share_1R[0] - chance_R, first_R, first_R * (1 - 2 * chance_R), first_R * (1 - 6 * first_R))
        return np.stack([orders[order] * self.logit_R**power for order, power in _POWERS], axis=1)


_POWERS = [(order, power) for order in range(4) for power in range(order + 2)]


def _expanded_steps(sum_BM: Floats) -> Floats:
    """(B, 2) the changes of slope and intercept at which the expanded score function is 0; 0 where none is found."""
    t = {key: sum_BM[:, number] for number, key in enumerate(_POWERS)}
    u_B, v_B = np.zeros(len(sum_BM)), np.zeros(len(sum_BM))
    a_B, b_B, c_B = t[1, 2] + 1e-12, t[1, 1], t[1, 0] + 1e-12
    determinant_B = np.maximum(a_B * c_B - b_B**2, 1e-18)
    for _ in range(_EXPANSION_STEPS):
        intercept_B, slope_B = (
            t[0, m]
            - (v_B * t[1, m] + u_B * t[1, m + 1])
            - (v_B**2 * t[2, m] + 2 * u_B * v_B * t[2, m + 1] + u_B**2 * t[2, m + 2]) / 2
            - (
                v_B**3 * t[3, m]
                + 3 * v_B**2 * u_B * t[3, m + 1]
                + 3 * v_B * u_B**2 * t[3, m + 2]
                + u_B**3 * t[3, m + 3]
            )
            / 6
            for m in (0, 1)
        )
        u_B = u_B + (c_B * slope_B - b_B * intercept_B) / determinant_B
        v_B = v_B + (a_B * intercept_B - b_B * slope_B) / determinant_B
        # Far from the line of all runs the expansion says nothing.
        is_far_B = ~((np.abs(u_B) < 1) & (np.abs(v_B) < 1))
        u_B, v_B = np.where(is_far_B, 0.0, u_B), np.where(is_far_B, 0.0, v_B)
    return np.stack([u_B, v_B], axis=1)


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
