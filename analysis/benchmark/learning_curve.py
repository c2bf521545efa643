"""How well predictors forecast a test half after learning from fewer runs of the training half."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from analysis.benchmark.halves import joined_halves
from analysis.forecasting.censoring import RiskSet
from analysis.forecasting.evaluation import cases_of, pair_groups, windows_of
from analysis.forecasting.folds import Fold, Folds
from analysis.forecasting.held_out import held_out_forecasts
from analysis.forecasting.scoring.scores import auroc
from analysis.outcomes.outcomes import CONVERGED, Outcomes, decide_outcomes
from analysis.predictors.base import Cases, Predictor
from analysis.uncertainty.intervals import Z_95, Estimate, json_safe
from analysis.uncertainty.resampling import resample
from pipeline.arrays import Bools, Floats
from pipeline.spec.criterion import Criterion
from pipeline.store.history import History

MAX_SETS = 10


@dataclass(frozen=True)
class CurvePoint:
    """Mean AUROC in setting of a predictor fitted to each of `num_sets` disjoint sets of `num_train` training runs.

    `estimate` is of the runs at risk at `window`, `num_runs` of them, with a 95% interval over test runs and, where
    there are several, over training sets. `between_sets` is the standard deviation between sets, NaN of one.
    """

    predictor: str
    window: float
    num_train: int
    num_sets: int
    estimate: Estimate
    between_sets: float
    num_runs: int

    def to_json(self) -> dict[str, Any]:
        """Plain values; null where a number is undefined."""
        plain = json_safe(
            {
                "predictor": self.predictor,
                "window": self.window,
                "num_train": self.num_train,
                "num_sets": self.num_sets,
                "value": self.estimate.value,
                "low": self.estimate.low,
                "high": self.estimate.high,
                "between_sets": self.between_sets,
                "n": self.num_runs,
            }
        )
        assert isinstance(plain, dict)
        return plain


def training_sets(num_runs: int, num_train: int, seed: int) -> list[Bools]:
    """Up to MAX_SETS disjoint random sets of `num_train` of `num_runs` runs, each (num_runs,) True for its members.

    Raises ValueError for more than there are, or fewer than one.
    """
    if not 1 <= num_train <= num_runs:
        raise ValueError(f"training sets of {num_train} runs out of {num_runs}")
    order = np.random.default_rng([seed, num_train]).permutation(num_runs)
    starts = range(0, num_runs - num_train + 1, num_train)
    return [np.isin(np.arange(num_runs), order[start : start + num_train]) for start in list(starts)[:MAX_SETS]]


def learning_curve(
    train: History,
    test: History,
    criterion: Criterion,
    predictors: Mapping[str, Predictor],
    sizes: Sequence[int],
    *,
    windows: Sequence[float] | None = None,
    seed: int = 0,
    bootstrap: int = 1000,
) -> Iterator[CurvePoint]:
    """A point for every window, number of training runs and predictor. `windows` default to those of the sweeps.

    Runs of a training set whose outcome came inside the window teach nothing there. Raises ValueError where the halves
    share a seed or differ in budget, or for a size that the training half has not.
    """
    history = joined_halves(train, test)
    outcomes, weight_BN = decide_outcomes(history, criterion), resample(test.runs, bootstrap, seed).with_estimate()
    sets_by = {size: training_sets(len(train.runs), size, seed) for size in sizes}
    for fraction in windows_of(history) if windows is None else windows:
        window = history.window(fraction)
        cases = cases_of(window)
        for size, sets in sets_by.items():
            areas_by = _areas(history, outcomes, window.last_step, cases, sets, predictors, weight_BN)
            for name, (areas_SB, num_runs) in areas_by.items():
                yield _point(name, window.fraction, size, areas_SB, num_runs)


def _areas(
    history: History,
    outcomes: Outcomes,
    last_step: int,
    cases: Cases,
    sets: Sequence[Bools],
    predictors: Mapping[str, Predictor],
    weight_BN: Floats,
) -> dict[str, tuple[Floats, int]]:
    """Predictor -> (S, B) AUROC in setting on resampled test runs after each training set, and the number of runs."""
    is_test_R = np.arange(len(history.runs)) >= len(sets[0])
    scored_R = RiskSet.of(history, outcomes, last_step, is_test_R).known_R
    converged_N, setting_N = outcomes.kind_R[scored_R] == CONVERGED, cases.setting_R[scored_R]
    group_N = pair_groups(setting_N, np.zeros(len(setting_N), dtype=np.int64))
    areas_by: dict[str, list[Floats]] = {name: [] for name in predictors}
    for chosen_T in sets:
        fold = Fold(np.append(chosen_T, np.zeros(is_test_R.sum(), dtype=bool)), scored_R)
        splits = Folds((fold,), "the test half")
        sample = held_out_forecasts(cases, history, outcomes, last_step, scored_R, None, predictors, splits)
        for name, found in sample.forecasts.items():
            weight_BS = weight_BN[:, scored_R[is_test_R]]
            areas_by[name].append(auroc(found.converged_R[scored_R], converged_N, group_N, weight_BS))
    return {name: (np.stack(areas), int(scored_R.sum())) for name, areas in areas_by.items()}


def _point(name: str, window: float, num_train: int, areas_SB: Floats, num_runs: int) -> CurvePoint:
    """The mean over training sets; its variance is that over test runs, and a share of that between sets."""
    mean_B, between = areas_SB.mean(axis=0), float(areas_SB[:, 0].std(ddof=1)) if len(areas_SB) > 1 else float("nan")
    variance = float(mean_B[1:].var()) + (between**2 / len(areas_SB) if len(areas_SB) > 1 else 0.0)
    half = Z_95 * float(np.sqrt(variance))
    value = float(mean_B[0])
    return CurvePoint(
        name, window, num_train, len(areas_SB), Estimate(value, value - half, value + half), between, num_runs
    )
