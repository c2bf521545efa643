"""The contract of analysis.statistics.base.Statistic, over every registered statistic, in the interface's order."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pytest

from analysis.statistics.base import STATISTICS
from tests.analysis.synthetic import drop_runs, overwrite_after, same_bytes, synthetic_history, tiny_history

HISTORY = synthetic_history(3, 5, seed=4)
WINDOW = HISTORY.window(0.25)


@pytest.fixture(params=list(STATISTICS))
def statistic(request):
    return STATISTICS[request.param]()


def test_1_the_output_is_named_columns_of_one_number_per_run(statistic):
    columns = statistic(WINDOW)
    assert columns
    for name, values_R in columns.items():
        assert name
        assert values_R.shape == (15,)
        assert values_R.dtype == np.float64
    other = statistic(drop_runs(HISTORY, np.arange(15) == 7).window(0.01))
    assert list(other) == list(columns)


def test_1_some_column_holds_a_number_for_every_run(statistic):
    assert any(np.all(np.isfinite(values_R)) for values_R in statistic(WINDOW).values())


def test_2_it_is_pure(statistic):
    before = {metric: array.tobytes() for metric, array in WINDOW.values.items()}
    assert same_bytes(statistic(WINDOW), type(statistic)()(WINDOW))
    assert {metric: array.tobytes() for metric, array in WINDOW.values.items()} == before


@pytest.mark.parametrize("fraction", [0.05, 0.25, 0.5])
def test_3_nothing_after_the_window_moves_it_by_a_bit(statistic, fraction):
    window = HISTORY.window(fraction)
    changed = overwrite_after(HISTORY, window.last_step).window(fraction)
    assert same_bytes(statistic(window), statistic(changed))


def test_4_dropping_or_permuting_the_other_runs_changes_no_bit(statistic):
    # One run has recorded steps that no other has, so that the grid seen differs once it is dropped.
    values = {metric: array.copy() for metric, array in HISTORY.values.items()}
    for array in values.values():
        array[3] = np.where(np.isnan(array[3]), 0.25, array[3])
    history = replace(HISTORY, values=values)
    whole = statistic(history.window(0.25))
    for keep in (np.arange(15) != 3, np.arange(15) < 4, np.arange(15) == 9):
        part = statistic(drop_runs(history, keep).window(0.25))
        assert same_bytes(part, {name: values_R[keep] for name, values_R in whole.items()})
    order = np.random.default_rng(0).permutation(15)
    permuted = replace(
        history, runs=tuple(history.runs[r] for r in order), values={m: a[order].copy() for m, a in values.items()}
    )
    assert same_bytes(statistic(permuted.window(0.25)), {name: v[order] for name, v in whole.items()})


@pytest.mark.parametrize("fill", [np.nan, np.inf, 3e38])
def test_5_too_little_or_absurd_data_is_nan_without_error_infinity_or_warning(statistic, fill):
    broken = replace(HISTORY, values={metric: np.full_like(array, fill) for metric, array in HISTORY.values.items()})
    nothing = replace(
        HISTORY, steps_T=HISTORY.steps_T[-1:], values={m: a[:, -1:].copy() for m, a in HISTORY.values.items()}
    )
    bare = tiny_history([[1.0, 0.5]], [("budget", 50)])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for window in (broken.window(0.25), broken.window(0.001), nothing.window(0.05), bare.window(0.5)):
            for values_R in statistic(window).values():
                assert not np.any(np.isinf(values_R))
        if not np.isfinite(fill):
            assert all(np.all(np.isnan(values_R)) for values_R in statistic(broken.window(0.25)).values())
        assert all(np.all(np.isnan(values_R)) for values_R in statistic(nothing.window(0.05)).values())
        assert statistic(bare.window(0.5)) == {}
