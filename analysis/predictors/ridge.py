"""Ridge regression with its penalty chosen on held-out groups, and the held-out predictions themselves."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from analysis.predictors.features import Features, FeatureScaler
from pipeline.arrays import Floats, Ints

PENALTIES = 10.0 ** np.arange(-1.0, 5.5, 0.5)
NUM_FOLDS = 10
# By how much a column is magnified that the penalty should leave free: it then counts for a 2,500th.
FREE = 50.0


@dataclass(frozen=True)
class Ridge:
    """value = intercept + weight . scaled features. `names_F` are the columns that the weights belong to."""

    names_F: tuple[str, ...]
    scaler: FeatureScaler
    weight_F: Floats
    intercept: float

    @classmethod
    def fit(
        cls, features: Features, value_R: Floats, weight_R: Floats, group_R: Ints, free: str = ""
    ) -> tuple[Ridge, Floats]:
        """The regression, and (R,) predictions of each run by fits without its group.

        `weight_R` above 0 are numbers of copies; the penalty of PENALTIES, on squared weights of standardised columns,
        is the one of least squared error on held-out groups (init seeds), dealt to NUM_FOLDS folds in sorted order. Of
        a single group nothing can be held out: then the penalty is the largest, and the predictions are its own.
        The column named `free` is almost exempt from the penalty.
        """
        is_free_F = np.array([name == free for name in features.names_F], dtype=bool)
        scaler = FeatureScaler.of(features.values_RF, weight_R).magnified(is_free_F, FREE)
        scaled_RF = scaler.apply(features.values_RF)
        index_R = np.unique(group_R, return_inverse=True)[1]
        num_folds = min(NUM_FOLDS, int(index_R.max()) + 1)
        parts = [_Moments.of(scaled_RF, value_R, weight_R, index_R % num_folds == k) for k in range(num_folds)]
        weight_PF, intercept_P = (whole := sum(parts[1:], parts[0])).solved()
        if num_folds == 1:
            ridge = cls(features.names_F, scaler, weight_PF[-1], float(intercept_P[-1]))
            return ridge, ridge.predict_R(features)
        held_out_RP = np.empty((len(value_R), len(PENALTIES)))
        for k, part in enumerate(parts):
            rest_PF, rest_P = whole.without(part).solved()
            held_out_RP[index_R % num_folds == k] = scaled_RF[index_R % num_folds == k] @ rest_PF.T + rest_P
        p = int(np.argmin(weight_R @ (held_out_RP - value_R[:, None]) ** 2))
        return cls(features.names_F, scaler, weight_PF[p], float(intercept_P[p])), held_out_RP[:, p]

    def scaled_RF(self, features: Features) -> Floats:
        """(R, F) the columns of the regression, found by name and scaled. Raises ValueError where one is lacking."""
        return self.scaler.apply(features.named(self.names_F).values_RF)

    def predict_R(self, features: Features) -> Floats:
        """(R,) predicted values. Raises ValueError with the names of the columns that are lacking."""
        # einsum without BLAS adds a row up in an order that does not depend on how many rows there are.
        product_R = np.einsum("rf,f->r", self.scaled_RF(features), self.weight_F, optimize=False)
        return np.asarray(product_R + self.intercept, dtype=np.float64)


@dataclass(frozen=True)
class _Moments:
    """Weighted sums over runs: of weights, columns, values, and of their products."""

    total: float
    sum_F: Floats
    sum_value: float
    product_FF: Floats
    product_F: Floats

    @classmethod
    def of(cls, scaled_RF: Floats, value_R: Floats, weight_R: Floats, use_R: Floats) -> _Moments:
        columns_RF, values_R, weights_R = scaled_RF[use_R], value_R[use_R], weight_R[use_R]
        weighted_RF = columns_RF * weights_R[:, None]
        return cls(
            float(weights_R.sum()),
            weighted_RF.sum(axis=0),
            float(weights_R @ values_R),
            weighted_RF.T @ columns_RF,
            weighted_RF.T @ values_R,
        )

    def __add__(self, other: _Moments) -> _Moments:
        return _Moments(*(mine + its for mine, its in zip(vars(self).values(), vars(other).values(), strict=True)))

    def without(self, other: _Moments) -> _Moments:
        return _Moments(*(mine - its for mine, its in zip(vars(self).values(), vars(other).values(), strict=True)))

    def solved(self) -> tuple[Floats, Floats]:
        """(P, F) weights and (P,) intercepts at every penalty, from one eigendecomposition; the intercept is free."""
        mean_F, mean = self.sum_F / self.total, self.sum_value / self.total
        spread_F, axes_FF = np.linalg.eigh(self.product_FF - self.total * np.outer(mean_F, mean_F))
        along_F = axes_FF.T @ (self.product_F - self.total * mean_F * mean)
        weight_PF = (along_F / (np.maximum(spread_F, 0.0) + PENALTIES[:, None])) @ axes_FF.T
        return weight_PF, mean - weight_PF @ mean_F
