"""L2-penalised logistic regression; scales, fills and penalty are estimated on training runs alone."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
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
        return cls.fit_each(features, converged_R, weight_R, [inverse_penalty])[0]

    @classmethod
    def fit_each(
        cls, features: Features, converged_R: Bools, weight_R: Floats, inverse_penalties: Sequence[float]
    ) -> list[Logit]:
        """As `fit`, by each inverse penalty, on columns that are scaled once."""
        if converged_R.all() or not converged_R.any() or not features.names_F:
            return [cls._constant(features, converged_R, weight_R)] * len(inverse_penalties)
        scaler = FeatureScaler.of(features.values_RF, weight_R)
        scaled_RF = scaler.apply(features.values_RF)
        found = []
        for inverse_penalty in inverse_penalties:
            model = LogisticRegression(C=inverse_penalty, solver="newton-cholesky", max_iter=200)
            with without_line_search_warnings():
                model.fit(scaled_RF, converged_R, sample_weight=weight_R)
            found.append(cls(features.names_F, scaler, np.asarray(model.coef_[0]), float(model.intercept_[0])))
        return found

    @classmethod
    def _constant(cls, features: Features, converged_R: Bools, weight_R: Floats) -> Logit:
        rate = (weight_R[converged_R].sum() + 0.5) / (weight_R.sum() + 1)
        zeros_F = np.zeros(len(features.names_F))
        scaler = FeatureScaler(zeros_F, zeros_F, zeros_F, zeros_F, np.full(len(zeros_F), np.inf))
        return cls(features.names_F, scaler, zeros_F, float(np.log(rate / (1 - rate))))

    def probability_R(self, features: Features) -> Floats:
        """(R,) P(converged). Columns are found by name; raises ValueError with the names of those that are lacking."""
        return self.of_scaled_R(self.scaler.apply(features.named(self.names_F).values_RF))

    def of_scaled_R(self, scaled_RF: Floats) -> Floats:
        """(R,) P(converged) of columns that are scaled and in order."""
        # einsum without BLAS adds a row up in an order that does not depend on how many rows there are.
        logit_R = np.einsum("rf,f->r", scaled_RF, self.weight_F, optimize=False)
        probability_R = 1 / (1 + np.exp(-np.clip(logit_R + self.intercept, -50, 50)))
        return np.asarray(np.clip(probability_R, MIN_PROBABILITY, MAX_PROBABILITY), dtype=np.float64)


@contextmanager
def without_line_search_warnings() -> Iterator[None]:
    """In this context scikit-learn does not say that Newton's line search failed, as rounding lets it near an optimum.

    It then goes on with lbfgs.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Line search of Newton solver", category=ConvergenceWarning)
        yield


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
        models = Logit.fit_each(features.rows(~test_R), converged_R[~test_R], weight_R[~test_R], inverse_penalties)
        scaled_RF = models[0].scaler.apply(features.rows(test_R).values_RF)
        for inverse_penalty, model in zip(inverse_penalties, models, strict=True):
            probability_R = model.of_scaled_R(scaled_RF)
            loss_by_penalty[inverse_penalty] += _log_loss(probability_R, converged_R[test_R], weight_R[test_R])
    return min(inverse_penalties, key=lambda inverse_penalty: (loss_by_penalty[inverse_penalty], inverse_penalty))


def _log_loss(probability_R: Floats, converged_R: Bools, weight_R: Floats) -> float:
    return float(-(weight_R * np.log(np.where(converged_R, probability_R, 1 - probability_R))).sum())
