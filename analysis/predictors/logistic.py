"""Logistic regression on the statistics of curves and on hyperparameters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from analysis.predictors.base import Cases, DivergenceModel, Forecast, Predictor, Targets, weighted_cases
from analysis.predictors.logit import Logit, choose_inverse_penalty
from pipeline.arrays import Floats

INVERSE_PENALTIES = (0.001, 0.01, 0.1, 1.0)


class Logistic(Predictor):
    """Logistic regression on the statistics of curves and the varied hyperparameters, standardised, with an L2 penalty.

    It sees no reading of the weights. The inverse penalty is chosen among INVERSE_PENALTIES by the log score on
    held-out init seeds of the training runs.
    """

    name: ClassVar[str] = "logistic"

    def fit(self, cases: Cases, targets: Targets, weight_R: Floats | None = None) -> FittedLogistic:
        """The regression fitted to the cases and their targets. Raises ValueError when there are no cases."""
        cases, targets, weight_R = weighted_cases(cases, targets, weight_R)
        features, converged_R = cases.columns_of_curves, targets.converged_R
        inverse_penalty = choose_inverse_penalty(features, converged_R, weight_R, cases.init_seed_R, INVERSE_PENALTIES)
        logit = Logit.fit(features, converged_R, weight_R, inverse_penalty)
        return FittedLogistic(logit, DivergenceModel.of(cases, targets, weight_R))


@dataclass(frozen=True)
class FittedLogistic:
    """The fitted regression."""

    logit: Logit
    divergence: DivergenceModel

    def forecast(self, cases: Cases) -> Forecast:
        """Forecasts from the cases' statistics of curves and hyperparameters; NaN counts as the training median."""
        return self.divergence.forecast(self.logit.probability_R(cases.columns), cases)
