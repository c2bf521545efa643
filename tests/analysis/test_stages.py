"""Stages: sustained crossings from tables, and the order of two with ties."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.dynamics.stages import crossed_for_good, stage_order
from analysis.uncertainty.intervals import wilson
from pipeline.spec.criterion import Criterion
from pipeline.store.history import RunInfo

NAN = np.nan


def runs_of(count, init_seeds=None):
    seeds = range(count) if init_seeds is None else init_seeds
    return [RunInfo(f"r{r}", "s", int(seed), r, {}) for r, seed in enumerate(seeds)]


@pytest.mark.parametrize(
    ("values", "lower", "upper"),
    [
        ([0, 0, 1, 1, 1], 20, 30),
        ([0, 1, 0, 1, 1], 30, 40),
        ([1, 1, 1, 1, 1], 0, 10),
        ([0, 1, 1, 1, 0], NAN, NAN),
        ([0, 0, 0, 0, 1], NAN, NAN),
        ([0, 0, 0, 0, 0], NAN, NAN),
        ([0, NAN, 1, NAN, 1], 10, 30),
        ([0, NAN, NAN, 1, NAN], NAN, NAN),
        ([NAN] * 5, NAN, NAN),
    ],
)
def test_a_crossing_is_the_first_step_from_which_the_score_stays_past_the_threshold(values, lower, upper):
    found = crossed_for_good(np.array([values]), np.arange(10, 60, 10), Criterion(at_least=0.5))
    np.testing.assert_array_equal([found.lower_R[0], found.upper_R[0]], [lower, upper])


def test_falling_scores_and_single_evaluations_follow_the_criterion():
    values = np.array([[3.0, 2.0, 1.0]])
    steps = np.array([10, 20, 30])
    assert crossed_for_good(values, steps, Criterion(at_most=1.0, evaluations=1)).upper_R[0] == 30
    assert np.isnan(crossed_for_good(values, steps, Criterion(at_most=1.0, evaluations=2)).upper_R[0])


def test_ties_are_counted_as_ties_and_runs_without_either_stage_are_left_out():
    first = np.array([10.0, 20, 30, NAN, NAN, 40, 50, 60])
    second = np.array([20.0, 20, 10, 40, NAN, NAN, 60, 60])
    order = stage_order(first, second, runs_of(8))
    assert (order.num_runs, order.num_neither, order.unit) == (7, 1, "runs")
    assert [order.first.value, order.tied.value, order.second.value] == [3 / 7, 2 / 7, 2 / 7]
    assert order.first.low < 3 / 7 < order.first.high


def test_where_all_runs_agree_the_interval_is_wilsons():
    order = stage_order(np.full(30, 100.0), np.full(30, 200.0), runs_of(30))
    assert order.first == wilson(30, 30)
    assert order.tied == wilson(0, 30)


def test_runs_of_one_init_seed_widen_the_interval():
    rng = np.random.default_rng(0)
    first = np.repeat(rng.choice([100.0, 300.0], 20), 6)
    apart = stage_order(first, np.full(120, 200.0), runs_of(120))
    together = stage_order(first, np.full(120, 200.0), runs_of(120, np.repeat(np.arange(20), 6)))
    assert apart.first.value == together.first.value
    assert together.first.high - together.first.low > 1.7 * (apart.first.high - apart.first.low)


def test_one_run_and_no_run_are_answered():
    alone = stage_order(np.array([10.0]), np.array([20.0]), runs_of(1))
    assert alone.first == wilson(1, 1)
    none = stage_order(np.array([NAN]), np.array([NAN]), runs_of(1))
    assert none.num_runs == 0
    assert np.isnan(none.first.value)


def test_a_step_for_another_number_of_runs_is_refused():
    with pytest.raises(ValueError, match="need a step per run"):
        stage_order(np.zeros(2), np.zeros(3), runs_of(3))
