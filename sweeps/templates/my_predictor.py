"""A predictor of my own.

What it must do is listed in the docstring of `analysis.predictors.base.Predictor`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from analysis.predictors.base import Cases, DivergenceModel, Fitted, Forecast, Predictor, Targets, weighted_cases
from analysis.predictors.features import Features
from analysis.statistics.base import column
from pipeline.arrays import Bools, Floats

# What it reads, by name: a statistic of a metric. Other columns that a sweep has are in `cases.columns.names_F`.
_COLUMN = column("last_value", "train_loss")


class MyPredictor(Predictor):
    """The share that converged among runs whose newest loss is below the mean run's, and among the others."""

    name = "my_predictor"

    def fit(self, cases: Cases, targets: Targets, weight_R: Floats | None = None) -> Fitted:
        """Learns from finished runs; each counts `weight_R` times."""
        cases, targets, weight_R = weighted_cases(cases, targets, weight_R)
        columns = cases.statistics.keep(lambda name: name == _COLUMN)
        mean = float(np.average(_losses(columns), weights=weight_R))
        is_low_R = _losses(columns) < mean
        low, high = (_share(targets.converged_R[group_R], weight_R[group_R]) for group_R in (is_low_R, ~is_low_R))
        return MyFittedPredictor(columns.names_F, mean, low, high, DivergenceModel.of(cases, targets, weight_R))


@dataclass(frozen=True)
class MyFittedPredictor:
    """The two shares, and the loss that divides them; `names_F` is the column that it is read from, if there is one."""

    names_F: tuple[str, ...]
    mean: float
    low: float
    high: float
    divergence: DivergenceModel

    def forecast(self, cases: Cases) -> Forecast:
        """P(converged) of every case, and P(diverged). Raises ValueError where the column is lacking."""
        is_low_R = _losses(cases.statistics.named(self.names_F)) < self.mean
        return self.divergence.forecast(np.where(is_low_R, self.low, self.high), cases)


def _losses(columns: Features) -> Floats:
    """(R,) the only column; 0 where a run did not record the loss, or none did and there is no column."""
    return np.nan_to_num(columns.values_RF[:, 0]) if columns.names_F else np.zeros(len(columns.values_RF))


def _share(is_converged_R: Bools, weight_R: Floats) -> float:
    """Share that converged with one of each kind added, so that it is never 0 or 1 and exists for no runs."""
    return float((weight_R[is_converged_R].sum() + 1) / (weight_R.sum() + 2))
