"""Base rate: the training runs' outcome frequencies as the forecast for every run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from analysis.outcomes.outcomes import CONVERGED, DIVERGED
from analysis.predictors.base import Cases, Fitted, Forecast, Predictor, require_cases
from pipeline.arrays import Texts


class BaseRate(Predictor):
    """Every run gets the shares of the training runs that converged and diverged."""

    name: ClassVar[str] = "base_rate"

    def fit(self, cases: Cases, kind_R: Texts) -> Fitted:
        """The frequencies of the training outcomes. Raises ValueError when there are no cases."""
        require_cases(cases)
        return ConstantForecast(float(np.mean(kind_R == CONVERGED)), float(np.mean(kind_R == DIVERGED)))


@dataclass(frozen=True)
class ConstantForecast:
    """The same distribution for every case."""

    converged: float
    diverged: float

    def forecast(self, cases: Cases) -> Forecast:
        """The same probabilities for each of the cases."""
        return Forecast(np.full(len(cases), self.converged), np.full(len(cases), self.diverged))
