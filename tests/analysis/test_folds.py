"""Gate (e): no seed, data stream or run is shared by train and test."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.folds import held_out_seeds
from pipeline.history import RunInfo


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
        ([(i, j) for i in range(10) for j in range(5)], 25, 32),
    ],
    ids=["together", "a data stream per run", "crossed"],
)
def test_a_design_is_split_as_its_seeds_allow(pairs, num_folds, num_train):
    splits = held_out_seeds(runs_of(pairs), 5)
    assert len(splits.folds) == num_folds
    assert {int(fold.train_R.sum()) for fold in splits.folds} == {num_train}


@pytest.mark.parametrize("pairs", [[(0, 0)], [(0, 1), (0, 2)], [(1, 0), (2, 0), (3, 0)]])
def test_seeds_that_leave_nothing_to_train_on_are_refused(pairs):
    with pytest.raises(ValueError, match="leaves no training run"):
        held_out_seeds(runs_of(pairs))


def test_folds_are_deterministic_and_depend_on_the_seed():
    runs = runs_of([(i, i) for i in range(40)])
    first, again, other = (held_out_seeds(runs, 5, seed) for seed in (0, 0, 1))
    assert all(np.array_equal(a.test_R, b.test_R) for a, b in zip(first.folds, again.folds, strict=True))
    assert not all(np.array_equal(a.test_R, b.test_R) for a, b in zip(first.folds, other.folds, strict=True))
