"""Scores of predictors that were fitted to the training half of a benchmark's task, on its test half."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields

import numpy as np

from analysis.benchmark.rows import BenchmarkRow
from analysis.forecasting.evaluation import Evaluation, WindowEvaluation, evaluate
from analysis.forecasting.folds import Fold, Folds
from analysis.outcomes.outcomes import decide_outcomes
from analysis.outcomes.subsets import joined
from analysis.predictors.base import Predictor
from pipeline.spec.criterion import Criterion
from pipeline.store.history import History

RANKING = "auroc_within"


def evaluate_halves(
    train: History,
    test: History,
    criterion: Criterion,
    predictors: Mapping[str, Predictor],
    *,
    num_train: int | None = None,
    bootstrap: int = 1000,
) -> Evaluation:
    """The runs of `test` forecast by predictors that were fitted to `train`, or to its first `num_train` runs.

    Raises ValueError where the halves share a seed or differ in budget.
    """
    history = joined_halves(train, test)
    place_R = np.arange(len(history.runs))
    is_train_R = place_R < len(train.runs)
    used_R = is_train_R if num_train is None else place_R < min(num_train, len(train.runs))
    splits = Folds((Fold(used_R, ~is_train_R),), f"trained on {used_R.sum()} runs, tested on others' seeds")
    outcomes = decide_outcomes(history, criterion)
    return evaluate(history, outcomes, predictors=predictors, bootstrap=bootstrap, splits=splits)


def joined_halves(train: History, test: History) -> History:
    """The runs of the training half and then those of the test half.

    Raises ValueError where the halves share a seed or differ in budget.
    """
    for kind in ("init_seed", "data_seed"):
        shared = {getattr(run, kind) for run in train.runs} & {getattr(run, kind) for run in test.runs}
        if shared:
            raise ValueError(f"{train.name}, {test.name}: both have runs of {kind} {min(shared)}")
    return joined([train, test])


def benchmark_rows(task: str, evaluation: Evaluation, ceilings: Mapping[float, float]) -> Iterator[BenchmarkRow]:
    """Every score, predictor by predictor and window by window; `ceilings` are window -> attainable AUROC.

    Raises ValueError where a window could not be scored.
    """
    for window in evaluation.windows:
        if window.problem:
            raise ValueError(f"{task}, window {window.fraction:g}: {window.problem}")
        yield from _rows(task, window, ceilings.get(window.fraction, float("nan")))


def _rows(task: str, window: WindowEvaluation, ceiling: float) -> Iterator[BenchmarkRow]:
    for predictor, scores in window.scores.items():
        for field in fields(scores):
            estimate = getattr(scores, field.name)
            if np.isfinite(estimate.value):
                yield BenchmarkRow(
                    field.name,
                    predictor,
                    task,
                    window.fraction,
                    estimate,
                    window.num_scored,
                    ceiling if field.name == RANKING else float("nan"),
                    window.extra_compute,
                )
