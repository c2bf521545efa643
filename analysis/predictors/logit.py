"""L2-penalised logistic regression; scales, fills and penalty are estimated on training runs alone."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from analysis.predictors.features import Features, FeatureScaler
from pipeline.arrays import Bools, Floats, Ints

MIN_PROBABILITY, MAX_PROBABILITY = 1e-4, 1 - 1e-4


@dataclass(frozen=True)
class Logit:
    """P(converged) = 1 / (1 + exp(-(intercept + weight . scaled features))), kept within [1e-4, 1 - 1e-4].

    The bounds say that no finite number of training runs makes a certainty; they also keep log scores finite.
    `names_F` are the columns that the weights belong to.
    """

    names_F: tuple[str, ...]
    scaler: FeatureScaler
    weight_F: Floats
    intercept: float

    @classmethod
    def fit(cls, features: Features, converged_R: Bools, weight_R: Floats, inverse_penalty: float) -> Logit:
        """With scikit-learn's C = inverse_penalty; `weight_R` above 0 are numbers of copies, the penalty counts once.

        One class, or no feature, gives a constant: (k + 0.5) / (n + 1).
        """
        if converged_R.all() or not converged_R.any() or not features.names_F:
            return cls._constant(features, converged_R, weight_R)
        scaler = FeatureScaler.of(features.values_RF, weight_R)
        model = LogisticRegression(C=inverse_penalty, solver="newton-cholesky", max_iter=200)
        with warnings.catch_warnings():
            # Near the optimum rounding can fail Newton's line search; sklearn then goes on with lbfgs, and says so.
            warnings.filterwarnings("ignore", message="Line search of Newton solver", category=ConvergenceWarning)
            model.fit(scaler.apply(features.values_RF), converged_R, sample_weight=weight_R)
        return cls(features.names_F, scaler, np.asarray(model.coef_[0]), float(model.intercept_[0]))

    @classmethod
    def _constant(cls, features: Features, converged_R: Bools, weight_R: Floats) -> Logit:
        rate = (weight_R[converged_R].sum() + 0.5) / (weight_R.sum() + 1)
        zeros_F = np.zeros(len(features.names_F))
        scaler = FeatureScaler(zeros_F, zeros_F, zeros_F, zeros_F, np.full(len(zeros_F), np.inf))
        return cls(features.names_F, scaler, zeros_F, float(np.log(rate / (1 - rate))))

    def probability_R(self, features: Features) -> Floats:
        """(R,) P(converged). Columns are found by name; raises ValueError with the names of those that are lacking."""
        scaled_RF = self.scaler.apply(features.named(self.names_F).values_RF)
        # einsum without BLAS adds a row up in an order that does not depend on how many rows there are.
        logit_R = np.einsum("rf,f->r", scaled_RF, self.weight_F, optimize=False)
        probability_R = 1 / (1 + np.exp(-np.clip(logit_R + self.intercept, -50, 50)))
        return np.asarray(np.clip(probability_R, MIN_PROBABILITY, MAX_PROBABILITY), dtype=np.float64)


def choose_inverse_penalty(
    features: Features,
    converged_R: Bools,
    weight_R: Floats,
    group_R: Ints,
    inverse_penalties: Sequence[float],
    folds: int = 4,
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
            model = Logit.fit(features.rows(~test_R), converged_R[~test_R], weight_R[~test_R], inverse_penalty)
            probability_R = model.probability_R(features.rows(test_R))
            loss_by_penalty[inverse_penalty] += _log_loss(probability_R, converged_R[test_R], weight_R[test_R])
    return min(inverse_penalties, key=lambda inverse_penalty: (loss_by_penalty[inverse_penalty], inverse_penalty))


def _log_loss(probability_R: Floats, converged_R: Bools, weight_R: Floats) -> float:
    return float(-(weight_R * np.log(np.where(converged_R, probability_R, 1 - probability_R))).sum())
