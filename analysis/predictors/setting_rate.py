"""The rate of each setting: the forecast that knows where a run stands in the sweep, and nothing of how it learns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from analysis.outcomes.outcomes import CONVERGED
from analysis.predictors.base import Cases, Fitted, Forecast, Predictor, Rates, Split, require_cases
from pipeline.arrays import Texts

STRENGTH = 2.0


class SettingRate(Predictor):
    """The share of the setting's training runs that converged, shrunk towards the overall share by STRENGTH runs.

    A setting without training runs gets the overall share.
    """

    name: ClassVar[str] = "setting_rate"

    def fit(self, cases: Cases, kind_R: Texts) -> Fitted:
        require_cases(cases)
        converged = Rates.of(kind_R == CONVERGED, cases.setting_R, STRENGTH)
        return FittedRates(converged, Split.of(cases, kind_R))


@dataclass(frozen=True)
class FittedRates:
    """Rates per setting."""

    converged: Rates
    split: Split

    def forecast(self, cases: Cases) -> Forecast:
        return self.split.forecast(self.converged.at(cases.setting_R), cases)
