"""The forecast from everything in the window: all statistics and the hyperparameters. The primary predictor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from analysis.outcomes.outcomes import CONVERGED
from analysis.predictors._logit import Logit, choose_strength
from analysis.predictors.base import Cases, Fitted, Forecast, Predictor, Split, require_cases
from analysis.predictors.features import Features
from pipeline.arrays import Texts

STRENGTHS = (0.001, 0.01, 0.1, 1.0)


class Logistic(Predictor):
    """Logistic regression on every statistic and every varied hyperparameter, standardised, with an L2 penalty.

    The strength of the penalty is chosen among STRENGTHS by the log score on held-out init seeds of the training runs.
    """

    name: ClassVar[str] = "logistic"

    def fit(self, cases: Cases, kind_R: Texts) -> Fitted:
        require_cases(cases)
        features, converged_R = _features(cases), kind_R == CONVERGED
        strength = choose_strength(features, converged_R, cases.init_seed_R, STRENGTHS)
        return FittedLogistic(Logit.fit(features, converged_R, strength), Split.of(cases, kind_R))


@dataclass(frozen=True)
class FittedLogistic:
    """The fitted regression."""

    logit: Logit
    split: Split

    def forecast(self, cases: Cases) -> Forecast:
        return self.split.forecast(self.logit.probability_R(_features(cases)), cases)


def _features(cases: Cases) -> Features:
    return cases.statistics.beside(cases.hyperparameters)
