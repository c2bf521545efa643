"""Forecasts of the runs that still train, as values: of each run, what they rest on, and all of them together."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from analysis.forecasting.censoring import watched_until
from analysis.forecasting.folds import Fold, held_out_seeds
from analysis.forecasting.window_model import WindowModel
from analysis.outcomes.outcomes import Outcomes
from analysis.predictors.base import Cases
from analysis.uncertainty.intervals import Estimate, json_safe, short
from analysis.uncertainty.resampling import resample
from pipeline.arrays import Array, Bools, Floats, Ints
from pipeline.store.history import History

TOO_EARLY = "too early"
SEEN_SEED = "a run with its init seed or data seed was learned from"


@dataclass(frozen=True)
class RunForecast:
    """What a window says of one run that still trains; NaN and no reasons where `problem` says why there is nothing.

    `step` is the last step that was committed, `window` the share of the budget that the forecast is from (NaN before
    the smallest). `median`, `low` and `high` (90%) are of the step of convergence, infinite where beyond the budget.
    `rank` is its place among the `num_ranked` runs of its setting, 1 for the one expected to converge first; both are 0
    where another sweep was not learned from, or its forecasts do not rank this setting.
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
    rank: int = 0
    num_ranked: int = 0
    reasons: tuple[str, ...] = ()
    problem: str = ""


@dataclass(frozen=True)
class WindowSource:
    """What forecasts from one window rest on: finished runs that had no outcome by `risk_step` either.

    `extra_compute` is what the window's metrics cost beyond training the runs, as a share of training a whole run.
    `is_ranking` says that runs were ranked inside their settings, `prior` names the sweep whose ranks were a column.
    """

    fraction: float
    last_step: int
    risk_step: int
    num_finished: int
    num_converged: int
    auroc_within: Estimate
    extra_compute: float = 0.0
    is_ranking: bool = False
    prior: str = ""

    def sentence(self) -> str:
        """Training runs, window, quality on unseen seeds, and what look-aheads cost; or that there are none yet."""
        head = f"window {self.fraction:g} (to step {self.last_step}): learned from"
        still = f" that had no outcome by step {self.risk_step}" if self.risk_step > self.last_step else ""
        beside = f", and from how {self.prior} ranks runs" * bool(self.prior)
        what = "ranks of runs inside their setting" if self.is_ranking else "forecasts"
        cost = f", with look-aheads that cost {self.extra_compute:.1%} of a run's training more" * bool(
            self.extra_compute
        )
        if not self.num_finished:
            return f"{head} no run yet"
        return (
            f"{head} {self.num_finished} finished runs{still}, {self.num_converged} converged{beside}; between unseen "
            f"seeds of one setting such {what} had an AUROC of {self.auroc_within.text()}{cost}"
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


@dataclass(frozen=True)
class ForecastDraft:
    """Forecasts in the making: `found` has one of every run in training, by its place in the history.

    `copies_R` says how many runs each run stands for where a rule stopped some (see `stopping_weights`). `seed` and
    `bootstrap` are those of folds and of the intervals around the quality of forecasts.
    """

    history: History
    outcomes: Outcomes
    found: dict[int, RunForecast]
    copies_R: Floats | None
    seed: int
    bootstrap: int

    @cached_property
    def folds(self) -> tuple[Fold, ...]:
        """Splits of the sweep in which training and test runs share no seed. Raises ValueError where there are none."""
        return held_out_seeds(self.history.runs, seed=self.seed).folds

    @cached_property
    def weight_BR(self) -> Array:
        """(1 + B, R) copies of each run in the sweep and in its resamples."""
        return resample(self.history.runs, self.bootstrap, self.seed).counts_with_estimate

    @cached_property
    def standing_R(self) -> Floats:
        """(R,) the steps up to which the runs are known to have no outcome."""
        return watched_until(self.history, self.outcomes)

    def refuse(self, asked_R: Bools, fraction: float, problem: str) -> None:
        """These runs have no forecast from this window, and why."""
        for r in np.flatnonzero(asked_R).tolist():
            run = self.found[r]
            self.found[r] = RunForecast(run.run_id, run.setting, run.step, fraction, problem=problem)

    def put(self, model: WindowModel, cases: Cases, asked_R: Bools, fraction: float) -> None:
        """Probabilities, times and reasons of these runs, known to have no outcome where they stand."""
        asked, standing = cases.rows(asked_R), self.standing_R[asked_R]
        if not len(asked):
            return
        forecast = model.forecast(asked, standing)
        steps_R3, reasons = model.steps_R3(forecast, standing), model.reasons(asked)
        for number, r in enumerate(np.flatnonzero(asked_R).tolist()):
            low, median, high = map(float, steps_R3[number])
            self.found[r] = replace(
                self.found[r],
                window=fraction,
                converged=float(forecast.converged_R[number]),
                diverged=float(forecast.diverged_R[number]),
                median=median,
                low=low,
                high=high,
                reasons=reasons[number],
                problem="",
            )

    def put_ranks(self, place_R: Ints, number_R: Ints, asked_R: Bools, fraction: float, only: str) -> None:
        """Ranks of these runs in their settings; who has no probability gets `only`, which says why."""
        for r in np.flatnonzero(asked_R).tolist():
            run = replace(self.found[r], window=fraction, rank=int(place_R[r]), num_ranked=int(number_R[r]))
            self.found[r] = replace(run, problem=only) if np.isnan(run.converged) else run


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
