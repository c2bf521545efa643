"""A fitted forecaster of a sweep, window by window, with how good it was on runs whose seeds it had not seen."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from analysis.forecasting.evaluation import cases_of, pair_groups, windows_of
from analysis.forecasting.folds import Fold, held_out_seeds
from analysis.forecasting.ranking import Ranking, in_window, ranking_auroc, relative
from analysis.forecasting.scoring.unseen_auroc import unseen_auroc
from analysis.forecasting.window_model import TrainingSet, WindowModel
from analysis.outcomes.outcomes import Outcomes
from analysis.outcomes.subsets import some_runs
from analysis.predictors.base import Cases, Targets
from analysis.predictors.encoding import HyperparameterEncoding, encodings_of
from analysis.uncertainty.dependence import shares_a_seed
from analysis.uncertainty.intervals import Estimate
from analysis.uncertainty.resampling import resample
from pipeline.arrays import Array, Floats
from pipeline.long_loops import loop_over
from pipeline.spec.criterion import Criterion
from pipeline.store.history import History, RunInfo


@dataclass(frozen=True)
class FittedWindow:
    """One window: the runs that were learned from, the AUROC between unseen seeds of one setting, and the model.

    `model` is None where `problem` says, in a sentence, why nothing could be fitted. `ranking` ranks runs inside other
    settings, with an AUROC of `auroc_ranking` between unseen seeds; None where no setting has enough runs.
    """

    fraction: float
    last_step: int
    num_finished: int
    num_converged: int
    auroc_within: Estimate
    problem: str
    model: WindowModel | None
    ranking: Ranking | None
    auroc_ranking: Estimate


@dataclass(frozen=True)
class FittedForecasts:
    """A forecaster for other sweeps of the same task and model. `runs_hash` is of the run ids of `source`.

    `init_seeds` and `data_seeds` are those of all its runs that it may have learned from: no run with one of them is
    forecast. `num_left_out` runs were not learned from, since they share a seed with the runs to forecast.
    `setting_ids` are the settings that it may have learned from.
    """

    source: str
    task: str
    model: str
    criterion: Criterion
    budget: int
    runs_hash: str
    init_seeds: tuple[int, ...]
    data_seeds: tuple[int, ...]
    num_left_out: int
    setting_ids: tuple[str, ...]
    encodings: tuple[HyperparameterEncoding, ...]
    windows: tuple[FittedWindow, ...]

    def has_seed_of(self, run: RunInfo) -> bool:
        """Whether the run has a seed of a run that was learned from."""
        return run.init_seed in self.init_seeds or run.data_seed in self.data_seeds


@dataclass(frozen=True)
class FoldModel:
    """The model for the runs that a fold holds out, fitted to the others; None where `problem` says why not."""

    fold: Fold
    problem: str
    model: WindowModel | None


def fit_forecasts(
    history: History,
    outcomes: Outcomes,
    windows: Sequence[float] | None = None,
    *,
    unseen_by: Sequence[RunInfo] = (),
    copies_R: Floats | None = None,
    seed: int = 0,
    bootstrap: int = 1000,
) -> FittedForecasts:
    """Fitted to every finished run at risk; runs that still train count in the censoring weights.

    `windows` default to `windows_of(history)`. Runs that share a seed with those of `unseen_by` are left out.
    `copies_R` says how many runs each run stands for where a rule stopped some (see `stopping_weights`).
    """
    left_out_R = shares_a_seed(history.runs, unseen_by)
    if left_out_R.any():
        history, outcomes = some_runs(history, ~left_out_R), outcomes.rows(~left_out_R)
        copies_R = None if copies_R is None else copies_R[~left_out_R]
    fractions = sorted(windows_of(history) if windows is None else windows)
    encodings = encodings_of(history.runs, history.varied)
    return FittedForecasts(
        history.name,
        values_text(history, "task.name"),
        values_text(history, "model.name"),
        outcomes.criterion,
        history.budget,
        hash_of_runs(history.runs),
        tuple(sorted({run.init_seed for run in history.runs})),
        tuple(sorted({run.data_seed for run in history.runs})),
        int(left_out_R.sum()),
        tuple(sorted({run.setting_id for run in history.runs})),
        encodings,
        tuple(
            _fit_window(history, outcomes, fraction, copies_R, seed, bootstrap)
            for fraction in loop_over(f"fitting forecasts to {len(history.runs):,} runs", fractions)
        ),
    )


def hash_of_runs(runs: Sequence[RunInfo]) -> str:
    """SHA-256 of the sorted run ids, one a line."""
    return hashlib.sha256("\n".join(sorted(run.run_id for run in runs)).encode()).hexdigest()


def fold_models(
    history: History,
    outcomes: Outcomes,
    cases: Cases,
    last_step: int,
    folds: Sequence[Fold],
    copies_R: Floats | None = None,
    prior: str = "",
) -> Iterator[FoldModel]:
    """For each fold, the model fitted to its training half alone, of which nothing in the test half moves a bit.

    `prior` names the column that says what another sweep makes of these runs, if there is one.
    """
    for fold in folds:
        training = TrainingSet.of(history, outcomes, last_step, fold.train_R, copies_R)
        fitted = None if training.problem else WindowModel.fit(cases, training, history.budget, last_step, prior)
        yield FoldModel(fold, training.problem, fitted)


def auroc_on_unseen_seeds(
    everyone: TrainingSet, cases: Cases, models: Sequence[FoldModel], weight_BR: Array
) -> Estimate:
    """AUROC between finished runs of one setting and fold, each forecast by a model that has not seen its seeds.

    `everyone` are all runs that can be learned from, which count by their weights. NaN without a pair; no interval
    under FEWEST_PAIRS pairs.
    """
    probability_R, fold_R = np.full(len(cases), np.nan), np.full(len(cases), -1)
    for number, fold_model in enumerate(models):
        test_R = fold_model.fold.test_R & everyone.finished_R
        if fold_model.model is not None and test_R.any():
            probability_R[test_R] = fold_model.model.forecast(cases.rows(test_R)).converged_R
            fold_R[test_R] = number
    within_R = np.where(fold_R >= 0, pair_groups(cases.setting_R, fold_R), -1)
    return unseen_auroc(everyone, probability_R, within_R, weight_BR)


def _fit_window(
    history: History, outcomes: Outcomes, fraction: float, copies_R: Floats | None, seed: int, bootstrap: int
) -> FittedWindow:
    window = history.window(fraction)
    training = TrainingSet.of(history, outcomes, window.last_step, np.ones(len(history.runs), dtype=bool), copies_R)
    counts = (fraction, window.last_step, training.num_finished, training.num_converged)
    unknown = Estimate(np.nan)
    if training.problem:
        return FittedWindow(*counts, unknown, training.problem, None, None, unknown)
    cases = cases_of(window)
    fitted = WindowModel.fit(cases, training, history.budget, window.last_step)
    columns = relative(cases.statistics, cases.setting_R, in_window(history, outcomes, window.last_step))
    use_R = training.finished_R
    targets = Targets.of(outcomes, history.budget, use_R)
    ranking = Ranking.fit(cases.rows(use_R), targets, training.weight_R[use_R], columns.rows(use_R))
    try:
        folds = held_out_seeds(history.runs, seed=seed).folds
    except ValueError:
        return FittedWindow(*counts, unknown, "", fitted, ranking, unknown)
    models = list(fold_models(history, outcomes, cases, window.last_step, folds, copies_R))
    weight_BR = resample(history.runs, bootstrap, seed).counts_with_estimate
    quality = auroc_on_unseen_seeds(training, cases, models, weight_BR)
    of_ranks = ranking_auroc(cases, columns, training, folds, history.budget, weight_BR)
    return FittedWindow(*counts, quality, "", fitted, ranking, of_ranks)


def task_and_model(run: RunInfo) -> str:
    """What a run trains on what, as `task modular_addition with model transformer`."""
    return task_and_model_text(str(run.hyperparameters.get("task.name")), str(run.hyperparameters.get("model.name")))


def task_and_model_text(task: str, model: str) -> str:
    """The same of names."""
    return f"task {task} with model {model}"


def values_text(history: History, path: str) -> str:
    """The values of a hyperparameter in the sweep, sorted, as text."""
    return ", ".join(sorted({str(run.hyperparameters.get(path)) for run in history.runs}))
