"""Forecasts of every run at risk by predictors that have seen none of its seeds, and the scores of these forecasts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from analysis.forecasting.censoring import RiskSet
from analysis.forecasting.folds import Folds
from analysis.outcomes.outcomes import Outcomes
from analysis.predictors.base import PREDICTORS, Cases, Forecast, Predictor, Targets
from analysis.predictors.logit import without_line_search_warnings
from analysis.uncertainty.blocks import side_by_side
from pipeline.arrays import Bools, Floats, Ints
from pipeline.store.history import History

# Steps at which forecasts of the time are compared with what was seen.
NUM_STEPS = 20


@dataclass(frozen=True)
class HeldOutForecasts:
    """One predictor's forecasts over all R runs of a sweep, NaN where there is none.

    `by_RG` is P(converged by each of G steps) and `interval_R3` the interval of the time, as in `Forecast`; None of a
    predictor without them.
    """

    converged_R: Floats
    by_RG: Floats | None
    interval_R3: Floats | None

    @property
    def earliness_R(self) -> Floats:
        """(R,) a score that is higher the earlier a run is forecast to converge: the mean of P(converged by a step)."""
        return self.converged_R if self.by_RG is None else self.by_RG.mean(axis=1)

    def rows(self, use: Bools | Ints) -> HeldOutForecasts:
        """The same of some runs."""
        by_RG = None if self.by_RG is None else self.by_RG[use]
        interval_R3 = None if self.interval_R3 is None else self.interval_R3[use]
        return HeldOutForecasts(self.converged_R[use], by_RG, interval_R3)


@dataclass(frozen=True)
class ForecastSample:
    """Forecasts of the runs at risk at a window, and what each of them was learned and is scored with.

    `fold_R` is the fold in which a run was forecast, -1 of runs that were not.
    """

    forecasts: Mapping[str, HeldOutForecasts]
    fold_R: Ints
    steps_G: Floats


def scoring_steps(history: History, outcomes: Outcomes, last_step: int) -> Floats:
    """(G,) at most NUM_STEPS evaluations after the window, evenly chosen among all, the last one included."""
    is_seen_T = np.isfinite(history.values[outcomes.criterion.metric]).any(axis=0) & (history.steps_T > last_step)
    steps_T = history.steps_T[is_seen_T].astype(np.float64)
    chosen = np.linspace(0, max(len(steps_T) - 1, 0), min(NUM_STEPS, len(steps_T))).round().astype(np.int64)
    return np.asarray(steps_T[chosen])


def held_out_forecasts(
    cases: Cases,
    history: History,
    outcomes: Outcomes,
    last_step: int,
    at_risk_R: Bools,
    copies_R: Floats | None,
    predictors: Mapping[str, Predictor],
    splits: Folds,
) -> ForecastSample:
    """Forecasts of the runs of `at_risk_R`, by predictors fitted to the known outcomes of their fold's training half.

    Weights for censoring are made anew in every training half, so nothing of a tested run moves a bit of its forecast.
    A fold without a known outcome to train on is left out.
    """
    steps_G, fold_R = scoring_steps(history, outcomes, last_step), np.full(len(cases), -1)
    halves: list[_Halves] = []
    for number, fold in enumerate(splits.folds):
        training = RiskSet.of(history, outcomes, last_step, fold.train_R, copies_R)
        test_R = fold.test_R & at_risk_R
        if not training.known_R.any() or not test_R.any():
            continue
        fold_R[test_R] = number
        train, targets = cases.rows(training.known_R), Targets.of(outcomes, history.budget, training.known_R)
        halves.append(_Halves(train, targets, training.weight_R[training.known_R], test_R, cases.rows(test_R)))
    made = _made(predictors, halves)
    forecasts = {name: _joined(parts, len(cases), steps_G) for name, parts in made.items()}
    return ForecastSample(forecasts, fold_R, steps_G)


@dataclass(frozen=True)
class _Halves:
    """A fold's training half, with the weights that it is fitted by, and the runs that it is asked to forecast."""

    train: Cases
    targets: Targets
    weight_N: Floats
    test_R: Bools
    test: Cases

    def forecast(self, predictor: Predictor) -> tuple[Ints, Forecast]:
        """The tested runs' places in the sweep, and their forecasts by the predictor fitted to the training half."""
        fitted = predictor.fit(self.train, self.targets, self.weight_N)
        return np.flatnonzero(self.test_R), fitted.forecast(self.test)


def _made(predictors: Mapping[str, Predictor], halves: Sequence[_Halves]) -> dict[str, list[tuple[Ints, Forecast]]]:
    """Of each predictor, the forecasts of all folds, in their order; those of users one after another."""
    # Whoever writes a predictor need not have thought of threads.
    package = f"{PREDICTORS.package}."
    ours = [name for name, predictor in predictors.items() if type(predictor).__module__.startswith(package)]
    jobs = [(name, half) for half in halves for name in ours]
    # Fits change the filters of warnings for a moment, and not each thread its own.
    with without_line_search_warnings():
        found = side_by_side(lambda job: job[1].forecast(predictors[job[0]]), jobs)
    made: dict[str, list[tuple[Ints, Forecast]]] = {name: [] for name in predictors}
    for (name, _), forecast in zip(jobs, found, strict=True):
        made[name].append(forecast)
    for name in predictors.keys() - set(ours):
        made[name] = [half.forecast(predictors[name]) for half in halves]
    return made


def _joined(parts: Iterable[tuple[Ints, Forecast]], num_runs: int, steps_G: Floats) -> HeldOutForecasts:
    converged_R = np.full(num_runs, np.nan)
    by_RG, interval_R3 = np.full((num_runs, len(steps_G)), np.nan), np.full((num_runs, 3), np.nan)
    have_times = have_intervals = True
    for rows, forecast in parts:
        converged_R[rows] = forecast.converged_R
        if forecast.times is None:
            have_times = False
        else:
            by_RG[rows] = forecast.times.by_each(steps_G)
        if forecast.interval_R3 is None:
            have_intervals = False
        else:
            interval_R3[rows] = forecast.interval_R3
    return HeldOutForecasts(converged_R, by_RG if have_times else None, interval_R3 if have_intervals else None)
