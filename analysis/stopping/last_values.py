"""Forecasts from the last recorded values alone, which a stopping rule can compute while a run trains."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from analysis.predictors.encoding import HyperparameterEncoding, encoded
from analysis.predictors.features import Features, FeatureScaler, stacked
from analysis.predictors.ridge import Ridge
from analysis.predictors.time_distribution import platt
from analysis.statistics.last_value import last_finite
from pipeline.arrays import Bools, Floats, Ints
from pipeline.store.history import Window


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

        Penalty and logistic regression come from predictions for held-out groups (init seeds), so that the slope is
        that of unseen runs. `weight_R` above 0 are numbers of copies. Raises ValueError when they are all 0.
        """
        ridge, held_out_R = Ridge.fit(features, log_time_R, weight_R, group_R)
        intercept, slope = platt(-held_out_R, converged_R, weight_R)
        return cls(features.names_F, ridge.scaler, -slope * ridge.weight_F, intercept - slope * ridge.intercept)

    def probability_R(self, features: Features) -> Floats:
        """(R,) P(converged). Raises ValueError with the names of the columns that are lacking."""
        scaled_RF = self.scaler.apply(features.named(self.names_F).values_RF)
        # einsum without BLAS adds a row up in an order that does not depend on how many rows there are.
        logit_R = np.einsum("rf,f->r", scaled_RF, self.weight_F, optimize=False) + self.intercept
        return np.asarray(1 / (1 + np.exp(-np.clip(logit_R, -50, 50))), dtype=np.float64)
