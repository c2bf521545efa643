"""Cross-validated evaluation of predictors: forecasts from early windows on held-out seeds, and their scores."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from analysis.forecasting.censoring import RiskSet
from analysis.forecasting.folds import Folds, held_out_seeds
from analysis.forecasting.held_out import held_out_forecasts
from analysis.forecasting.scorable import scoring_note, scoring_problem
from analysis.forecasting.scoring.score_table import ForecastScores, score_sample
from analysis.forecasting.scoring.scores import CalibrationBin, calibration_bins, num_pairs
from analysis.outcomes.outcomes import CONVERGED, DIVERGED, Outcomes, has_started
from analysis.outcomes.settings import setting_R
from analysis.predictors.base import PREDICTORS, Cases, Predictor
from analysis.predictors.encoding import HyperparameterEncoding, encoded, hyperparameters_RF
from analysis.predictors.features import statistics_RF
from analysis.statistics.base import Statistic, column, own_statistics
from analysis.statistics.last_value import LastValue
from analysis.uncertainty.resampling import resample
from pipeline.arrays import Array, Bools, Floats, Ints
from pipeline.long_loops import long_loop, loop_over
from pipeline.store.history import History, Window

# Of histories that declare none.
WINDOWS = (0.05, 0.1, 0.25, 0.5)
PRIMARY = "ridge_time"
# Fits and scores, each a loop.
_STAGES = 2


@dataclass(frozen=True)
class WindowEvaluation:
    """All predictors at one window, on the same runs: those at risk at its end whose outcome is known.

    `scored_R` marks them in the sweep; `converged_N`, and each forecast `probability_N` of converging, run over them,
    and `weight_N` are the runs at risk that each stands for: 1 unless some of the `num_at_risk` are censored
    (`num_censored`) or runs were stopped. `note` then says in a sentence what is assumed. `problem` says why nothing is
    scored, and is empty otherwise: then every score is NaN. Forks made at the window's end or later are not at risk
    (`num_not_started`). A setting is mixed when it has both outcomes among the scored. `num_unscored_folds` counts
    folds with nothing to train on. `extra_compute` is what the window's metrics cost beyond training the runs, as a
    share of training a whole run.
    """

    fraction: float
    last_step: int
    num_at_risk: int
    num_censored: int
    num_not_started: int
    problem: str
    note: str
    num_converged: int
    num_diverged: int
    num_settings: int
    num_mixed_settings: int
    pairs_pooled: int
    pairs_within: int
    num_unscored_folds: int
    scored_R: Bools
    converged_N: Bools
    weight_N: Floats
    probability_N: Mapping[str, Floats]
    scores: Mapping[str, ForecastScores]
    extra_compute: float = 0.0

    @property
    def num_scored(self) -> int:
        """Number of runs that every figure of this window is about."""
        return len(self.converged_N)

    @property
    def has_both(self) -> bool:
        """Whether some of the scored runs converged and some did not; else there is nothing to tell apart."""
        return 0 < self.num_converged < self.num_scored

    @property
    def base_rate(self) -> float:
        """Share of the scored runs that converged, by their weights; NaN of none."""
        return float(np.average(self.converged_N, weights=self.weight_N)) if len(self.converged_N) else float("nan")

    def calibration(self, predictor: str) -> tuple[CalibrationBin, ...]:
        """Share that converged against the forecasts of a predictor, in bins; none where it was not scored."""
        return calibration_bins(self.probability_N[predictor], self.converged_N, self.weight_N)


@dataclass(frozen=True)
class Evaluation:
    """Held-out forecasts and their scores, window by window.

    `held_out` says how runs were split, `shared` which streams were not, one sentence each; `unit` what the intervals
    resampled, in the plural. `reference` is the baseline of the Brier skill, fixed by the design of the sweep: the rate
    of the setting where every tested setting was trained on (new seeds), else hyperparameters_only (new settings).
    `fold_R` is the number of the fold that each run is held out in; `own_statistics` says which of the user's own are
    among those that predictors were given, and is empty without any.
    """

    windows: tuple[WindowEvaluation, ...]
    predictors: tuple[str, ...]
    held_out: str
    shared: tuple[str, ...]
    unit: str
    reference: str
    bootstrap: int
    fold_R: Ints
    own_statistics: str = ""

    @property
    def notes(self) -> tuple[str, ...]:
        """Clauses to be printed: which streams were shared, and which statistics of the user's own were used."""
        return (*self.shared, self.own_statistics) if self.own_statistics else self.shared


def windows_of(history: History) -> tuple[float, ...]:
    """Shares of the budget to forecast from: the declared windows; where there are none, WINDOWS, and 0 after twins.

    The initialisation, window 0, is among them only if something besides label metrics was recorded there.
    """
    declared = tuple(share for share, _ in history.windows)
    declared = declared or ((0.0, *WINDOWS) if 0 in history.extra_compute else WINDOWS)
    at_init = history.window(0.0).values.values()
    is_recorded = any(not np.all(np.isnan(array)) for array in at_init)
    return tuple(share for share in declared if share > 0 or is_recorded)


def evaluate(
    history: History,
    outcomes: Outcomes,
    windows: Sequence[float] | None = None,
    predictors: Mapping[str, Predictor] | None = None,
    statistics: Iterable[Statistic] | None = None,
    *,
    seed: int = 0,
    folds: int = 5,
    bootstrap: int = 1000,
    copies_R: Floats | None = None,
    splits: Folds | None = None,
) -> Evaluation:
    """Forecast every run at risk by predictors fitted on other seeds, and score the forecasts.

    `windows` default to `windows_of(history)`. `predictors` (default: the registered ones that are not slow) are fitted
    per window and fold, on at-risk runs with a known outcome. `statistics` default to every registered one. `splits`
    default to `held_out_seeds(history.runs, folds, seed)`; others must share no seed between the halves of a fold.
    Deterministic in `seed`.

    Runs that still train are censored: the others at risk are weighted by the inverse probability of having been
    watched as long (see `RiskSet`), in fitting and in scoring. Runs that a rule stopped by their losses are another
    matter: `copies_R` then says how many runs each run stands for by the rule's control share, 0 of the stopped ones;
    without it a window at which such runs were at risk is not scored.
    Raises ValueError when the seeds leave no training run (see held_out_seeds), or a window is not in [0, 1].
    """
    quick = {name: predictor() for name, predictor in PREDICTORS.items() if not predictor.is_slow}
    chosen = quick if predictors is None else dict(predictors)
    splits = held_out_seeds(history.runs, folds, seed) if splits is None else splits
    listed = None if statistics is None else list(statistics)
    resamples = resample(history.runs, bootstrap, seed)
    settings_recur = splits.settings_recur([run.setting_id for run in history.runs])
    reference = "setting_rate" if settings_recur else "hyperparameters_only"
    evaluated = []
    what = f"forecasting {len(history.runs):,} runs, each by models that saw none of its seeds"
    for fraction in loop_over(what, windows_of(history) if windows is None else windows):
        with long_loop(what, _STAGES, by_inner=True):
            evaluated.append(_evaluate_window(
                history, fraction, outcomes, chosen, listed, splits, resamples.counts_with_estimate, reference, copies_R
            ))  # fmt: skip
    return Evaluation(
        tuple(evaluated), tuple(chosen), splits.held_out, splits.shared, resamples.unit, reference, bootstrap,
        _fold_R(splits), own_statistics() if statistics is None else "",
    )  # fmt: skip


def _evaluate_window(
    history: History,
    fraction: float,
    outcomes: Outcomes,
    predictors: Mapping[str, Predictor],
    statistics: list[Statistic] | None,
    splits: Folds,
    weight_BR: Array,
    reference: str,
    copies_R: Floats | None,
) -> WindowEvaluation:
    window = history.window(fraction)
    started_R = has_started(window.runs, window.last_step)
    risk = RiskSet.of(history, outcomes, window.last_step, np.ones(len(started_R), dtype=bool), copies_R)
    problem = scoring_problem(history, window, outcomes, risk)
    asked_R = risk.scorable_R if not problem else np.zeros_like(started_R)
    cases = cases_of(window, statistics)
    sample = held_out_forecasts(cases, history, outcomes, window.last_step, asked_R, copies_R, predictors, splits)
    scored_R = (sample.fold_R >= 0) & risk.known_R
    kind_N, settings, fold_N = outcomes.kind_R[scored_R], cases.setting_R[scored_R], sample.fold_R[scored_R]
    converged_N = kind_N == CONVERGED
    num_tested = len(np.unique(_fold_R(splits)[asked_R & risk.known_R]))
    within_R = pair_groups(cases.setting_R, sample.fold_R)
    return WindowEvaluation(
        fraction=window.fraction,
        last_step=window.last_step,
        num_at_risk=int(risk.risk_R.sum()),
        num_censored=risk.num_censored,
        num_not_started=int((~started_R).sum()),
        problem=problem,
        note="" if problem else scoring_note(history, outcomes, risk),
        num_converged=int(converged_N.sum()),
        num_diverged=int((kind_N == DIVERGED).sum()),
        num_settings=len(np.unique(settings)),
        num_mixed_settings=len(np.intersect1d(settings[converged_N], settings[~converged_N])),
        pairs_pooled=num_pairs(converged_N, fold_N),
        pairs_within=num_pairs(converged_N, within_R[scored_R]),
        num_unscored_folds=num_tested - len(np.unique(fold_N)),
        scored_R=scored_R,
        converged_N=converged_N,
        weight_N=risk.weight_R[scored_R],
        probability_N={name: found.converged_R[scored_R] for name, found in sample.forecasts.items()},
        scores=score_sample(sample, outcomes, risk, within_R, weight_BR, reference, history.budget)
        if scored_R.any()
        else {name: ForecastScores.undefined() for name in predictors},
        extra_compute=window.extra_compute,
    )


def cases_of(
    window: Window,
    statistics: Iterable[Statistic] | None = None,
    encodings: Iterable[HyperparameterEncoding] | None = None,
) -> Cases:
    """The cases of `window`, one per run of the sweep, in its order.

    `statistics` default to every registered one; `encodings` of hyperparameters to what this sweep's own values
    suggest. Raises ValueError for a hyperparameter that given encodings have no number for.
    """
    return Cases(
        setting_R(window.runs),
        np.array([run.init_seed for run in window.runs], dtype=np.int64),
        hyperparameters_RF(window.runs, window.varied) if encodings is None else encoded(window.runs, encodings),
        statistics_RF(window, statistics),
        frozenset(column(LastValue.name, reading) for reading in window.readings),
    )


def pair_groups(setting_N: np.ndarray, fold_N: Ints) -> Ints:
    """(N,) number of the (setting, fold) of each run; only pairs of runs with the same number are compared."""
    setting_index_N = np.unique(setting_N, return_inverse=True)[1]
    return np.asarray(setting_index_N * (fold_N.max(initial=0) + 1) + fold_N, dtype=np.int64)


def _fold_R(splits: Folds) -> Ints:
    return np.asarray(np.argmax([fold.test_R for fold in splits.folds], axis=0), dtype=np.int64)
