"""Logistic regression on hyperparameters alone; the baseline for claims about training dynamics."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from analysis.predictors.base import Cases, DivergenceModel, Fitted, Forecast, Predictor, Targets, weighted_cases
from analysis.predictors.features import Features
from analysis.predictors.logit import Logit
from pipeline.arrays import Floats


class HyperparametersOnly(Predictor):
    """Logistic regression on the varied hyperparameters, standardised, with an L2 penalty of 1. Blind to seeds."""

    name: ClassVar[str] = "hyperparameters_only"

    def fit(self, cases: Cases, targets: Targets, weight_R: Floats | None = None) -> Fitted:
        """The regression fitted to the cases and their targets. Raises ValueError when there are no cases."""
        cases, targets, weight_R = weighted_cases(cases, targets, weight_R)
        logit = Logit.fit(_features(cases), targets.converged_R, weight_R, inverse_penalty=1.0)
        return FittedHyperparametersOnly(logit, DivergenceModel.of(cases, targets, weight_R))


@dataclass(frozen=True)
class FittedHyperparametersOnly:
    """The fitted regression."""

    logit: Logit
    divergence: DivergenceModel

    def forecast(self, cases: Cases) -> Forecast:
        """Forecasts from the cases' hyperparameters; NaN counts as the training median."""
        return self.divergence.forecast(self.logit.probability_R(_features(cases)), cases)


def _features(cases: Cases) -> Features:
    return cases.hyperparameters
