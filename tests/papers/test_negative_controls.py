"""Shuffling, by which claims are shown to fail: it keeps the values and breaks up what it says, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.claims.sweeps import Sweeps
from pipeline.store.history import History, RunEnd, RunInfo
from tests.analysis.synthetic import synthetic_history
from tests.papers.negative_controls import SHUFFLES, shuffled, shuffled_history


@pytest.mark.parametrize("how", SHUFFLES)
def test_shuffling_keeps_every_value_and_is_reproducible(how):
    history = synthetic_history(2, 6)
    found, again = shuffled_history(history, how, 3), shuffled_history(history, how, 3)
    for metric, values in history.values.items():
        np.testing.assert_array_equal(found.values[metric], again.values[metric])
        np.testing.assert_array_equal(np.sort(found.values[metric], axis=None), np.sort(values, axis=None))
        assert (how == "positions") == np.array_equal(found.values[metric], values, equal_nan=True)
    assert found.runs == history.runs
    assert sorted(end.step for end in found.ends) == sorted(end.step for end in history.ends)
    if how == "steps":
        for metric, values in history.values.items():
            np.testing.assert_array_equal(np.isnan(found.values[metric]), np.isnan(values))


def test_whole_runs_stay_together_only_when_runs_are_shuffled():
    history = synthetic_history(1, 8, diverge_share=0.5)
    order = {values[0]: r for r, values in enumerate(history.values["weight_norm"])}
    for how, together in (("runs", True), ("metrics", False)):
        found = shuffled_history(history, how, 1)
        came_from = [order[values[0]] for values in found.values["weight_norm"]]
        same = np.array_equal(found.values["label_excess"], history.values["label_excess"][came_from], equal_nan=True)
        assert same == together
    moved = shuffled_history(history, "runs", 1)
    assert [end.step for end in moved.ends] == [
        np.nanmax(np.where(np.isnan(v), np.nan, history.steps_T)) for v in moved.values["label_excess"]
    ]


def test_forks_change_places_with_forks_made_at_the_same_step_alone():
    runs = tuple(
        RunInfo(f"r{r}", "s", r, r, {}, parent=None if r < 4 else "r0", fork_step=None if r < 4 else 100 * (r // 4))
        for r in range(12)
    )
    values = {"x": np.arange(12.0)[:, None]}
    history = History("h", 10, runs, (RunEnd("budget", 10),) * 12, np.array([10]), values)
    moved = np.array([shuffled_history(history, "runs", seed).values["x"][:, 0] for seed in range(6)])
    for first in (0, 4, 8):
        group = moved[:, first : first + 4]
        assert np.all(np.sort(group, axis=1) == np.arange(first, first + 4))
        assert np.any(group != np.arange(first, first + 4))


def test_an_unknown_way_to_shuffle_is_refused():
    with pytest.raises(ValueError, match="known: runs, metrics, steps, positions"):
        shuffled(Sweeps({}), "seeds")
