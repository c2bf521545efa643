"""Base class of predictors, with its contract, their inputs and forecasts, and their registry."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np

from analysis.outcomes.outcomes import CONVERGED, DIVERGED, Outcomes
from analysis.predictors.convergence_times import ConvergenceTimes
from analysis.predictors.features import Features
from pipeline.arrays import Bools, Floats, Ints, Texts
from pipeline.registry import Registry


@dataclass(frozen=True)
class Cases:
    """Inputs of a predictor, one row per run: no outcome, nothing after the window.

    `init_seed_R` is there to group runs when a predictor tunes itself; it is no feature. `readings` names the columns
    of `statistics` that were read from weights.
    """

    setting_R: Texts
    init_seed_R: Ints
    hyperparameters: Features
    statistics: Features
    readings: frozenset[str] = frozenset()

    def __len__(self) -> int:
        return len(self.setting_R)

    @property
    def columns(self) -> Features:
        """The statistics and then the hyperparameters."""
        return self.statistics.beside(self.hyperparameters)

    @property
    def columns_of_curves(self) -> Features:
        """The statistics of what was measured all along, and then the hyperparameters."""
        return self.statistics.keep(lambda name: name not in self.readings).beside(self.hyperparameters)

    def rows(self, use_R: Bools) -> Cases:
        """The runs where `use_R` is True, in the same order."""
        return Cases(
            self.setting_R[use_R],
            self.init_seed_R[use_R],
            self.hyperparameters.rows(use_R),
            self.statistics.rows(use_R),
            self.readings,
        )


@dataclass(frozen=True)
class Targets:
    """What became of training runs, and when: what a predictor learns from.

    `kind_R` is converged, diverged or unconverged, never censored. The step of the outcome lies in (lower_R, upper_R],
    as in `Outcomes`; of an unconverged run both are `budget`.
    """

    kind_R: Texts
    lower_R: Floats
    upper_R: Floats
    budget: int

    @classmethod
    def of(cls, outcomes: Outcomes, budget: int, use_R: Bools) -> Targets:
        """The targets of the runs where `use_R` is True."""
        return cls(outcomes.kind_R[use_R], outcomes.lower_R[use_R], outcomes.upper_R[use_R], budget)

    def __len__(self) -> int:
        return len(self.kind_R)

    @property
    def converged_R(self) -> Bools:
        """(R,) True for the runs that converged."""
        return np.asarray(self.kind_R == CONVERGED)

    def rows(self, use_R: Bools) -> Targets:
        """The runs where `use_R` is True, in the same order."""
        return Targets(self.kind_R[use_R], self.lower_R[use_R], self.upper_R[use_R], self.budget)


@dataclass(frozen=True)
class Forecast:
    """A distribution over what each run will be at the budget; the rest of the probability is `unconverged`.

    `times` is None of a predictor that knows no time; else its last probability is `converged_R`. `interval_R3` is
    None of a predictor without one; else low end, median and high end of min(time, budget), with 90% between the ends,
    in steps, infinite beyond the last step at which a run can converge.
    """

    converged_R: Floats
    diverged_R: Floats
    times: ConvergenceTimes | None = None
    interval_R3: Floats | None = None

    @property
    def unconverged_R(self) -> Floats:
        """Probability to reach the budget without converging or diverging."""
        return np.clip(1 - self.converged_R - self.diverged_R, 0.0, 1.0)


class Fitted(Protocol):
    """A predictor after fitting."""

    def forecast(self, cases: Cases) -> Forecast:
        """The forecast of every case, whatever its setting, seen in training or not."""


class Predictor(ABC):
    """Learns from finished runs to forecast others. The contract:

    1. `fit` returns an object with `forecast`, and does not modify its arguments; that object can be pickled.
    2. A forecast is a distribution: finite probabilities in [0, 1] that sum to 1. A constant one is legal. Where it has
       times, P(converged by a step) never falls with the step, and ends at P(converged). The ends of an interval stand
       in order, around the median.
    3. Deterministic: the same cases and targets give the same bytes.
    4. It never sees outcomes of the cases that it forecasts; their forecasts do not depend on one another.
    5. It fits whatever there is: one kind of outcome only, one run, a statistic that is all NaN, no statistic at all;
       and forecasts settings that it has never seen.
    6. Everything estimated from data (scales, fills for NaN, penalties) is estimated from the training cases.
    7. Columns go by name: a fitted predictor finds the columns that it learned from in whatever order the cases have
       them, ignores others, and raises ValueError with the names of those that are lacking.
    8. `weight_R` are numbers of copies, not necessarily whole: a run of weight k counts as k equal runs, to rounding,
       one of weight 0 is not there, and none given means 1 for each.

    Those that are `is_slow` are fitted by `seedbed benchmark`, and in no other analysis that does not ask for them.
    """

    name: ClassVar[str]
    is_slow: ClassVar[bool] = False

    @abstractmethod
    def fit(self, cases: Cases, targets: Targets, weight_R: Floats | None = None) -> Fitted:
        """`targets` are what became of the cases, in their order.

        `weight_R` are finite and at least 0. Raises ValueError when they are not, or no case has a weight above 0.
        """


@dataclass(frozen=True)
class Rates:
    """Share of a kind of outcome, overall and per setting, the latter shrunk towards the former.

    With runs of total weight n, k of it of the kind, a setting has (k + pseudo_count * overall) / (n + pseudo_count);
    a new one has `overall`.
    """

    overall: float
    per_setting: dict[str, float]

    @classmethod
    def of(cls, is_kind_R: Bools, setting_R: Texts, weight_R: Floats, pseudo_count: float) -> Rates:
        """Rates of the runs marked in `is_kind_R`, with a pseudo-count above 0; 0 overall without runs."""
        overall = float(weight_R[is_kind_R].sum() / weight_R.sum()) if len(is_kind_R) else 0.0
        per_setting = {}
        for setting in np.unique(setting_R).tolist():
            in_setting_R = setting_R == setting
            k, n = weight_R[in_setting_R & is_kind_R].sum(), weight_R[in_setting_R].sum()
            per_setting[setting] = float((k + pseudo_count * overall) / (n + pseudo_count))
        return cls(overall, per_setting)

    def at(self, setting_R: Texts) -> Floats:
        """(R,) the rate of each run's setting."""
        return np.array([self.per_setting.get(setting, self.overall) for setting in setting_R.tolist()], dtype=float)


@dataclass(frozen=True)
class DivergenceModel:
    """P(diverged | not converged) by setting, from the training runs; the rest of not converging is `unconverged`."""

    rates: Rates

    @classmethod
    def of(cls, cases: Cases, targets: Targets, weight_R: Floats, pseudo_count: float = 2.0) -> DivergenceModel:
        """Fitted to the training cases that did not converge, with weights above 0."""
        rest_R = ~targets.converged_R
        is_diverged_R = targets.kind_R[rest_R] == DIVERGED
        return cls(Rates.of(is_diverged_R, cases.setting_R[rest_R], weight_R[rest_R], pseudo_count))

    def forecast(self, converged_R: Floats, cases: Cases, times: ConvergenceTimes | None = None) -> Forecast:
        """The forecast with these probabilities to converge, and these times if there are any."""
        return Forecast(converged_R, (1 - converged_R) * self.rates.at(cases.setting_R), times)


def weighted_cases(cases: Cases, targets: Targets, weight_R: Floats | None) -> tuple[Cases, Targets, Floats]:
    """The cases of weight above 0, with their targets and weights; without `weight_R` all, with weights of 1.

    Raises ValueError when none is left, or the weights are not one finite number of at least 0 per case.
    """
    weight_R = np.ones(len(cases)) if weight_R is None else np.asarray(weight_R, dtype=np.float64)
    if weight_R.shape != (len(cases),) or not np.all(np.isfinite(weight_R) & (weight_R >= 0)):
        raise ValueError(f"weights must be {len(cases)} finite numbers of at least 0, one per training run")
    use_R = weight_R > 0
    if not use_R.any():
        raise ValueError("a predictor needs at least one finished run to fit on, got none")
    return cases.rows(use_R), targets.rows(use_R), weight_R[use_R]


_HELPERS = (
    "base",
    "convergence_times",
    "encoding",
    "features",
    "logit",
    "ridge",
    "setting_means",
    "shares",
    "time_distribution",
)
PREDICTORS: Registry[Predictor] = Registry("analysis.predictors", Predictor, _HELPERS)  # type: ignore[type-abstract]
