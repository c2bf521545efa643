"""The overall rate: the forecast that knows nothing about a run."""

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
        require_cases(cases)
        return Constant(float(np.mean(kind_R == CONVERGED)), float(np.mean(kind_R == DIVERGED)))


@dataclass(frozen=True)
class Constant:
    """The same distribution for every case."""

    converged: float
    diverged: float

    def forecast(self, cases: Cases) -> Forecast:
        return Forecast(np.full(len(cases), self.converged), np.full(len(cases), self.diverged))
