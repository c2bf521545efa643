"""L2-penalised logistic regression; scales, fills and penalty are estimated on training runs alone."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from analysis.predictors.features import Features
from pipeline.arrays import Bools, Floats, Ints

MIN_PROBABILITY, MAX_PROBABILITY = 1e-4, 1 - 1e-4


@dataclass(frozen=True)
class FeatureScaler:
    """Fills NaN with the training median, clips to the training 1% and 99% quantiles, then standardises.

    Clipping keeps one run that is about to diverge from setting the scale of all the others. A column that is constant
    or all NaN in training becomes zeros.
    """

    fill_F: Floats
    low_F: Floats
    high_F: Floats
    mean_F: Floats
    spread_F: Floats

    @classmethod
    def of(cls, values_RF: Floats) -> FeatureScaler:
        """Fitted to the training rows (R, F), R at least 1; NaN is a missing value."""
        seen_F = ~np.all(np.isnan(values_RF), axis=0)
        known_RF = np.where(seen_F, values_RF, 0.0)
        low_F, fill_F, high_F = np.nanquantile(known_RF, [0.01, 0.5, 0.99], axis=0)
        cut_RF = np.clip(np.where(np.isnan(known_RF), fill_F, known_RF), low_F, high_F)
        spread_F = cut_RF.std(axis=0)
        is_constant_F = spread_F <= 1e-12 * np.maximum(1.0, np.abs(fill_F))
        return cls(fill_F, low_F, high_F, cut_RF.mean(axis=0), np.where(is_constant_F, np.inf, spread_F))

    def apply(self, values_RF: Floats) -> Floats:
        """(R, F) scaled values, never NaN."""
        filled_RF = np.where(np.isnan(values_RF), self.fill_F, values_RF)
        return np.asarray((np.clip(filled_RF, self.low_F, self.high_F) - self.mean_F) / self.spread_F)


@dataclass(frozen=True)
class Logit:
    """P(converged) = 1 / (1 + exp(-(intercept + weight . scaled features))), kept within [1e-4, 1 - 1e-4].

    The bounds say that no finite number of training runs makes a certainty; they also keep log scores finite.
    """

    scaler: FeatureScaler
    weight_F: Floats
    intercept: float

    @classmethod
    def fit(cls, features: Features, converged_R: Bools, inverse_penalty: float) -> Logit:
        """With scikit-learn's C = inverse_penalty. One class, or no feature, gives a constant: (k + 0.5) / (n + 1)."""
        if converged_R.all() or not converged_R.any() or not features.names_F:
            return cls._constant(features, converged_R)
        scaler = FeatureScaler.of(features.values_RF)
        model = LogisticRegression(C=inverse_penalty, solver="newton-cholesky", max_iter=200)
        with warnings.catch_warnings():
            # Near the optimum rounding can fail Newton's line search; sklearn then goes on with lbfgs, and says so.
            warnings.filterwarnings("ignore", message="Line search of Newton solver", category=ConvergenceWarning)
            model.fit(scaler.apply(features.values_RF), converged_R)
        return cls(scaler, np.asarray(model.coef_[0]), float(model.intercept_[0]))

    @classmethod
    def _constant(cls, features: Features, converged_R: Bools) -> Logit:
        rate = (converged_R.sum() + 0.5) / (len(converged_R) + 1)
        zeros_F = np.zeros(len(features.names_F))
        scaler = FeatureScaler(zeros_F, zeros_F, zeros_F, zeros_F, np.full(len(zeros_F), np.inf))
        return cls(scaler, zeros_F, float(np.log(rate / (1 - rate))))

    def probability_R(self, features: Features) -> Floats:
        """(R,) P(converged)."""
        # einsum without BLAS adds a row up in an order that does not depend on how many rows there are.
        logit_R = np.einsum("rf,f->r", self.scaler.apply(features.values_RF), self.weight_F, optimize=False)
        probability_R = 1 / (1 + np.exp(-np.clip(logit_R + self.intercept, -50, 50)))
        return np.asarray(np.clip(probability_R, MIN_PROBABILITY, MAX_PROBABILITY), dtype=np.float64)


def choose_inverse_penalty(
    features: Features, converged_R: Bools, group_R: Ints, inverse_penalties: Sequence[float], folds: int = 4
) -> float:
    """The value with the best log score on held-out groups of the training runs; the smallest of a single group.

    Groups (init seeds) are dealt to the folds in sorted order, so that the choice is deterministic.
    """
    groups_G, index_R = np.unique(group_R, return_inverse=True)
    fold_R = index_R % min(folds, len(groups_G))
    loss_by_penalty = dict.fromkeys(inverse_penalties, 0.0)
    if len(groups_G) < 2:
        return min(inverse_penalties)
    for fold in np.unique(fold_R):
        test_R = fold_R == fold
        for inverse_penalty in inverse_penalties:
            model = Logit.fit(features.rows(~test_R), converged_R[~test_R], inverse_penalty)
            loss_by_penalty[inverse_penalty] += _log_loss(
                model.probability_R(features.rows(test_R)), converged_R[test_R]
            )
    return min(inverse_penalties, key=lambda inverse_penalty: (loss_by_penalty[inverse_penalty], inverse_penalty))


def _log_loss(probability_R: Floats, converged_R: Bools) -> float:
    return float(-np.log(np.where(converged_R, probability_R, 1 - probability_R)).sum())
