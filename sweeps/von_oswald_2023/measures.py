"""Measures on von Oswald et al. (2023): closed-form losses, final values, plateau times, distribution shifts."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from analysis.claims.sweeps import UndecidedError
from analysis.dynamics.stages import crossing_steps
from analysis.outcomes.subsets import chosen_runs, some_runs
from analysis.uncertainty.dependence import rows_on_common_seeds
from analysis.uncertainty.estimates import NUM_RESAMPLES
from analysis.uncertainty.intervals import Estimate, from_bootstrap
from analysis.uncertainty.resampling import resample
from pipeline.arrays import Bools, Floats
from pipeline.spec.criterion import Criterion
from pipeline.store.history import History, RunInfo
from pipeline.tasks.linear_regression import LinearRegression

# Half of the way from the zero prediction to one gradient step: a run that is past it has left the plateau.
LEFT_PLATEAU = Criterion(metric="label_excess", at_most=0.5, evaluations=2)


def zero_loss(run: RunInfo) -> float:
    """Expected loss of predicting zero."""
    return _task(run).chance_loss()


def one_step_loss(run: RunInfo) -> float:
    """Expected loss of one gradient step of the best size: .2062 for N = d = 10 and inputs from U(-.5, .5)."""
    return _task(run).floor_loss()


def population_step_size(run: RunInfo) -> float:
    """eta*, the size of that step."""
    return _task(run).step_size()


def _task(run: RunInfo) -> LinearRegression:
    """The run's linear regression task, which has the closed forms."""
    names = ("dim", "num_pairs", "input_range")
    return LinearRegression(**{name: run.hyperparameters[f"task.{name}"] for name in names})


def closed_form_R(function: Callable[[RunInfo], float], runs: Sequence[RunInfo]) -> Floats:
    """(R,) a closed form of each run's setting."""
    return np.array([function(run) for run in runs])


def has_hyperparameter_R(history: History, path: str, value: object) -> Bools:
    """(R,) True for runs with this hyperparameter."""
    return np.array([run.hyperparameters.get(path) == value for run in history.runs], dtype=bool)


def runs_with(history: History, path: str, value: object) -> History:
    """The runs with this hyperparameter. Raises UndecidedError where there is none."""
    keep_R = has_hyperparameter_R(history, path, value)
    if not keep_R.any():
        raise UndecidedError(f"sweep {history.name!r} has no run with {path}: {value}")
    return some_runs(history, keep_R)


def recorded(history: History, metric: str) -> Floats:
    """(R, T). Raises UndecidedError where it was not recorded or measured."""
    if metric not in history.values:
        raise UndecidedError(f"sweep {history.name!r} has no {metric}")
    return history.values[metric]


def at_end(history: History, metric: str, lost: float = np.nan) -> Floats:
    """(R,) the value at the last step of the budget; `lost` for a run that has none there, as one that diverged."""
    last_R = recorded(history, metric)[:, history.steps_T.searchsorted(history.budget, "right") - 1]
    return np.where(np.isfinite(last_R), last_R, lost)


def at_start(history: History, metric: str) -> Floats:
    """(R,) the value at step 0."""
    return recorded(history, metric)[:, 0]


def worst_ratio(history: History, ours: str, theirs: str, shifts: Sequence[str]) -> Floats:
    """(R,) of the metrics OURS/SHIFT and THEIRS/SHIFT at the end, the ratio farthest from 1, as a factor above 1."""
    logs_SR = [
        np.abs(np.log(at_end(history, f"{ours}/{shift}", np.inf) / at_end(history, f"{theirs}/{shift}")))
        for shift in shifts
    ]
    return np.asarray(np.exp(np.max(logs_SR, axis=0)))


def shifts_of(history: History, kind: str, metric: str = "trained_loss") -> dict[float, str]:
    """The shifts of one kind that were measured, by size: {2.0: "inputs/2"}. Raises UndecidedError where none was."""
    names = numbered(history, f"{metric}/{kind}")
    return {size: name.removeprefix(f"{metric}/") for size, name in names.items()}


def numbered(history: History, metric: str) -> dict[float, str]:
    """Metrics named METRIC/NUMBER, by number. Raises UndecidedError where there is none."""
    names = [name for name in history.values if name.startswith(f"{metric}/")]
    if not names:
        raise UndecidedError(f"sweep {history.name!r} has no {metric}")
    return dict(sorted((float(name.rpartition("/")[2]), name) for name in names))


def steps_until(history: History, criterion: Criterion) -> Floats:
    """(R,) where the criterion's threshold is crossed for good, between evaluations; infinite where it is not."""
    step_R = crossing_steps(recorded(history, criterion.metric), history.steps_T, criterion)
    return np.where(np.isnan(step_R), np.inf, step_R)


def smoothed(values_RT: Floats, num_values: int = 5) -> Floats:
    """Each recorded value replaced by the median of `num_values` recorded ones around it, fewer at the ends."""
    found_RT, reach = np.full(values_RT.shape, np.nan), num_values // 2
    for r, values_T in enumerate(values_RT):
        seen = np.flatnonzero(np.isfinite(values_T))
        for n, t in enumerate(seen):
            found_RT[r, t] = np.median(values_T[seen[max(0, n - reach) : n + reach + 1]])
    return found_RT


def spread(time_R: Floats, runs: Sequence[RunInfo], budget: int) -> Estimate:
    """The 90th percentile of times over the 10th, with its 95% interval over seeds; beyond the budget counts as it."""
    bounded_R = np.minimum(time_R, budget)
    weight_BR = resample(runs, NUM_RESAMPLES, 0).with_estimate().astype(np.int64)
    ratio_B = [np.divide(*np.quantile(np.repeat(bounded_R, weight_R), [0.9, 0.1])) for weight_R in weight_BR]
    return from_bootstrap(np.array(ratio_B))


def matched_by_seed(one: History, other: History) -> tuple[History, History]:
    """The runs whose pair of seeds both have, in one order. Raises UndecidedError where there is none."""
    rows_one, rows_other = rows_on_common_seeds(one.runs, other.runs)
    if not len(rows_one):
        raise UndecidedError(f"sweeps {one.name!r} and {other.name!r} have no seeds in common")
    return chosen_runs(one, rows_one), chosen_runs(other, rows_other)
