"""The contract of `analysis.statistics.base.Statistic`."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np

from analysis.contracts.synthetic import drop_runs, overwrite_after, synthetic_history, tiny_history
from analysis.statistics.base import Statistic
from pipeline.arrays import Floats
from pipeline.contracts.contract import Case, Contract, require
from pipeline.store.history import History, Window

_HISTORY = synthetic_history(3, 5, seed=4)


def _window() -> Window:
    """Always a new one, since a statistic that breaks its contract may change it."""
    return _HISTORY.window(0.25)


def _require_same(found: Mapping[str, Floats], expected: Mapping[str, Floats], when: str) -> None:
    """Columns and their values are equal to the byte."""
    require(list(found) == list(expected), f"columns are {', '.join(found)} {when}, and were {', '.join(expected)}")
    changed = [name for name in expected if found[name].tobytes() != expected[name].tobytes()]
    require(not changed, f"{', '.join(changed[:3])} changes {when}")


def _check_1_the_output_is_named_columns_of_one_number_per_run(statistic: Statistic) -> None:
    columns = statistic(_window())
    require(columns, "it gives no column")
    for name, values_R in columns.items():
        require(name, "a column has no name")
        require(values_R.shape == (15,), f"{name} has shape {values_R.shape} for 15 runs")
        require(values_R.dtype == np.float64, f"{name} is {values_R.dtype}, not float64")
    other = statistic(drop_runs(_HISTORY, np.arange(15) == 7).window(0.01))
    told = f"columns are {', '.join(columns)}, and of one run in a smaller window {', '.join(other)}"
    require(list(other) == list(columns), told)


def _check_1_some_column_holds_a_number_for_every_run(statistic: Statistic) -> None:
    holds = any(np.all(np.isfinite(values_R)) for values_R in statistic(_window()).values())
    require(holds, "no column holds a number for every run, and they recorded all metrics")


def _check_2_it_is_pure(statistic: Statistic) -> None:
    window = _window()
    before = {metric: array.tobytes() for metric, array in window.values.items()}
    _require_same(statistic(window), type(statistic)()(window), "the second time")
    changed = [metric for metric, array in window.values.items() if array.tobytes() != before[metric]]
    require(not changed, f"it changes {', '.join(changed[:3])} of the window")


def _check_3_nothing_after_the_window_moves_it_by_a_bit(statistic: Statistic) -> None:
    for fraction in (0.05, 0.25, 0.5):
        window = _HISTORY.window(fraction)
        changed = overwrite_after(_HISTORY, window.last_step).window(fraction)
        _require_same(statistic(changed), statistic(window), f"with what follows the first {fraction:.0%}")


def _check_4_dropping_or_permuting_the_other_runs_changes_no_bit(statistic: Statistic) -> None:
    # One run has recorded steps that no other has, so that the grid seen differs once it is dropped.
    values = {metric: array.copy() for metric, array in _HISTORY.values.items()}
    for array in values.values():
        array[3] = np.where(np.isnan(array[3]), 0.25, array[3])
    history = replace(_HISTORY, values=values)
    whole = statistic(history.window(0.25))
    for keep in (np.arange(15) != 3, np.arange(15) < 4, np.arange(15) == 9):
        part = statistic(drop_runs(history, keep).window(0.25))
        expected = {name: values_R[keep] for name, values_R in whole.items()}
        _require_same(part, expected, f"once {int((~keep).sum())} of 15 runs are dropped")
    order = np.random.default_rng(0).permutation(15)
    runs = tuple(history.runs[r] for r in order)
    permuted = replace(history, runs=runs, values={m: a[order].copy() for m, a in values.items()})
    _require_same(statistic(permuted.window(0.25)), {n: v[order] for n, v in whole.items()}, "in another order of runs")


def _check_5_too_little_or_absurd_data_is_nan_without_error_infinity_or_warning(statistic: Statistic) -> None:
    last = {metric: array[:, -1:].copy() for metric, array in _HISTORY.values.items()}
    nothing = replace(_HISTORY, steps_T=_HISTORY.steps_T[-1:], values=last)
    bare = tiny_history([[1.0, 0.5]], [("budget", 50)])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for fill in (np.nan, np.inf, 3e38):
            full = {metric: np.full_like(array, fill) for metric, array in _HISTORY.values.items()}
            broken = replace(_HISTORY, values=full)
            for window in (broken.window(0.25), broken.window(0.001)):
                _require_no_infinity(statistic(window).values(), f"where all values are {fill:g}")
            if not np.isfinite(fill):
                _require_nan(statistic, broken, 0.25, f"where all values are {fill:g}")
        _require_nan(statistic, nothing, 0.05, "where no step was recorded")
        columns = statistic(bare.window(0.5))
        require(columns == {}, f"columns are {', '.join(columns)} where no metric was recorded")


def _require_no_infinity(values: Iterable[Floats], when: str) -> None:
    require(not any(np.any(np.isinf(values_R)) for values_R in values), f"it gives an infinity {when}")


def _require_nan(statistic: Statistic, history: History, fraction: float, when: str) -> None:
    numbers = [name for name, found_R in statistic(history.window(fraction)).items() if not np.all(np.isnan(found_R))]
    require(not numbers, f"{', '.join(numbers[:3])} is no NaN {when}")


def _cases(cls: type[Statistic]) -> list[Case]:
    return [Case("", (cls(),))]


STATISTIC_CONTRACT = Contract(
    Statistic.__doc__ or "",
    (
        _check_1_the_output_is_named_columns_of_one_number_per_run,
        _check_1_some_column_holds_a_number_for_every_run,
        _check_2_it_is_pure,
        _check_3_nothing_after_the_window_moves_it_by_a_bit,
        _check_4_dropping_or_permuting_the_other_runs_changes_no_bit,
        _check_5_too_little_or_absurd_data_is_nan_without_error_infinity_or_warning,
    ),
    _cases,
)
