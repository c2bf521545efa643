"""Convergence rate of each setting, shrunk towards the overall rate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from analysis.predictors.base import Cases, DivergenceModel, Fitted, Forecast, Predictor, Targets, weighted_cases
from analysis.predictors.shares import SharesByStep
from pipeline.arrays import Floats

PSEUDO_COUNT = 2.0


class SettingRate(Predictor):
    """The share of the setting's training runs that converged, by every step.

    It is shrunk towards the overall share by PSEUDO_COUNT runs. A setting without training runs gets the overall share.
    """

    name: ClassVar[str] = "setting_rate"

    def fit(self, cases: Cases, targets: Targets, weight_R: Floats | None = None) -> Fitted:
        """Rates of the training outcomes. Raises ValueError when there are no cases."""
        cases, targets, weight_R = weighted_cases(cases, targets, weight_R)
        converged = SharesByStep.of(cases, targets, weight_R, PSEUDO_COUNT)
        return FittedSettingRate(converged, DivergenceModel.of(cases, targets, weight_R))


@dataclass(frozen=True)
class FittedSettingRate:
    """Shares by step, per setting."""

    converged: SharesByStep
    divergence: DivergenceModel

    def forecast(self, cases: Cases) -> Forecast:
        """The rate of each case's setting; the overall rate for a setting not seen in training."""
        times = self.converged.at(cases.setting_R)
        return self.divergence.forecast(times.by_RK[:, -1], cases, times)
