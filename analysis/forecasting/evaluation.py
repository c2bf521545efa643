"""Cross-validated evaluation of predictors: forecasts from early windows on held-out seeds, and their scores."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from analysis.forecasting.folds import Folds, held_out_seeds
from analysis.forecasting.score_table import ForecastScores, score_forecasts
from analysis.forecasting.scores import num_pairs
from analysis.outcomes.outcomes import CENSORED, CONVERGED, DIVERGED, Outcomes, at_risk, has_started
from analysis.outcomes.settings import setting_R
from analysis.predictors.base import PREDICTORS, Cases, Predictor, Targets
from analysis.predictors.encoding import HyperparameterEncoding, encoded, hyperparameters_RF
from analysis.predictors.features import statistics_RF
from analysis.statistics.base import Statistic
from analysis.uncertainty.resampling import resample
from pipeline.arrays import Bools, Floats, Ints
from pipeline.store.history import History, Window

# Of histories that declare none.
WINDOWS = (0.05, 0.1, 0.25, 0.5)
PRIMARY = "ridge_time"


@dataclass(frozen=True)
class WindowEvaluation:
    """All predictors at one window, on the same runs: those at risk at its end.

    `scored_R` marks them in the sweep; `converged_N`, and each forecast `probability_N` of converging, run over them.
    `problem` says why nothing is scored, and is empty otherwise: some of the `num_at_risk` runs are censored
    (`num_censored`), or nothing was recorded of any. Then no run is scored and every score is NaN. Forks made at the
    window's end or later are not at risk (`num_not_started`). A setting is mixed when it has both outcomes among the
    scored. `num_unscored_folds` counts folds with nothing to train on.
    """

    fraction: float
    last_step: int
    num_at_risk: int
    num_censored: int
    num_not_started: int
    problem: str
    num_converged: int
    num_diverged: int
    num_settings: int
    num_mixed_settings: int
    pairs_pooled: int
    pairs_within: int
    num_unscored_folds: int
    scored_R: Bools
    converged_N: Bools
    probability_N: Mapping[str, Floats]
    scores: Mapping[str, ForecastScores]

    @property
    def num_scored(self) -> int:
        """Number of runs that every figure of this window is about."""
        return len(self.converged_N)

    @property
    def base_rate(self) -> float:
        """Share of the scored runs that converged; NaN of none."""
        return float(self.converged_N.mean()) if len(self.converged_N) else float("nan")


@dataclass(frozen=True)
class Evaluation:
    """Held-out forecasts and their scores, window by window.

    `held_out` says how runs were split, `shared` which streams were not, one sentence each; `unit` what the intervals
    resampled, in the plural. `reference` is the baseline of the Brier skill, fixed by the design of the sweep: the rate
    of the setting where every tested setting was trained on (new seeds), else hyperparameters_only (new settings).
    """

    windows: tuple[WindowEvaluation, ...]
    predictors: tuple[str, ...]
    held_out: str
    shared: tuple[str, ...]
    unit: str
    reference: str
    bootstrap: int


def windows_of(history: History) -> tuple[float, ...]:
    """Shares of the budget to forecast from: the declared windows, WINDOWS where there are none.

    The initialisation, window 0, is among them only if something besides label metrics was recorded there.
    """
    declared = tuple(share for share, _ in history.windows) or WINDOWS
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
) -> Evaluation:
    """Forecast every run at risk by predictors fitted on other seeds, and score the forecasts.

    `windows` default to `windows_of(history)`. `predictors` (default: every registered one) are fitted per window and
    fold, on at-risk runs with a known outcome. `statistics` default to every registered one. Deterministic in `seed`.
    Raises ValueError when the seeds leave no training run (see held_out_seeds), or a window is not in [0, 1].
    """
    chosen = {name: PREDICTORS[name]() for name in PREDICTORS} if predictors is None else dict(predictors)
    splits = held_out_seeds(history.runs, folds, seed)
    listed = None if statistics is None else list(statistics)
    resamples = resample(history.runs, bootstrap, seed)
    settings_recur = splits.settings_recur([run.setting_id for run in history.runs])
    reference = "setting_rate" if settings_recur else "hyperparameters_only"
    evaluated = tuple(
        _evaluate_window(
            history.window(fraction), outcomes, chosen, listed, splits, resamples.with_estimate(), reference
        )
        for fraction in (windows_of(history) if windows is None else windows)
    )
    return Evaluation(evaluated, tuple(chosen), splits.held_out, splits.shared, resamples.unit, reference, bootstrap)


def _evaluate_window(
    window: Window,
    outcomes: Outcomes,
    predictors: Mapping[str, Predictor],
    statistics: list[Statistic] | None,
    splits: Folds,
    weight_BR: Floats,
    reference: str,
) -> WindowEvaluation:
    started_R = has_started(window.runs, window.last_step)
    risk_R = at_risk(outcomes, window.last_step) & started_R
    problem = _problem(window, outcomes, risk_R)
    known_R = risk_R if not problem else np.zeros_like(risk_R)
    cases = cases_of(window, statistics)
    probability_by_predictor, fold_R = held_out_forecasts(cases, outcomes, window.budget, known_R, predictors, splits)
    scored_R = fold_R >= 0
    converged_N = outcomes.kind_R[scored_R] == CONVERGED
    within_N = pair_groups(cases.setting_R[scored_R], fold_R[scored_R])
    probability_N = {name: p_R[scored_R] for name, p_R in probability_by_predictor.items()}
    settings = cases.setting_R[scored_R]
    return WindowEvaluation(
        fraction=window.fraction,
        last_step=window.last_step,
        num_at_risk=int(risk_R.sum()),
        num_censored=int((risk_R & (outcomes.kind_R == CENSORED)).sum()),
        num_not_started=int((~started_R).sum()),
        problem=problem,
        num_converged=int(converged_N.sum()),
        num_diverged=int((outcomes.kind_R[scored_R] == DIVERGED).sum()),
        num_settings=len(np.unique(settings)),
        num_mixed_settings=sum(len(np.unique(converged_N[settings == s])) == 2 for s in np.unique(settings)),
        pairs_pooled=num_pairs(converged_N, fold_R[scored_R]),
        pairs_within=num_pairs(converged_N, within_N),
        num_unscored_folds=len(np.unique(_fold_R(splits)[known_R])) - len(np.unique(fold_R[scored_R])),
        scored_R=scored_R,
        converged_N=converged_N,
        probability_N=probability_N,
        scores=score_forecasts(
            probability_N, converged_N, fold_R[scored_R], within_N, weight_BR[:, scored_R], reference
        )
        if scored_R.any()
        else {name: ForecastScores.undefined() for name in predictors},
    )


def _problem(window: Window, outcomes: Outcomes, risk_R: Bools) -> str:
    """Why the runs at risk cannot be scored; empty where they can."""
    censored_R = risk_R & (outcomes.kind_R == CENSORED)
    if censored_R.any():
        # Who has an outcome already, or was not stopped, depends on the outcome.
        return (
            f"{censored_R.sum()} of {risk_R.sum()} runs at risk have no outcome yet or were stopped; those that have "
            "one are not a fair sample, so nothing is scored"
        )
    if risk_R.any() and all(np.all(np.isnan(array[risk_R])) for array in window.values.values()):
        return "nothing was recorded of the runs at risk in this window, so nothing is scored"
    return ""


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
    )


def held_out_forecasts(
    cases: Cases,
    outcomes: Outcomes,
    budget: int,
    known_R: Bools,
    predictors: Mapping[str, Predictor],
    splits: Folds,
) -> tuple[dict[str, Floats], Ints]:
    """P(converged) of each run by predictors fitted on the training half of its fold, and its fold.

    Both over all runs; NaN and -1 for runs outside `known_R` or in a fold without a training run.
    """
    probability = {name: np.full(len(cases), np.nan) for name in predictors}
    scored_fold_R = np.full(len(cases), -1)
    for number, fold in enumerate(splits.folds):
        train_R, test_R = fold.train_R & known_R, fold.test_R & known_R
        if not train_R.any() or not test_R.any():
            continue
        scored_fold_R[test_R] = number
        train, test = cases.rows(train_R), cases.rows(test_R)
        for name, predictor in predictors.items():
            fitted = predictor.fit(train, Targets.of(outcomes, budget, train_R))
            probability[name][test_R] = fitted.forecast(test).converged_R
    return probability, scored_fold_R


def pair_groups(setting_N: np.ndarray, fold_N: Ints) -> Ints:
    """(N,) number of the (setting, fold) of each run; only pairs of runs with the same number are compared."""
    setting_index_N = np.unique(setting_N, return_inverse=True)[1]
    return np.asarray(setting_index_N * (fold_N.max(initial=0) + 1) + fold_N, dtype=np.int64)


def _fold_R(splits: Folds) -> Ints:
    return np.asarray(np.argmax([fold.test_R for fold in splits.folds], axis=0), dtype=np.int64)
