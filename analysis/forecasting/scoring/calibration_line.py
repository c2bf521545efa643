"""Calibration line of probability forecasts: logistic regression of the truth on their logits (Cox 1958)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import comb, factorial

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
# Where the last terms of an expansion move a line by less, the next ones move it by some hundredth of that.
_SMALL_TERM = 1e-7


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
        step_B2, is_exact_B = _expanded_steps(weight_BR @ self._expansion_RM)
        line_B2 = self._line_12 + step_B2
        if not is_exact_B.all():
            line_B2[~is_exact_B] = self._refined(weight_BR[~is_exact_B], line_B2[~is_exact_B])
        return line_B2

    def _refined(self, weight_BR: Floats, line_B2: Floats) -> Floats:
        """Lines by Newton's method from nearby ones; from 0 where that does not settle."""
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
        """(R, M) what sums of which give the score function around the line of all runs to the fifth order.

        Truth less chance, and derivatives 1 to 5 of the chance, each times the powers of the logit in `_POWERS`.
        """
        chance_R = 1 / (1 + np.exp(-np.clip(self._line_12[0, 0] * self.logit_R + self._line_12[0, 1], -30, 30)))
        first_R = chance_R * (1 - chance_R)
        second_R = first_R * (1 - 2 * chance_R)
        fourth_R = second_R * (1 - 12 * first_R)
        orders = (
            self.share_1R[0] - chance_R, first_R, second_R, first_R * (1 - 6 * first_R), fourth_R,
            first_R * (1 - 30 * first_R + 120 * first_R**2),
        )  # fmt: skip
        return np.stack([orders[order] * self.logit_R**power for order, power in _POWERS], axis=1)


_ORDERS = 5
_POWERS = [(order, power) for order in range(_ORDERS + 1) for power in range(order + 2)]
# The products u^k v^(order - k) of orders 1 to 5, and how often each of them occurs in (u x + v)^order / order!.
_PRODUCTS = [(order, k) for order in range(1, _ORDERS + 1) for k in range(order + 1)]
_ORDER_J, _K_J = np.array(_PRODUCTS).T
_TIMES_J = np.array([comb(order, k) / factorial(order) for order, k in _PRODUCTS])


def _expanded_steps(sum_BM: Floats) -> tuple[Floats, Bools]:
    """(B, 2) the changes of slope and intercept at which the expanded score function is 0; 0 where none is found.

    And (B,) where the terms of the last order move them so little that those beyond it can be left out.
    """
    t = {key: sum_BM[:, number] for number, key in enumerate(_POWERS)}
    a_B, b_B, c_B = t[1, 2] + 1e-12, t[1, 1], t[1, 0] + 1e-12
    determinant_B = np.maximum(a_B * c_B - b_B**2, 1e-18)
    # The inverse of the first derivative, for (slope, intercept).
    inverse_22B = np.array([[c_B, -b_B], [-b_B, a_B]]) / determinant_B
    score_2B = np.array([t[0, 1], t[0, 0]])
    products_2JB = np.array([[t[order, power + k] for order, k in _PRODUCTS] for power in (1, 0)])
    products_2JB *= _TIMES_J[:, None]
    is_last_J = _ORDER_J == _ORDERS
    step_2B = np.zeros((2, len(sum_BM)))
    for _ in range(_EXPANSION_STEPS):
        terms_2JB = products_2JB * (step_2B[0] ** _K_J[:, None] * step_2B[1] ** (_ORDER_J - _K_J)[:, None])
        moved_2B = np.einsum("stb,tb->sb", inverse_22B, score_2B - terms_2JB.sum(axis=1))
        step_2B = step_2B + moved_2B
        # Far from the line of all runs the expansion says nothing.
        step_2B[:, ~(np.abs(step_2B) < 1).all(axis=0)] = 0.0
    last_2B = np.einsum("stb,tb->sb", inverse_22B, terms_2JB[:, is_last_J].sum(axis=1))
    is_exact_B = (np.abs([moved_2B, last_2B]) < _SMALL_TERM).all(axis=(0, 1))
    return step_2B.T, np.asarray(is_exact_B)


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
