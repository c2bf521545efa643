"""The one statistic that goes best with the time to convergence inside settings; a baseline without any combining."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from analysis.predictors.base import Cases, DivergenceModel, Fitted, Predictor, Targets, weighted_cases
from analysis.predictors.features import Features, FeatureScaler
from analysis.predictors.logit import Logit
from analysis.predictors.ridge_time import NEVER
from analysis.predictors.setting_means import CentredLogit, SettingMeans
from pipeline.arrays import Floats


class BestStatistic(Predictor):
    """Logistic regression on one statistic, centred by setting.

    It is the one whose correlation with log min(T, 1.15 budgets) inside settings is largest in size among the training
    runs, T being infinite for runs that did not converge; the first of equal ones. Without a statistic that varies it
    is the overall rate.
    """

    name: ClassVar[str] = "best_statistic"

    def fit(self, cases: Cases, targets: Targets, weight_R: Floats | None = None) -> Fitted:
        """The statistic and the regression. Raises ValueError when there are no cases."""
        cases, targets, weight_R = weighted_cases(cases, targets, weight_R)
        time_R = np.where(targets.converged_R, targets.upper_R, NEVER * targets.budget)
        value = Features(("log time",), np.log(np.maximum(time_R, 1.0))[:, None])
        residual_R = _centred(value, cases, weight_R).values_RF[:, 0]
        centred = _centred(cases.statistics, cases, weight_R)
        scaled_RF = FeatureScaler.of(centred.values_RF, weight_R).apply(centred.values_RF)
        size_F = np.abs(weight_R * residual_R @ scaled_RF)
        best = centred.names_F[int(np.argmax(size_F))] if size_F.max(initial=0.0) > 0 else None
        chosen = cases.statistics.keep(lambda name: name == best)
        means = SettingMeans.of(chosen, cases.setting_R, weight_R)
        features = means.apply(chosen, cases.setting_R)
        logit = Logit.fit(features, targets.converged_R, weight_R, inverse_penalty=1.0)
        return CentredLogit(means, logit, DivergenceModel.of(cases, targets, weight_R))


def _centred(features: Features, cases: Cases, weight_R: Floats) -> Features:
    return SettingMeans.of(features, cases.setting_R, weight_R).apply(features, cases.setting_R)
