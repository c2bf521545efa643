"""Time to convergence from early columns: ridge regression on log time, with split-conformal intervals."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from analysis.predictors.features import Features, FeatureScaler, weighted_quantile
from pipeline.arrays import Floats, Ints

# The time, in budgets, at which a run counts that does not converge within its budget.
NEVER = 1.15
PENALTIES = (1.0, 10.0, 100.0, 1000.0)
COVERAGE = 0.9


@dataclass(frozen=True)
class TimeModel:
    """log(steps to convergence) = intercept + weight . scaled features + a residual.

    `middle` is the median of the residuals of runs whose seeds were not trained on, `low` and `high` the ends of their
    90% interval; an end is infinite where there are too few residuals to say.
    """

    names_F: tuple[str, ...]
    scaler: FeatureScaler
    weight_F: Floats
    intercept: float
    low: float
    middle: float
    high: float

    @classmethod
    def fit(cls, features: Features, time_R: Floats, weight_R: Floats, group_R: Ints, folds: int = 5) -> TimeModel:
        """Fitted to times in steps, above 0; the penalty and the residuals come from held-out groups (init seeds)."""
        log_R = np.log(time_R)
        index_R = np.unique(group_R, return_inverse=True)[1]
        fold_R = index_R % min(folds, int(index_R.max()) + 1)
        residual_by = {
            penalty: _held_out_residuals(features.values_RF, log_R, weight_R, fold_R, penalty) for penalty in PENALTIES
        }
        penalty = min(PENALTIES, key=lambda penalty: float(weight_R @ residual_by[penalty] ** 2))
        residual_R = residual_by[penalty]
        tail = (1 - COVERAGE) / 2
        return cls(
            features.names_F,
            *_ridge(features.values_RF, log_R, weight_R, penalty),
            low=-conformal_bound(-residual_R, weight_R, 1 - tail),
            middle=float(weighted_quantile(residual_R[:, None], weight_R, 0.5)[0]),
            high=conformal_bound(residual_R, weight_R, 1 - tail),
        )

    def steps_R3(self, features: Features) -> Floats:
        """(R, 3) low end, median and high end of the time in steps. Raises ValueError where a column is lacking."""
        scaled_RF = self.scaler.apply(features.named(self.names_F).values_RF)
        log_R = self.intercept + np.einsum("rf,f->r", scaled_RF, self.weight_F, optimize=False)
        with np.errstate(over="ignore"):
            return np.asarray(np.exp(log_R[:, None] + np.array([self.low, self.middle, self.high])))


def conformal_bound(residual_R: Floats, weight_R: Floats, level: float) -> float:
    """The upper bound that a new residual keeps with probability `level`; infinite where there are too few.

    Split conformal prediction (Vovk, Gammerman and Shafer 2005) with weights (Tibshirani, Barber, Candes and Ramdas
    2019): the quantile of the residuals and of one more at infinity, which has the weight of one run.

    >>> conformal_bound(np.arange(1.0, 20.0), np.ones(19), 0.95), conformal_bound(np.arange(18.0), np.ones(18), 0.95)
    (19.0, inf)
    """
    order_R = np.argsort(residual_R, kind="stable")
    upto_R = np.cumsum(weight_R[order_R])
    place = int(np.searchsorted(upto_R, level * (upto_R[-1] + 1) - 1e-9))
    return float(residual_R[order_R[place]]) if place < len(order_R) else float("inf")


def _held_out_residuals(values_RF: Floats, log_R: Floats, weight_R: Floats, fold_R: Ints, penalty: float) -> Floats:
    """(R,) observed less predicted log time, predicted by a fit without the run's fold; of one fold, by its own fit."""
    residual_R = np.empty(len(log_R))
    for fold in np.unique(fold_R):
        test_R = fold_R == fold
        train_R = ~test_R if not test_R.all() else test_R
        scaler, weight_F, intercept = _ridge(values_RF[train_R], log_R[train_R], weight_R[train_R], penalty)
        residual_R[test_R] = log_R[test_R] - intercept - scaler.apply(values_RF[test_R]) @ weight_F
    return residual_R


def _ridge(values_RF: Floats, log_R: Floats, weight_R: Floats, penalty: float) -> tuple[FeatureScaler, Floats, float]:
    scaler = FeatureScaler.of(values_RF, weight_R)
    scaled_RF, mean = scaler.apply(values_RF), float(np.average(log_R, weights=weight_R))
    curvature_FF = (scaled_RF * weight_R[:, None]).T @ scaled_RF + penalty * np.eye(values_RF.shape[1])
    weight_F = np.linalg.solve(curvature_FF, scaled_RF.T @ (weight_R * (log_R - mean)))
    return scaler, np.asarray(weight_F), mean
