"""Forecasts of the runs that still train, each from the largest window that it has covered."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from analysis.forecasting.evaluation import windows_of
from analysis.forecasting.fitted import FittedForecasts
from analysis.forecasting.notes import notes_on, notes_on_own_sweep
from analysis.forecasting.own_sweep import from_own_sweep
from analysis.forecasting.run_forecasts import TOO_EARLY, ForecastDraft, RunForecast, RunForecasts, WindowSource
from analysis.forecasting.transfer import from_other_sweep
from analysis.outcomes.outcomes import CENSORED, Outcomes
from analysis.outcomes.settings import setting_labels
from pipeline.arrays import Floats
from pipeline.store.history import History


def forecast_running(
    history: History,
    outcomes: Outcomes,
    training: FittedForecasts | None = None,
    windows: Sequence[float] | None = None,
    *,
    any_task: bool = False,
    copies_R: Floats | None = None,
    seed: int = 0,
    bootstrap: int = 1000,
) -> RunForecasts:
    """A forecast of every run that has neither converged nor diverged nor ended, in the order of the history.

    A run is forecast from the largest window that it has covered; `windows` default to `windows_of(history)`.
    Without `training` the finished runs of its own sweep are learned from, by folds, so that no run is forecast by runs
    that share a seed with it. Only those count that had no outcome where the run stands now (rounded down to RISK_SHARE
    of the budget), since it has none either. `copies_R` says how many runs each run stands for where a rule stopped
    some (see `stopping_weights`).
    With `training` (see `fit_forecasts`) its windows are used, and forecasts are conditioned on the run's not having
    converged by where it stands. A run with a seed of a run that was learned from gets no forecast, and one of another
    task or model none but a rank with `any_task` (see `from_other_sweep`).
    Raises ValueError where `training` learned from columns that this history lacks.
    """
    running_R = (outcomes.kind_R == CENSORED) & np.array([end.reason == "running" for end in history.ends], dtype=bool)
    own = windows_of(history) if windows is None else windows
    fractions = sorted(own) if training is None else [window.fraction for window in training.windows]
    covered_R = _covered(history, fractions)
    labels = setting_labels(history)
    found = {
        int(r): RunForecast(
            history.runs[r].run_id, labels[history.runs[r].setting_id], history.ends[r].step, problem=TOO_EARLY
        )
        for r in np.flatnonzero(running_R)
    }
    draft = ForecastDraft(history, outcomes, found, copies_R, seed, bootstrap)
    sources: list[WindowSource] = []
    for number, fraction in enumerate(fractions):
        asked_R = running_R & (covered_R == number)
        if training is None:
            sources += from_own_sweep(draft, fraction, asked_R)
        elif asked_R.any():
            sources += from_other_sweep(draft, training, training.windows[number], asked_R, any_task)
    name = history.name if training is None else training.source
    notes = notes_on_own_sweep(draft) if training is None else notes_on(draft, training)
    return RunForecasts(history.name, history.budget, name, tuple(found.values()), tuple(sources), notes)


def _covered(history: History, fractions: Sequence[float]) -> np.ndarray:
    """(R,) place of the largest window whose last step the run has reached; -1 of none.

    A run that has not begun has reached step 0 if something was measured of it there, such as its twin.
    """
    last_steps = [history.window_step(fraction) for fraction in fractions]
    is_begun_R = np.array([end.step > 0 for end in history.ends], dtype=bool)
    for array in history.window(0.0).values.values():
        is_begun_R |= np.isfinite(array).any(axis=1)
    covered = [
        sum(last <= end.step for last in last_steps if is_begun) - 1
        for end, is_begun in zip(history.ends, is_begun_R.tolist(), strict=True)
    ]
    return np.array(covered, dtype=np.int64)
