"""Gradient-boosted trees, on all columns or on hyperparameters alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier

from analysis.predictors.base import Cases, DivergenceModel, Fitted, Forecast, Predictor, Targets, weighted_cases
from analysis.predictors.features import Features
from analysis.predictors.logit import MAX_PROBABILITY, MIN_PROBABILITY
from pipeline.arrays import Floats, Ints

RESOLUTION = 4
TREES: dict[str, Any] = {
    "max_iter": 80,
    "learning_rate": 0.08,
    "max_leaf_nodes": 8,
    "l2_regularization": 10.0,
    "early_stopping": False,
    "random_state": 0,
}


class BoostedTrees(Predictor):
    """scikit-learn's histogram gradient boosting on every statistic and every varied hyperparameter."""

    name: ClassVar[str] = "boosted_trees"
    is_slow: ClassVar[bool] = True

    def fit(self, cases: Cases, targets: Targets, weight_R: Floats | None = None) -> Fitted:
        """The trees fitted to the cases and their targets. Raises ValueError when there are no cases."""
        cases, targets, weight_R = weighted_cases(cases, targets, weight_R)
        features, converged_R = self.columns(cases), targets.converged_R
        divergence = DivergenceModel.of(cases, targets, weight_R)
        # A column without any value has no bins.
        seen_F = ~np.all(np.isnan(features.values_RF), axis=0)
        features = features.named([name for name, is_seen in zip(features.names_F, seen_F, strict=True) if is_seen])
        rate = float((weight_R[converged_R].sum() + 0.5) / (weight_R.sum() + 1))
        if converged_R.all() or not converged_R.any() or not features.names_F:
            return FittedTrees(type(self), self.columns(cases).names_F, features.names_F, None, rate, divergence)
        rows, copies = repeated_rows(weight_R)
        model = HistGradientBoostingClassifier(**TREES)
        # With weights, even equal ones, scikit-learn takes many times longer to find its bins.
        part_R = None if copies == 1 else np.full(len(rows), 1 / copies)
        model.fit(features.values_RF[rows], converged_R[rows], sample_weight=part_R)
        return FittedTrees(type(self), self.columns(cases).names_F, features.names_F, model, rate, divergence)

    @staticmethod
    def columns(cases: Cases) -> Features:
        """The columns that the trees are grown on."""
        return cases.columns


class BoostedHyperparameters(BoostedTrees):
    """The same on the varied hyperparameters alone. Blind to seeds."""

    name: ClassVar[str] = "boosted_hyperparameters"
    is_slow: ClassVar[bool] = True

    @staticmethod
    def columns(cases: Cases) -> Features:
        """The varied hyperparameters."""
        return cases.hyperparameters


@dataclass(frozen=True)
class FittedTrees:
    """The fitted trees; without any, the overall rate. Of the columns `given_F` they were grown on `names_F`."""

    kind: type[BoostedTrees]
    given_F: tuple[str, ...]
    names_F: tuple[str, ...]
    model: Any
    rate: float
    divergence: DivergenceModel

    def forecast(self, cases: Cases) -> Forecast:
        """Forecasts from the cases' columns; NaN has a branch of its own."""
        features = self.kind.columns(cases).named(self.given_F).named(self.names_F)
        if self.model is None:
            return self.divergence.forecast(np.full(len(cases), self.rate), cases)
        probability_R = np.clip(self.model.predict_proba(features.values_RF)[:, 1], MIN_PROBABILITY, MAX_PROBABILITY)
        return self.divergence.forecast(np.asarray(probability_R, dtype=np.float64), cases)


def repeated_rows(weight_R: Floats) -> tuple[Ints, int]:
    """Rows repeated by their weights (above 0), in order, and how many of them stand for one run.

    To the trees weights are not copies: bins and the least number of rows of a leaf ignore them. Whole weights are
    kept, others are rounded to parts of 1 / RESOLUTION, at least one.

    >>> repeated_rows(np.array([1.0, 2.0]))
    (array([0, 1, 1]), 1)
    >>> repeated_rows(np.array([1.0, 0.1]))
    (array([0, 0, 0, 0, 1]), 4)
    """
    copies = 1 if np.all(weight_R == weight_R.round()) else RESOLUTION
    number_R = np.maximum((copies * weight_R).round(), 1).astype(np.int64)
    return np.repeat(np.arange(len(weight_R)), number_R), copies
