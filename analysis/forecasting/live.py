"""Forecasts of the runs that still train, each from the largest window that it has covered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from analysis.forecasting.censoring import watched_until
from analysis.forecasting.evaluation import cases_of, windows_of
from analysis.forecasting.fitted import FittedForecasts, FittedWindow, auroc_on_unseen_seeds, fold_models
from analysis.forecasting.folds import Fold, held_out_seeds
from analysis.forecasting.notes import notes_on, notes_on_own_sweep
from analysis.forecasting.window_model import TrainingSet, WindowModel
from analysis.outcomes.outcomes import CENSORED, Outcomes
from analysis.outcomes.settings import setting_labels
from analysis.predictors.base import Cases
from analysis.uncertainty.intervals import Estimate, json_safe, short
from analysis.uncertainty.resampling import resample
from pipeline.arrays import Bools, Floats, Ints
from pipeline.store.history import History, Window

TOO_EARLY = "too early"
SEEN_SEED = "a run with its init seed or data seed was learned from"
# Steps at which runs are compared with finished ones, as a share of the budget.
RISK_SHARE = 0.05


@dataclass(frozen=True)
class RunForecast:
    """What a window says of one run that still trains; NaN and no reasons where `problem` says why there is nothing.

    `step` is the last step that was committed, `window` the share of the budget that the forecast is from (NaN before
    the smallest). `median`, `low` and `high` (90%) are of the step of convergence, infinite where beyond the budget.
    """

    run_id: str
    setting: str
    step: int
    window: float = np.nan
    converged: float = np.nan
    diverged: float = np.nan
    median: float = np.nan
    low: float = np.nan
    high: float = np.nan
    reasons: tuple[str, ...] = ()
    problem: str = ""


@dataclass(frozen=True)
class WindowSource:
    """What forecasts from one window rest on: finished runs that had no outcome by `risk_step` either.

    `extra_compute` is what the window's metrics cost beyond training the runs, as a share of training a whole run.
    """

    fraction: float
    last_step: int
    risk_step: int
    num_finished: int
    num_converged: int
    auroc_within: Estimate
    extra_compute: float = 0.0

    def sentence(self) -> str:
        """Training runs, window, quality on unseen seeds, and what look-aheads cost."""
        still = f" that had no outcome by step {self.risk_step}" if self.risk_step > self.last_step else ""
        cost = f", with look-aheads that cost {self.extra_compute:.1%} of a run's training more" * bool(
            self.extra_compute
        )
        return (
            f"window {self.fraction:g} (to step {self.last_step}): learned from {self.num_finished} finished runs"
            f"{still}, {self.num_converged} converged; between unseen seeds of one setting such forecasts had an AUROC "
            f"of {self.auroc_within.text()}{cost}"
        )


@dataclass(frozen=True)
class RunForecasts:
    """Forecasts of all runs that still train, what they were learned from (`source`), and what each window rests on.

    `notes` are sentences on what makes them less trustworthy than their scores say.
    """

    sweep: str
    budget: int
    source: str
    runs: tuple[RunForecast, ...]
    windows: tuple[WindowSource, ...]
    notes: tuple[str, ...] = ()

    def sentences(self) -> tuple[str, ...]:
        """What the forecasts rest on: source, training runs and quality of each window, and what else to know."""
        return (f"learned from {self.source}", *(window.sentence() for window in self.windows), *self.notes)

    def to_json(self) -> dict[str, Any]:
        """Plain values; null where a number is undefined. Times beyond the budget are the text `beyond the budget`."""
        plain = json_safe(
            {
                "sweep": self.sweep,
                "budget": self.budget,
                "source": self.source,
                "runs": [_run_json(run) for run in self.runs],
                "notes": list(self.notes),
                "windows": [{**vars(w), "auroc_within": w.auroc_within.to_json()} for w in self.windows],
            }
        )
        assert isinstance(plain, dict)
        return plain


def forecast_running(
    history: History,
    outcomes: Outcomes,
    training: FittedForecasts | None = None,
    windows: Sequence[float] | None = None,
    *,
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
    converged by where it stands. A run with a seed of a run that was learned from gets no forecast.
    Raises ValueError where `training` has another budget or criterion, or learned from columns that this history lacks.
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
    if training is not None:
        _require_same_question(history, outcomes, training)
    sweep = _OwnSweep(history, outcomes, copies_R, seed, bootstrap)
    sources = []
    for number, fraction in enumerate(fractions):
        asked_R = running_R & (covered_R == number)
        if not asked_R.any():
            continue
        if training is not None:
            sources.append(_from_training(history, outcomes, training, training.windows[number], asked_R, found))
            continue
        risk_step_R = _risk_steps(history, fraction)
        window, cases = history.window(fraction), cases_of(history.window(fraction))
        for risk_step in np.unique(risk_step_R[asked_R]).tolist():
            sources.append(sweep.forecast(window, cases, risk_step, asked_R & (risk_step_R == risk_step), found))
    name = history.name if training is None else training.source
    forecast = [r for r, run in found.items() if not run.problem]
    notes = (
        notes_on_own_sweep(history, outcomes, copies_R, forecast) if training is None else notes_on(training, history)
    )
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


def _risk_steps(history: History, fraction: float) -> Ints:
    """(R,) where each run stands, rounded down to RISK_SHARE of the budget, and at least the end of the window."""
    last_step, share = history.window_step(fraction), RISK_SHARE * history.budget
    standing_R = np.array([end.step for end in history.ends], dtype=np.float64)
    return np.maximum(last_step, np.floor(np.floor(standing_R / share + 1e-9) * share)).astype(np.int64)


@dataclass(frozen=True)
class _OwnSweep:
    """A sweep whose finished runs forecast those in training."""

    history: History
    outcomes: Outcomes
    copies_R: Floats | None
    seed: int
    bootstrap: int

    @cached_property
    def _folds(self) -> tuple[Fold, ...]:
        return held_out_seeds(self.history.runs, seed=self.seed).folds

    @cached_property
    def _weight_BR(self) -> Floats:
        return resample(self.history.runs, self.bootstrap, self.seed).with_estimate()

    def forecast(
        self, window: Window, cases: Cases, risk_step: int, asked_R: Bools, found: dict[int, RunForecast]
    ) -> WindowSource:
        """Puts forecasts of the asked runs, which stand at `risk_step` or a little later, into `found`."""
        history, outcomes, fraction, copies_R = self.history, self.outcomes, window.fraction, self.copies_R
        everyone = TrainingSet.of(history, outcomes, risk_step, np.ones(len(history.runs), dtype=bool), copies_R)
        quality, problem = Estimate(np.nan), everyone.problem
        try:
            folds = self._folds
        except ValueError as error:
            folds, problem = (), problem or str(error)
        if problem:
            _refuse(asked_R, fraction, problem, found)
        else:
            models = list(fold_models(history, outcomes, cases, risk_step, folds, copies_R))
            for fold_model in models:
                test_R = asked_R & fold_model.fold.test_R
                if fold_model.model is None:
                    _refuse(test_R, fraction, f"without its own seeds: {fold_model.problem}", found)
                else:
                    _put(fold_model.model, cases, test_R, watched_until(history, outcomes), fraction, found)
            quality = auroc_on_unseen_seeds(everyone, cases, models, self._weight_BR)
        counts = (risk_step, everyone.num_finished, everyone.num_converged)
        return WindowSource(fraction, window.last_step, *counts, quality, window.extra_compute)


def _from_training(
    history: History,
    outcomes: Outcomes,
    training: FittedForecasts,
    fitted: FittedWindow,
    asked_R: Bools,
    found: dict[int, RunForecast],
) -> WindowSource:
    if fitted.model is None:
        _refuse(asked_R, fitted.fraction, fitted.problem, found)
    else:
        is_seen_R = asked_R & np.array([training.has_seed_of(run) for run in history.runs], dtype=bool)
        _refuse(is_seen_R, fitted.fraction, SEEN_SEED, found)
        cases = cases_of(history.window(fitted.fraction), encodings=training.encodings)
        _put(fitted.model, cases, asked_R & ~is_seen_R, watched_until(history, outcomes), fitted.fraction, found)
    return WindowSource(
        fitted.fraction,
        fitted.last_step,
        fitted.last_step,
        fitted.num_finished,
        fitted.num_converged,
        fitted.auroc_within,
        history.window(fitted.fraction).extra_compute,
    )


def _require_same_question(history: History, outcomes: Outcomes, training: FittedForecasts) -> None:
    for what, there, here in (
        ("budget", training.budget, history.budget),
        ("criterion", training.criterion, outcomes.criterion),
    ):
        if there != here:
            raise ValueError(f"{what}: the predictor learned of {there}, sweep {history.name!r} has {here}")


def _refuse(asked_R: Bools, fraction: float, problem: str, found: dict[int, RunForecast]) -> None:
    for r in np.flatnonzero(asked_R).tolist():
        found[r] = replace(found[r], window=fraction, problem=problem)


def _put(
    model: WindowModel,
    cases: Cases,
    asked_R: Bools,
    standing_R: Floats,
    fraction: float,
    found: dict[int, RunForecast],
) -> None:
    asked, standing = cases.rows(asked_R), standing_R[asked_R]
    if not len(asked):
        return
    forecast = model.forecast(asked, standing)
    steps_R3, reasons = model.steps_R3(forecast, standing), model.reasons(asked)
    for number, r in enumerate(np.flatnonzero(asked_R).tolist()):
        low, median, high = map(float, steps_R3[number])
        found[r] = replace(
            found[r],
            window=fraction,
            converged=float(forecast.converged_R[number]),
            diverged=float(forecast.diverged_R[number]),
            median=median,
            low=low,
            high=high,
            reasons=reasons[number],
            problem="",
        )


def time_text(forecast: RunForecast, budget: int) -> str:
    """`900 (700 to >1400)`: median and 90% interval of the step of convergence; empty where there is no forecast."""
    if np.isnan(forecast.median):
        return ""
    median, low, high = (
        f"{step:.0f}" if np.isfinite(step) else f">{budget}" for step in (forecast.median, forecast.low, forecast.high)
    )
    return f"{median} ({low} to {high})"


def probability_text(probability: float) -> str:
    """Two digits without the leading zero; empty where there is none."""
    return "" if np.isnan(probability) else short(probability)


def _run_json(run: RunForecast) -> dict[str, Any]:
    times = {name: getattr(run, name) for name in ("median", "low", "high")}
    return {
        **vars(run),
        **{name: "beyond the budget" if np.isinf(step) else step for name, step in times.items()},
        "problem": run.problem or None,
    }
