"""Forecasts by the finished runs of the same sweep, none of which shares a seed with the run that is forecast."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from analysis.forecasting.evaluation import cases_of
from analysis.forecasting.fitted import auroc_on_unseen_seeds, fold_models, task_and_model
from analysis.forecasting.folds import Fold
from analysis.forecasting.run_forecasts import ForecastDraft, WindowSource
from analysis.forecasting.window_model import TrainingSet
from analysis.predictors.base import Cases
from analysis.predictors.features import Features
from analysis.uncertainty.intervals import Estimate
from pipeline.arrays import Bools, Floats, Ints
from pipeline.store.history import History, Window

# Steps at which runs are compared with finished ones, as a share of the budget.
RISK_SHARE = 0.05


@dataclass(frozen=True)
class Prior:
    """What another sweep, `source`, says of each run: a column. It saw no seed of the runs of `unseen_R`."""

    source: str
    score_R: Floats
    unseen_R: Bools

    @property
    def column(self) -> str:
        """The name of the column."""
        return f"rank by {self.source}"

    def beside(self, cases: Cases) -> Cases:
        """The cases with the column."""
        return replace(cases, statistics=cases.statistics.beside(Features((self.column,), self.score_R[:, None])))


def from_own_sweep(
    draft: ForecastDraft, fraction: float, asked_R: Bools, prior: Prior | None = None
) -> Iterator[WindowSource]:
    """Forecasts these runs from one window; what they rest on, for each step at which runs stand.

    With a `prior`, a run keeps what it has where its own sweep cannot tell.
    """
    if not asked_R.any():
        return
    window, risk_step_R = draft.history.window(fraction), _risk_steps(draft.history, fraction)
    cases = cases_of(window)
    for risk_step in np.unique(risk_step_R[asked_R]).tolist():
        source = _from_risk_step(draft, window, cases, risk_step, asked_R & (risk_step_R == risk_step), prior)
        if source is not None:
            yield source


def _from_risk_step(
    draft: ForecastDraft, window: Window, cases: Cases, risk_step: int, asked_R: Bools, prior: Prior | None
) -> WindowSource | None:
    history, outcomes, fraction = draft.history, draft.outcomes, window.fraction
    use_R = np.ones(len(history.runs), dtype=bool) if prior is None else prior.unseen_R
    everyone = TrainingSet.of(history, outcomes, risk_step, use_R, draft.copies_R)
    quality, problem = Estimate(np.nan), everyone.problem
    try:
        folds = [Fold(fold.train_R & use_R, fold.test_R) for fold in draft.folds]
    except ValueError as error:
        folds, problem = [], problem or str(error)
    if problem and prior is not None:
        return None
    if problem:
        draft.refuse(asked_R, fraction, problem)
    else:
        asked_R = _of_finished_tasks(draft, everyone, asked_R, fraction, prior)
        cases, name = (cases, "") if prior is None else (prior.beside(cases), prior.column)
        models = list(fold_models(history, outcomes, cases, risk_step, folds, draft.copies_R, name))
        for fold_model in models:
            test_R = asked_R & fold_model.fold.test_R
            if fold_model.model is not None:
                draft.put(fold_model.model, cases, test_R, fraction)
            elif prior is None:
                draft.refuse(test_R, fraction, f"without its own seeds: {fold_model.problem}")
        quality = auroc_on_unseen_seeds(everyone, cases, models, draft.weight_BR)
    counts, source = (risk_step, everyone.num_finished, everyone.num_converged), "" if prior is None else prior.source
    return WindowSource(fraction, window.last_step, *counts, quality, window.extra_compute, prior=source)


def _of_finished_tasks(
    draft: ForecastDraft, everyone: TrainingSet, asked_R: Bools, fraction: float, prior: Prior | None
) -> Bools:
    """(R,) the asked runs of a task and model of which a run has finished; without a prior the others are refused."""
    what_R = np.array([task_and_model(run) for run in draft.history.runs], dtype=np.str_)
    is_finished_R = np.isin(what_R, what_R[everyone.finished_R])
    for what in np.unique(what_R[asked_R & ~is_finished_R]).tolist() if prior is None else ():
        problem = f"no forecast: no run of {what} has finished, and what others show need not carry over to it"
        draft.refuse(asked_R & (what_R == what), fraction, problem)
    return asked_R & is_finished_R


def _risk_steps(history: History, fraction: float) -> Ints:
    """(R,) where each run stands, rounded down to RISK_SHARE of the budget, and at least the end of the window."""
    last_step, share = history.window_step(fraction), RISK_SHARE * history.budget
    standing_R = np.array([end.step for end in history.ends], dtype=np.float64)
    return np.maximum(last_step, np.floor(np.floor(standing_R / share + 1e-9) * share)).astype(np.int64)
