"""Logistic regression on the last losses in the window, centred by setting."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from analysis.predictors.base import Cases, DivergenceModel, Fitted, Forecast, Predictor, Targets, weighted_cases
from analysis.predictors.features import Features
from analysis.predictors.logit import Logit
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

    def fit(self, cases: Cases, targets: Targets, weight_R: Floats | None = None) -> Fitted:
        """The regression fitted to the cases and their targets. Raises ValueError when there are no cases."""
        cases, targets, weight_R = weighted_cases(cases, targets, weight_R)
        means = SettingMeans.of(_features(cases), cases.setting_R, weight_R)
        features = means.apply(_features(cases), cases.setting_R)
        logit = Logit.fit(features, targets.converged_R, weight_R, inverse_penalty=1.0)
        return FittedLastLoss(means, logit, DivergenceModel.of(cases, targets, weight_R))


@dataclass(frozen=True)
class SettingMeans:
    """Means of each column over the training runs, per setting and over all; 0 where none has a value."""

    names_F: tuple[str, ...]
    overall_F: Floats
    per_setting: dict[str, Floats]

    @classmethod
    def of(cls, features: Features, setting_R: Texts, weight_R: Floats) -> SettingMeans:
        """Means over the training rows, NaN left out; a setting without a value gets the overall mean."""
        overall_F = _means(features.values_RF, weight_R, np.zeros(len(features.names_F)))
        per_setting = {}
        for setting in np.unique(setting_R).tolist():
            in_setting_R = setting_R == setting
            per_setting[setting] = _means(features.values_RF[in_setting_R], weight_R[in_setting_R], overall_F)
        return cls(features.names_F, overall_F, per_setting)

    def apply(self, features: Features, setting_R: Texts) -> Features:
        """The columns that the means are of, found by name, less the means of each run's setting.

        Raises ValueError with the names of the columns that are lacking.
        """
        features = features.named(self.names_F)
        centre_RF = np.array([self.per_setting.get(setting, self.overall_F) for setting in setting_R.tolist()])
        return Features(features.names_F, features.values_RF - centre_RF.reshape(features.values_RF.shape))


@dataclass(frozen=True)
class FittedLastLoss:
    """The fitted regression."""

    means: SettingMeans
    logit: Logit
    divergence: DivergenceModel

    def forecast(self, cases: Cases) -> Forecast:
        """Forecasts from the cases' losses, centred by the training means of their settings."""
        features = self.means.apply(cases.statistics, cases.setting_R)
        return self.divergence.forecast(self.logit.probability_R(features), cases)


def _features(cases: Cases) -> Features:
    return cases.statistics.keep(LOSSES.__contains__)


def _means(values_RF: Floats, weight_R: Floats, otherwise_F: Floats) -> Floats:
    total_F = np.where(np.isnan(values_RF), 0.0, weight_R[:, None]).sum(axis=0)
    sum_F = np.nansum(weight_R[:, None] * values_RF, axis=0)
    return np.where(total_F > 0, sum_F / np.where(total_F > 0, total_F, 1.0), otherwise_F)
