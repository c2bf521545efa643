"""The forecast from hyperparameters alone: the baseline that every claim about training must beat."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from analysis.outcomes.outcomes import CONVERGED
from analysis.predictors._logit import Logit
from analysis.predictors.base import Cases, Fitted, Forecast, Predictor, Split, require_cases
from analysis.predictors.features import Features
from pipeline.arrays import Texts


class HyperparametersOnly(Predictor):
    """Logistic regression on the varied hyperparameters, standardised, with an L2 penalty of 1. Blind to seeds."""

    name: ClassVar[str] = "hyperparameters_only"

    def fit(self, cases: Cases, kind_R: Texts) -> Fitted:
        require_cases(cases)
        logit = Logit.fit(_features(cases), kind_R == CONVERGED, strength=1.0)
        return FittedHyperparametersOnly(logit, Split.of(cases, kind_R))


@dataclass(frozen=True)
class FittedHyperparametersOnly:
    """The fitted regression."""

    logit: Logit
    split: Split

    def forecast(self, cases: Cases) -> Forecast:
        return self.split.forecast(self.logit.probability_R(_features(cases)), cases)


def _features(cases: Cases) -> Features:
    return cases.hyperparameters
