"""Features centred by setting, and a logistic regression on them: what predictors of curves share."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from analysis.predictors.base import Cases, DivergenceModel, Forecast
from analysis.predictors.features import Features
from analysis.predictors.logit import Logit
from pipeline.arrays import Floats, Texts


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
class CentredLogit:
    """A fitted logistic regression on features that are centred by the training means of their settings."""

    means: SettingMeans
    logit: Logit
    divergence: DivergenceModel

    def forecast(self, cases: Cases) -> Forecast:
        """Forecasts from the statistics that `means` are of."""
        features = self.means.apply(cases.statistics, cases.setting_R)
        return self.divergence.forecast(self.logit.probability_R(features), cases)


def _means(values_RF: Floats, weight_R: Floats, otherwise_F: Floats) -> Floats:
    total_F = np.where(np.isnan(values_RF), 0.0, weight_R[:, None]).sum(axis=0)
    sum_F = np.nansum(weight_R[:, None] * values_RF, axis=0)
    return np.where(total_F > 0, sum_F / np.where(total_F > 0, total_F, 1.0), otherwise_F)
