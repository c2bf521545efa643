"""Forecasts by another sweep: probabilities and ranks where they carry over, and a sentence where they need not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from analysis.forecasting.evaluation import cases_of
from analysis.forecasting.fitted import FittedForecasts, FittedWindow, task_and_model, task_and_model_text
from analysis.forecasting.own_sweep import Prior, from_own_sweep
from analysis.forecasting.ranking import FEWEST_OF_SETTING, in_window, places_in_setting, relative
from analysis.forecasting.run_forecasts import SEEN_SEED, ForecastDraft, WindowSource
from analysis.outcomes.outcomes import Outcomes
from analysis.predictors.base import Cases
from analysis.predictors.encoding import encoded
from analysis.predictors.features import Features
from pipeline.arrays import Bools
from pipeline.store.history import History

# The least share of columns that go together here as they did where they were learned from.
LEAST_AGREEMENT = 0.75
# Of fewer runs that share says little.
FEWEST_TO_COMPARE = 50


def from_other_sweep(
    draft: ForecastDraft, training: FittedForecasts, fitted: FittedWindow, asked_R: Bools, any_task: bool
) -> Iterator[WindowSource]:
    """Forecasts these runs from one window, and what they rest on.

    Runs of another task or model are refused, and all of them where the columns go together otherwise than they did in
    training: with `any_task` both are ranked all the same. Runs under the same budget and criterion get probabilities.
    Runs of settings that were not learned from are ranked inside their setting; once enough runs of this sweep have
    finished, these ranks are a column beside the others, and probabilities are learned here.
    """
    history, fraction = draft.history, fitted.fraction
    seen_R = np.array([training.has_seed_of(run) for run in history.runs], dtype=bool)
    draft.refuse(asked_R & seen_R, fraction, SEEN_SEED)
    what_R = np.array([task_and_model(run) for run in history.runs], dtype=np.str_)
    foreign_R = what_R != _there(training)
    asked_R = asked_R & ~seen_R
    if not any_task:
        for what in np.unique(what_R[asked_R & foreign_R]).tolist():
            draft.refuse(asked_R & (what_R == what), fraction, _other_task(training, what))
        asked_R = asked_R & ~foreign_R
    if not asked_R.any():
        return
    if fitted.model is None:
        draft.refuse(asked_R, fraction, fitted.problem)
        return
    cases = cases_of(history.window(fraction))
    columns = _relative_columns(draft, fitted, cases)
    if not any_task and (problem := _disagreement(training, fitted, columns)):
        draft.refuse(asked_R, fraction, problem)
        return
    differs = other_question(history, draft.outcomes, training)
    probable_R = asked_R & ~foreign_R if not differs else np.zeros_like(asked_R)
    if probable_R.any():
        encoded_cases = replace(cases, hyperparameters=encoded(history.runs, training.encodings))
        draft.put(fitted.model, encoded_cases, probable_R, fraction)
        yield _source(history, fitted, is_ranking=False)
    is_known_R = np.array([run.setting_id in training.setting_ids for run in history.runs], dtype=bool)
    others_R = asked_R & ~(is_known_R & probable_R)
    if others_R.any():
        yield from _ranked(draft, training, fitted, columns, others_R, differs)
        yield from _adapted(draft, training, fitted, columns, others_R & ~foreign_R, ~seen_R)


def other_question(history: History, outcomes: Outcomes, training: FittedForecasts) -> tuple[str, ...]:
    """Why probabilities of the source do not apply here, as `budget 1000, here 2000`; empty where they do."""
    pairs = (("budget", training.budget, history.budget), ("criterion", training.criterion, outcomes.criterion))
    return tuple(f"{what} {there}, here {here}" for what, there, here in pairs if there != here)


def _there(training: FittedForecasts) -> str:
    return task_and_model_text(training.task, training.model)


def _other_task(training: FittedForecasts, here: str) -> str:
    return f"no forecast: learned from {_there(training)}, and what it shows need not carry over to {here}"


def _relative_columns(draft: ForecastDraft, fitted: FittedWindow, cases: Cases) -> Features:
    use_R = in_window(draft.history, draft.outcomes, draft.history.window_step(fitted.fraction))
    columns = relative(cases.statistics, cases.setting_R, use_R)
    return replace(columns, values_RF=np.where(use_R[:, None], columns.values_RF, np.nan))


def _has_units(columns: Features) -> Bools:
    """(R,) True for the runs that can be compared with others of their setting."""
    return np.asarray(np.isfinite(columns.values_RF).any(axis=1))


def _disagreement(training: FittedForecasts, fitted: FittedWindow, columns: Features) -> str:
    """Why the ranks of this source mean nothing here; empty where they do, and where there are too few runs to say."""
    use_R = _has_units(columns)
    if fitted.ranking is None or use_R.sum() < FEWEST_TO_COMPARE:
        return ""
    agreement = fitted.ranking.agreement(columns.rows(use_R))
    if agreement >= LEAST_AGREEMENT:
        return ""
    return (
        f"no forecast: of what goes with early convergence in {training.source}, {agreement:.0%} goes together here as "
        f"it does there, and a forecast needs {LEAST_AGREEMENT:.0%}"
    )


def _ranked(
    draft: ForecastDraft,
    training: FittedForecasts,
    fitted: FittedWindow,
    columns: Features,
    asked_R: Bools,
    differs: tuple[str, ...],
) -> Iterator[WindowSource]:
    history, use_R = draft.history, _has_units(columns)
    problem = f"{training.source} has no setting with {FEWEST_OF_SETTING} finished runs to learn ranks from"
    if fitted.ranking is not None:
        problem = f"its setting has fewer than {FEWEST_OF_SETTING} runs to compare it with"
    alone_R = asked_R & ~(use_R if fitted.ranking is not None else np.zeros_like(use_R))
    without_R = np.array([r in draft.found and np.isnan(draft.found[r].converged) for r in range(len(asked_R))])
    draft.refuse(alone_R & without_R, fitted.fraction, f"no forecast: {problem}")
    if fitted.ranking is None or not (asked_R & use_R).any():
        return
    place_R, number_R = places_in_setting(
        np.where(use_R, fitted.ranking.earliness_R(columns), -np.inf),
        np.array([run.setting_id for run in history.runs], dtype=np.str_),
        use_R,
    )
    why = "; ".join((f"learned from {_there(training)}", *differs))
    draft.put_ranks(place_R, number_R, asked_R & use_R, fitted.fraction, f"ranked only: {why}")
    yield _source(history, fitted, is_ranking=True)


def _adapted(
    draft: ForecastDraft,
    training: FittedForecasts,
    fitted: FittedWindow,
    columns: Features,
    asked_R: Bools,
    unseen_R: Bools,
) -> Iterator[WindowSource]:
    if fitted.ranking is None or not asked_R.any():
        return
    score_R = np.where(_has_units(columns), fitted.ranking.earliness_R(columns), np.nan)
    yield from from_own_sweep(draft, fitted.fraction, asked_R, Prior(training.source, score_R, unseen_R))


def _source(history: History, fitted: FittedWindow, is_ranking: bool) -> WindowSource:
    last_step = history.window_step(fitted.fraction)
    return WindowSource(
        fitted.fraction,
        last_step,
        last_step,
        fitted.num_finished,
        fitted.num_converged,
        fitted.auroc_ranking if is_ranking else fitted.auroc_within,
        history.window(fitted.fraction).extra_compute,
        is_ranking,
    )
