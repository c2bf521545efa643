"""Evaluation and probe steps."""

import numpy as np
import pytest

from pipeline.spec.grid import MAX_POINTS, dense_then_logarithmic, every, listed, window_steps
from pipeline.spec.sections import GridSpec


def test_known_grids():
    grid = GridSpec().resolved(300)
    assert grid.eval_steps_T.tolist() == [50, 100, 150, 200, 250, 300]
    assert grid.probe_steps_T.tolist() == [0, 1, 2, 5, 10, 20, 50, 100, 150, 200, 250, 300]
    assert grid.inner_marks == (0, 1, 2, 5, 10, 20)
    assert grid.steps_T.tolist() == grid.probe_steps_T.tolist()
    assert (grid.eval_steps_T.dtype, grid.probe_steps_T.dtype) == (np.int64, np.int64)


@pytest.mark.parametrize(
    ("chunk", "budget", "steps"),
    [
        (1, 1, [0, 1]),
        (2, 2, [0, 1, 2]),
        (5, 10, [0, 1, 2, 5, 10]),
        (10, 10, [0, 1, 2, 5, 10]),
        (20, 40, [0, 1, 2, 5, 10, 20, 40]),
        (50, 50, [0, 1, 2, 5, 10, 20, 50]),
        (1000, 3000, [0, 1, 2, 5, 10, 20, 1000, 2000, 3000]),
    ],
)
def test_early_steps_are_dense_and_the_budget_is_last(chunk, budget, steps):
    assert dense_then_logarithmic(chunk, budget).tolist() == steps


@pytest.mark.parametrize("chunk", [1, 7, 50])
def test_late_steps_are_log_spaced_multiples_of_the_chunk(chunk):
    steps = dense_then_logarithmic(chunk, chunk * 100_000)
    late = steps[steps >= chunk]
    assert not np.any(late % chunk)
    assert np.all(np.diff(steps) > 0)
    for decade in (1000, 10_000):
        assert np.sum((late > decade * chunk) & (late <= 10 * decade * chunk)) == 24
    ratios = late[1:] / late[:-1]
    assert np.all(ratios[late[1:] > 1000 * chunk] < 10 ** (1 / 24) * 1.001)


@pytest.mark.parametrize("make", [lambda budget: every(50, budget), lambda budget: dense_then_logarithmic(50, budget)])
def test_a_larger_budget_only_appends(make):
    short, long = make(1200), make(9600)
    assert long[: len(short) - 1].tolist() == short[:-1].tolist()


def test_listed_steps_are_taken_as_they_are():
    grid = GridSpec(probe_steps=(0, 3, 50, 200), eval_steps=(50, 300), eval_every=None).resolved(300)
    assert grid.probe_steps_T.tolist() == [0, 3, 50, 200]
    assert grid.inner_marks == (0, 3)
    assert grid.eval_steps_T.tolist() == [50, 300]
    assert GridSpec(probe_steps=(50,)).resolved(100).inner_marks == ()


def test_probes_at_every_interval_begin_at_the_start():
    grid = GridSpec(chunk=5, eval_every=25, probe_every=10).resolved(50)
    assert grid.probe_steps_T.tolist() == [0, 10, 20, 30, 40, 50]
    assert grid.eval_steps_T.tolist() == [25, 50]
    assert grid.probe_steps_T.dtype == np.int64
    assert grid.inner_marks == (0,)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"probe_every": 70}, r"grid.probe_every\n *should be a multiple of grid.chunk \(50\), given 70"),
        ({"probe_every": 50, "probe_steps": (0,)}, r"grid.probe_every\n *has no effect beside probe_steps"),
        ({"probe_every": 150}, r"grid.probe_every\n *must divide the budget"),
        ({"eval_every": 70, "probe_every": 70}, r"(?s)grid.eval_every\n.*grid.probe_every\n"),
    ],
)
def test_an_interval_of_probes_is_checked_as_that_of_evaluations(fields, message):
    with pytest.raises(ValueError, match=message):
        GridSpec(**fields).resolved(200)


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ((), "at least one"),
        ((1, 1), "increase"),
        ((-1,), "from 0"),
        ((351,), "from 0 to the budget"),
        ((51,), "multiples"),
    ],
)
def test_listed_steps_are_checked(steps, message):
    with pytest.raises(ValueError, match=message):
        listed(steps, chunk=50, budget=350, first=0)


@pytest.mark.parametrize(
    ("shares", "chunk", "budget", "expected"),
    [
        ((0, 0.05, 0.1, 0.25, 0.5), 60, 1200, [(0, 0), (0.05, 60), (0.1, 120), (0.25, 300), (0.5, 600)]),
        ((0.05, 0.1), 50, 1400, [(0.05, 50), (0.1, 100)]),
        ((0.01, 0.99), 50, 1000, [(0.01, 50), (0.99, 950)]),
        ((0.05, 0.1, 0.25, 0.3), 50, 200, [(0.25, 50)]),
        ((0.6, 0.9), 50, 100, [(0.6, 50)]),
        ((0, 0.05, 0.5), 50, 50, [(0, 0)]),
        ((0.5,), 50, 50, []),
        ((), 50, 1000, []),
    ],
)
def test_windows_are_rounded_down_to_chunks_and_each_step_is_kept_once(shares, chunk, budget, expected):
    assert window_steps(shares, chunk, budget) == tuple(expected)


def test_a_share_that_is_a_whole_number_of_chunks_ends_there_whatever_its_rounding():
    for count in range(1, 1000):
        assert window_steps((count / 1000,), 1, 1000) == ((count / 1000, count),)


def test_no_grid_is_larger_than_can_be_recorded():
    with pytest.raises(ValueError, match=f"at most {MAX_POINTS}"):
        every(1, MAX_POINTS + 1)


def test_grids_are_read_only():
    grid = GridSpec().resolved(100)
    for array in (grid.eval_steps_T, grid.probe_steps_T, grid.steps_T):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 3
