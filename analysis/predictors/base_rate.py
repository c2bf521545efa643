"""Base rate: the training runs' outcome frequencies as the forecast for every run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from analysis.outcomes.outcomes import DIVERGED
from analysis.predictors.base import Cases, Fitted, Forecast, Predictor, Targets, weighted_cases
from analysis.predictors.shares import SharesByStep
from pipeline.arrays import Floats


class BaseRate(Predictor):
    """Every run gets the shares of the training runs that converged, by every step, and diverged."""

    name: ClassVar[str] = "base_rate"

    def fit(self, cases: Cases, targets: Targets, weight_R: Floats | None = None) -> Fitted:
        """The frequencies of the training outcomes. Raises ValueError when there are no cases."""
        cases, targets, weight_R = weighted_cases(cases, targets, weight_R)
        diverged = float(weight_R[targets.kind_R == DIVERGED].sum() / weight_R.sum())
        return ConstantForecast(SharesByStep.of(cases, targets, weight_R, pseudo_count=1.0), diverged)


@dataclass(frozen=True)
class ConstantForecast:
    """The same distribution for every case."""

    converged: SharesByStep
    diverged: float

    def forecast(self, cases: Cases) -> Forecast:
        """The same probabilities for each of the cases."""
        times = self.converged.overall(len(cases))
        return Forecast(times.by_RK[:, -1], np.full(len(cases), self.diverged), times)
