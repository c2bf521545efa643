"""Gate (e): no seed, data stream or run is shared by train and test."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.forecasting.folds import held_out_seeds
from pipeline.store.history import RunInfo


def runs_of(pairs):
    return tuple(RunInfo(f"r{i}", "s", init, data, {}) for i, (init, data) in enumerate(pairs))


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=40), st.integers(2, 5))
def test_no_init_seed_and_no_data_seed_is_on_both_sides_of_a_fold(pairs, folds):
    runs = runs_of(pairs)
    try:
        splits = held_out_seeds(runs, folds)
    except ValueError:
        assert len({init for init, _ in pairs}) == 1 or len({data for _, data in pairs}) == 1
        return
    for fold in splits.folds:
        for seed_of in (lambda run: run.init_seed, lambda run: run.data_seed, lambda run: run.run_id):
            train = {seed_of(runs[r]) for r in np.flatnonzero(fold.train_R)}
            test = {seed_of(runs[r]) for r in np.flatnonzero(fold.test_R)}
            assert not train & test
    assert np.all(sum(fold.test_R.astype(int) for fold in splits.folds) == 1)


@pytest.mark.parametrize(
    ("pairs", "num_folds", "num_train"),
    [
        ([(i, i) for i in range(10)] * 2, 5, 16),
        ([(i, 100 + 10 * s + i) for i in range(10) for s in range(2)], 5, 16),
        ([(i, j) for i in range(10) for j in range(6)], 9, None),
        ([(i, j) for i in range(4) for j in range(4)], 4, 4),
        ([(i, i) for i in range(12)], 3, 8),
        ([(i, i) for i in range(4)], 2, 2),
    ],
    ids=["together", "a data stream per run", "crossed", "crossed, small", "twelve runs", "four runs"],
)
def test_a_design_is_split_as_its_seeds_allow(pairs, num_folds, num_train):
    splits = held_out_seeds(runs_of(pairs), 5)
    assert len(splits.folds) == num_folds
    assert splits.held_out.startswith(f"{num_folds} ")
    if num_train is not None:
        assert {int(fold.train_R.sum()) for fold in splits.folds} == {num_train}


def test_each_fold_holds_runs_of_every_setting_though_each_has_seeds_of_its_own():
    runs = tuple(RunInfo(f"r{i}", f"s{i // 8}", i, i, {}) for i in range(32))
    for fold in held_out_seeds(runs).folds:
        assert np.bincount([int(runs[r].setting_id[1:]) for r in np.flatnonzero(fold.test_R)]).tolist() == [4] * 4


def test_one_component_that_holds_most_runs_is_split_as_a_crossed_design():
    runs = runs_of([(i, j) for i in range(4) for j in range(4)] + [(9, 9)])
    splits = held_out_seeds(runs)
    assert "crossed" in splits.held_out
    assert max(fold.test_R.sum() for fold in splits.folds) < 12


def test_forks_stay_with_their_parent_and_with_their_siblings():
    parents = tuple(RunInfo(f"p{i}", "s", i, i, {}) for i in range(8))
    forks = tuple(RunInfo(f"f{i}", "t", 100 + i, 100 + i, {}, parent=f"p{i % 8}", fork_step=50) for i in range(16))
    runs = parents + forks
    for fold in held_out_seeds(runs).folds:
        test = {runs[r].run_id for r in np.flatnonzero(fold.test_R)}
        for run in forks:
            assert (run.run_id in test) == (run.parent in test)


def test_a_stream_that_all_runs_share_is_named_and_not_refused():
    runs = tuple(RunInfo(f"r{i}", "s", i, i, {"streams.data": 7}) for i in range(8))
    assert held_out_seeds(runs).shared == ("stream data is the same in every run, so it is shared by train and test",)
    assert held_out_seeds(runs_of([(i, i) for i in range(8)])).shared == ()


@pytest.mark.parametrize("pairs", [[(0, 0)], [(0, 1), (0, 2)], [(1, 0), (2, 0), (3, 0)]])
def test_seeds_that_leave_nothing_to_train_on_are_refused(pairs):
    with pytest.raises(ValueError, match="leaves no training run"):
        held_out_seeds(runs_of(pairs))


def test_folds_are_deterministic_and_depend_on_the_seed():
    runs = runs_of([(i, i) for i in range(40)])
    first, again, other = (held_out_seeds(runs, 5, seed) for seed in (0, 0, 1))
    assert all(np.array_equal(a.test_R, b.test_R) for a, b in zip(first.folds, again.folds, strict=True))
    assert not all(np.array_equal(a.test_R, b.test_R) for a, b in zip(first.folds, other.folds, strict=True))
