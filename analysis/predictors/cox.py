"""Cox regression with a ridge penalty chosen on held-out seeds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from analysis.predictors.base import Cases, DivergenceModel, Fitted, Forecast, Predictor, Targets, weighted_cases
from analysis.predictors.convergence_times import ConvergenceTimes
from analysis.predictors.features import FeatureScaler
from analysis.predictors.logit import MAX_PROBABILITY, MIN_PROBABILITY
from analysis.predictors.shares import thresholds
from pipeline.arrays import Bools, Floats, Ints

# From the largest: each fit starts from the weights of the one before.
COX_PENALTIES = (1000.0, 100.0, 10.0, 1.0)
COX_FOLDS, MAX_NEWTON, TOLERANCE = 4, 50, 1e-10


class Cox(Predictor):
    """Proportional hazards of convergence, log-linear in all columns, with Breslow's baseline hazard (Cox 1972).

    A run that diverges never converges, so it stays at risk up to the budget: the hazard is that of the subdistribution
    (Fine and Gray 1999), without censoring before the budget. The penalty, on squared weights of standardised columns,
    is the one of COX_PENALTIES with the highest partial likelihood on held-out init seeds.
    """

    name: ClassVar[str] = "cox"
    is_slow: ClassVar[bool] = True

    def fit(self, cases: Cases, targets: Targets, weight_R: Floats | None = None) -> Fitted:
        """The regression fitted to the cases and their targets. Raises ValueError when there are no cases."""
        cases, targets, weight_R = weighted_cases(cases, targets, weight_R)
        columns, divergence = cases.columns, DivergenceModel.of(cases, targets, weight_R)
        scaler = FeatureScaler.of(columns.values_RF, weight_R)
        events = Events.of(scaler.apply(columns.values_RF), targets, weight_R)
        fold_R = np.unique(cases.init_seed_R, return_inverse=True)[1] % COX_FOLDS
        weight_F = events.fitted(_chosen_penalty(events, fold_R))
        start, steps_K = thresholds(targets, weight_R)
        return FittedCox(
            columns.names_F, scaler, weight_F, start, steps_K, events.hazard_K(weight_F, steps_K), divergence
        )


@dataclass(frozen=True)
class FittedCox:
    """P(converged by steps_K) = 1 - exp(-hazard_K exp(weight . scaled columns))."""

    names_F: tuple[str, ...]
    scaler: FeatureScaler
    weight_F: Floats
    start: float
    steps_K: Floats
    hazard_K: Floats
    divergence: DivergenceModel

    def forecast(self, cases: Cases) -> Forecast:
        """Forecasts from the cases' columns; NaN counts as the training median."""
        scaled_RF = self.scaler.apply(cases.columns.named(self.names_F).values_RF)
        # einsum without BLAS adds a row up in an order that does not depend on how many rows there are.
        log_risk_R = np.clip(np.einsum("rf,f->r", scaled_RF, self.weight_F, optimize=False), -30, 30)
        by_RK = 1 - np.exp(-np.exp(log_risk_R)[:, None] * self.hazard_K)
        by_RK = np.clip(by_RK, MIN_PROBABILITY, MAX_PROBABILITY)
        return self.divergence.forecast(by_RK[:, -1], cases, ConvergenceTimes(self.start, self.steps_K, by_RK))


@dataclass(frozen=True)
class Events:
    """Runs with the step at which each converged: number `time_R` of the increasing `steps_T`, T where it did not.

    `weight_R` above 0 are numbers of copies. Runs that converged at one step are ties, handled as by Breslow (1974).
    """

    scaled_RF: Floats
    steps_T: Floats
    time_R: Ints
    weight_R: Floats

    @classmethod
    def of(cls, scaled_RF: Floats, targets: Targets, weight_R: Floats) -> Events:
        """The runs of `targets`, whose step is the upper end of when they converged."""
        steps_T = np.unique(targets.upper_R[targets.converged_R])
        time_R = np.where(targets.converged_R, np.searchsorted(steps_T, targets.upper_R), len(steps_T))
        return cls(scaled_RF, steps_T, time_R, weight_R)

    def rows(self, use_R: Bools) -> Events:
        """The runs where `use_R` is True."""
        return Events(self.scaled_RF[use_R], self.steps_T, self.time_R[use_R], self.weight_R[use_R])

    def fitted(self, penalty: float, start_F: Floats | None = None) -> Floats:
        """(F,) the weights of highest log partial likelihood less penalty / 2 |weights|^2, by Newton's method."""
        weight_F = np.zeros(self.scaled_RF.shape[1]) if start_F is None else start_F
        value = self.log_likelihood(weight_F) - penalty / 2 * float(weight_F @ weight_F)
        for _ in range(MAX_NEWTON):
            gradient_F, curvature_FF = self._derivatives(weight_F)
            step_F = np.linalg.solve(curvature_FF + penalty * np.eye(len(weight_F)), gradient_F - penalty * weight_F)
            while True:
                tried_F = weight_F + step_F
                gained = self.log_likelihood(tried_F) - penalty / 2 * float(tried_F @ tried_F) - value
                if gained >= 0 or np.abs(step_F).max(initial=0.0) < TOLERANCE:
                    break
                step_F = step_F / 2
            weight_F, value = tried_F, value + gained
            if gained <= TOLERANCE:
                break
        return weight_F

    def log_likelihood(self, weight_F: Floats) -> float:
        """The log partial likelihood (Breslow's): of each run that converged, to be the one among those at risk."""
        log_risk_R, at_risk_T, number_T = self._at_risk(weight_F)
        converged_R = self.time_R < len(self.steps_T)
        has_T = number_T > 0
        ends = float(self.weight_R[converged_R] @ log_risk_R[converged_R])
        return ends - float(number_T[has_T] @ np.log(at_risk_T[has_T]))

    def hazard_K(self, weight_F: Floats, steps_K: Floats) -> Floats:
        """(K,) Breslow's cumulative baseline hazard by these steps."""
        _, at_risk_T, number_T = self._at_risk(weight_F)
        hazard_T = np.cumsum(_ratio(number_T, at_risk_T))
        return np.concatenate([[0.0], hazard_T])[np.searchsorted(self.steps_T, steps_K, side="right")]

    def _at_risk(self, weight_F: Floats) -> tuple[Floats, Floats, Floats]:
        """(R,) log risks; (T,) sums of the risks of runs that had not converged before; (T,) weights that converged."""
        log_risk_R = np.clip(self.scaled_RF @ weight_F, -30, 30)
        return log_risk_R, self._not_before(self.weight_R * np.exp(log_risk_R)), self._by_time(self.weight_R)[:-1]

    def _derivatives(self, weight_F: Floats) -> tuple[Floats, Floats]:
        """Gradient and negative Hessian of the log partial likelihood."""
        log_risk_R, at_risk_T, number_T = self._at_risk(weight_F)
        risk_R = self.weight_R * np.exp(log_risk_R)
        # A run is at risk at every step up to its own, so sums over risk sets are sums of risk times hazard.
        hazard_T = np.cumsum(_ratio(number_T, at_risk_T))
        share_R = risk_R * np.append(hazard_T, hazard_T[-1:] if len(hazard_T) else 0.0)[self.time_R]
        converged_R = self.time_R < len(self.steps_T)
        mean_TF = _ratio(self._not_before(risk_R[:, None] * self.scaled_RF), at_risk_T[:, None])
        gradient_F = (self.weight_R * converged_R - share_R) @ self.scaled_RF
        curvature_FF = (self.scaled_RF.T * share_R) @ self.scaled_RF - (mean_TF.T * number_T) @ mean_TF
        return gradient_F, curvature_FF

    def _by_time(self, values_R: Floats) -> Floats:
        sums = np.zeros((len(self.steps_T) + 1, *values_R.shape[1:]))
        np.add.at(sums, self.time_R, values_R)
        return sums

    def _not_before(self, values_R: Floats) -> Floats:
        """(T, ...) sums over the runs that had not converged before the step."""
        return np.asarray(np.cumsum(self._by_time(values_R)[::-1], axis=0)[::-1][:-1])


def _chosen_penalty(events: Events, fold_R: Ints) -> float:
    """The penalty under which held-out runs are likeliest; the largest where nothing can be held out."""
    likelihood_by = dict.fromkeys(COX_PENALTIES, 0.0)
    for fold in np.unique(fold_R):
        train, test = events.rows(fold_R != fold), events.rows(fold_R == fold)
        weight_F = None
        if not np.any(train.time_R < len(events.steps_T)):
            return COX_PENALTIES[0]
        for penalty in COX_PENALTIES:
            weight_F = train.fitted(penalty, weight_F)
            likelihood_by[penalty] += test.log_likelihood(weight_F)
    return max(COX_PENALTIES, key=lambda penalty: (likelihood_by[penalty], penalty))


def _ratio(above: Floats, below: Floats) -> Floats:
    return np.divide(above, below, out=np.zeros(np.broadcast_shapes(above.shape, below.shape)), where=below > 0)
