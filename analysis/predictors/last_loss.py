"""The forecast from the last losses in the window: what one reads off a loss curve."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from analysis.outcomes.outcomes import CONVERGED
from analysis.predictors._logit import Logit
from analysis.predictors.base import Cases, Fitted, Forecast, Predictor, Split, require_cases
from analysis.predictors.features import Features
from analysis.statistics.base import column
from pipeline.arrays import Floats, Texts

LOSSES = (column("last_value", "probe_loss"), column("last_value", "train_loss"))


class LastLoss(Predictor):
    """Logistic regression on the last `probe_loss` and the last `train_loss` in the window, centred by setting.

    Centred: less the mean of the setting's training runs, or that of all training runs where the setting has none. So
    the sign of the loss is that between runs of one setting, whatever it is between settings, and settings differ by
    nothing else. No hyperparameter. With neither loss recorded it is the overall rate.
    """

    name: ClassVar[str] = "last_loss"

    def fit(self, cases: Cases, kind_R: Texts) -> Fitted:
        require_cases(cases)
        centres = Centres.of(_features(cases), cases.setting_R)
        logit = Logit.fit(centres.apply(_features(cases), cases.setting_R), kind_R == CONVERGED, strength=1.0)
        return FittedLastLoss(centres, logit, Split.of(cases, kind_R))


@dataclass(frozen=True)
class Centres:
    """Means of each column over the training runs, per setting and over all; 0 where none has a value."""

    overall_F: Floats
    per_setting: dict[str, Floats]

    @classmethod
    def of(cls, features: Features, setting_R: Texts) -> Centres:
        overall_F = _means(features.values_RF, np.zeros(len(features.names_F)))
        settings = np.unique(setting_R).tolist()
        return cls(overall_F, {s: _means(features.values_RF[setting_R == s], overall_F) for s in settings})

    def apply(self, features: Features, setting_R: Texts) -> Features:
        """The columns less the means of each run's setting."""
        centre_RF = np.array([self.per_setting.get(setting, self.overall_F) for setting in setting_R.tolist()])
        return Features(features.names_F, features.values_RF - centre_RF.reshape(features.values_RF.shape))


@dataclass(frozen=True)
class FittedLastLoss:
    """The fitted regression."""

    centres: Centres
    logit: Logit
    split: Split

    def forecast(self, cases: Cases) -> Forecast:
        features = self.centres.apply(_features(cases), cases.setting_R)
        return self.split.forecast(self.logit.probability_R(features), cases)


def _features(cases: Cases) -> Features:
    return cases.statistics.keep(LOSSES.__contains__)


def _means(values_RF: Floats, otherwise_F: Floats) -> Floats:
    num_F = (~np.isnan(values_RF)).sum(axis=0)
    return np.where(num_F > 0, np.nansum(values_RF, axis=0) / np.maximum(num_F, 1), otherwise_F)
