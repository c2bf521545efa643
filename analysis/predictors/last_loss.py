"""The forecast from the last losses in the window: what one reads off a loss curve."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from analysis.features import Features
from analysis.outcomes import CONVERGED, Texts
from analysis.predictors._logit import Logit
from analysis.predictors.base import Cases, Fitted, Forecast, Predictor, Split, require_cases
from analysis.statistics.base import column

LOSSES = (column("last_value", "probe_loss"), column("last_value", "train_loss"))


class LastLoss(Predictor):
    """Logistic regression on the last `probe_loss` and the last `train_loss` in the window and nothing else.

    No hyperparameter and no setting. With neither loss recorded it is the overall rate.
    """

    name: ClassVar[str] = "last_loss"

    def fit(self, cases: Cases, kind_R: Texts) -> Fitted:
        require_cases(cases)
        logit = Logit.fit(_features(cases), kind_R == CONVERGED, strength=1.0)
        return FittedLastLoss(logit, Split.of(cases, kind_R))


@dataclass(frozen=True)
class FittedLastLoss:
    """The fitted regression."""

    logit: Logit
    split: Split

    def forecast(self, cases: Cases) -> Forecast:
        return self.split.forecast(self.logit.probability_R(_features(cases)), cases)


def _features(cases: Cases) -> Features:
    return cases.statistics.keep(LOSSES.__contains__)
