"""Forecasts from the last recorded values alone, which a stopping rule can compute while a run trains."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from analysis.predictors.encoding import HyperparameterEncoding, encoded
from analysis.predictors.features import Features, FeatureScaler, stacked
from analysis.statistics.last_value import last_finite
from pipeline.arrays import Bools, Floats, Ints
from pipeline.store.history import Window

NUM_FOLDS = 5
_PENALTIES = 10.0 ** np.arange(-1.0, 5.0, 0.5)


def last_values(window: Window, encodings: tuple[HyperparameterEncoding, ...]) -> Features:
    """Each metric's last finite value in the window, by its own name, and the hyperparameters as numbers.

    Raises ValueError for a hyperparameter that its encoding has no number for.
    """
    columns = {metric: last_finite(values_RT) for metric, values_RT in window.values.items()}
    return stacked(columns, len(window.runs)).beside(encoded(window.runs, encodings))


@dataclass(frozen=True)
class LastValuesModel:
    """P(converged) = 1 / (1 + exp(-(intercept + weight . scaled columns))), by column name."""

    names_F: tuple[str, ...]
    scaler: FeatureScaler
    weight_F: Floats
    intercept: float

    @classmethod
    def fit(
        cls, features: Features, log_time_R: Floats, converged_R: Bools, weight_R: Floats, group_R: Ints
    ) -> LastValuesModel:
        """Ridge regression of the log of the time to convergence, and a logistic regression on what it predicts.

        The penalty is the one of least squared error on held-out groups (init seeds), and the logistic regression is
        fitted to predictions for held-out groups, so that its slope is that of unseen runs. `weight_R` above 0 are
        numbers of copies. Without a column, with one class or one group, it is the overall rate.
        """
        rate = (weight_R[converged_R].sum() + 0.5) / (weight_R.sum() + 1)
        scaler = FeatureScaler.of(features.values_RF, weight_R)
        constant = cls(features.names_F, scaler, np.zeros(len(features.names_F)), float(np.log(rate / (1 - rate))))
        index_R = np.unique(group_R, return_inverse=True)[1]
        fold_R = index_R % NUM_FOLDS
        if converged_R.all() or not converged_R.any() or not features.names_F or len(np.unique(fold_R)) < 2:
            return constant
        scaled_RF = scaler.apply(features.values_RF)
        held_out_RP = np.empty((len(log_time_R), len(_PENALTIES)))
        for fold in np.unique(fold_R):
            test_R = fold_R == fold
            weight_PF, middle = _ridge(scaled_RF[~test_R], log_time_R[~test_R], weight_R[~test_R])
            held_out_RP[test_R] = middle[0] + (scaled_RF[test_R] - middle[1]) @ weight_PF.T
        p = int(np.argmin(weight_R @ (held_out_RP - log_time_R[:, None]) ** 2))
        intercept, slope = _logistic(-held_out_RP[:, p], converged_R, weight_R)
        weight_PF, middle = _ridge(scaled_RF, log_time_R, weight_R)
        at_zero = -(middle[0] - float(middle[1] @ weight_PF[p]))
        return cls(features.names_F, scaler, -slope * weight_PF[p], intercept + slope * at_zero)

    def probability_R(self, features: Features) -> Floats:
        """(R,) P(converged). Raises ValueError with the names of the columns that are lacking."""
        scaled_RF = self.scaler.apply(features.named(self.names_F).values_RF)
        # einsum without BLAS adds a row up in an order that does not depend on how many rows there are.
        logit_R = np.einsum("rf,f->r", scaled_RF, self.weight_F, optimize=False) + self.intercept
        return np.asarray(1 / (1 + np.exp(-np.clip(logit_R, -50, 50))), dtype=np.float64)


def _ridge(scaled_RF: Floats, value_R: Floats, weight_R: Floats) -> tuple[Floats, tuple[float, Floats]]:
    """(P, F) weights at every penalty, from one eigendecomposition, and the means of value and columns."""
    mean, mean_F = float(np.average(value_R, weights=weight_R)), np.average(scaled_RF, axis=0, weights=weight_R)
    centred_RF = scaled_RF - mean_F
    spread_F, axes_FF = np.linalg.eigh((centred_RF * weight_R[:, None]).T @ centred_RF)
    along_F = axes_FF.T @ (centred_RF.T @ (weight_R * (value_R - mean)))
    return (along_F / (np.maximum(spread_F, 0.0) + _PENALTIES[:, None])) @ axes_FF.T, (mean, mean_F)


def _logistic(score_R: Floats, positive_R: Bools, weight_R: Floats) -> tuple[float, float]:
    """Intercept and slope (at least 0) of P(positive) on a score, with the targets of Platt (1999, eq. 10).

    These stand in for the truth so that the line stays finite where the score separates the runs.
    """
    positives, negatives = float(weight_R[positive_R].sum()), float(weight_R[~positive_R].sum())
    target_R = np.where(positive_R, (positives + 1) / (positives + 2), 1 / (negatives + 2))
    mean = float(np.average(score_R, weights=weight_R))
    spread = float(np.sqrt(np.average((score_R - mean) ** 2, weights=weight_R)))
    line = np.array([np.log((positives + 1) / (negatives + 1)), 0.0])
    if spread <= 1e-12 * max(1.0, abs(mean)):
        return float(line[0]), 0.0
    design_R2 = np.stack([np.ones(len(score_R)), (score_R - mean) / spread], axis=1)
    for _ in range(100):
        chance_R = 1 / (1 + np.exp(-np.clip(design_R2 @ line, -50, 50)))
        curvature_R = weight_R * np.maximum(chance_R * (1 - chance_R), 1e-9)
        curvature_22 = (design_R2 * curvature_R[:, None]).T @ design_R2
        step = np.linalg.solve(curvature_22, design_R2.T @ (weight_R * (target_R - chance_R)))
        line = line + np.clip(step, -2, 2)
        if np.abs(step).max() < 1e-10:
            break
    slope = max(float(line[1]), 0.0)
    if slope == 0.0:
        return float(np.log((positives + 1) / (negatives + 1))), 0.0
    return float(line[0]) - slope * mean / spread, slope / spread
