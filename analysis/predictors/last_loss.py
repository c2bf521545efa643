"""Logistic regression on the last losses in the window, centred by setting."""

from __future__ import annotations

from typing import ClassVar

from analysis.predictors.base import Cases, DivergenceModel, Fitted, Predictor, Targets, weighted_cases
from analysis.predictors.features import Features
from analysis.predictors.logit import Logit
from analysis.predictors.setting_means import CentredLogit, SettingMeans
from analysis.statistics.base import column
from pipeline.arrays import Floats

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
        return CentredLogit(means, logit, DivergenceModel.of(cases, targets, weight_R))


def _features(cases: Cases) -> Features:
    return cases.statistics.keep(LOSSES.__contains__)
