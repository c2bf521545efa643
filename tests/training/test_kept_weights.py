"""Weights kept by themselves: what they hold, and what can be done from them and what cannot."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pipeline.engine.slots import Slots
from pipeline.planning.packs import stored_spec
from pipeline.spec.sweep import SweepSpec
from pipeline.store.pack_store import StoreError
from pipeline.training.replay import ReplayError, model, replay
from tests.support import interrupted, opened, rows, tiny, trained, weights

WEIGHTS = {"windows": [0, 0.4, 0.7], "snapshots": {"weights": "windows"}}


def test_they_are_those_of_the_states_at_the_steps_of_the_windows(tmp_path):
    store, full = (
        trained(tiny(**WEIGHTS), tmp_path / "a"),
        trained(tiny(snapshots={"states": [0, 10, 20]}), tmp_path / "b"),
    )
    ours, theirs = store.snapshots(), full.snapshots()
    for run in store.history().runs:
        assert ours.weight_steps(run.run_id) == theirs.weight_steps(run.run_id) == [0, 10, 20, 30]
        assert sorted(ours.of(run.run_id)) == [30], "the last state is kept whatever is asked for"
        for step in (0, 10, 20):
            assert list(ours.read(run.run_id, step, "weights")) == ["weights"]
            assert np.array_equal(ours.weights(run.run_id, step), theirs.read(run.run_id, step)["weights"])
        assert np.array_equal(ours.weights(run.run_id, 30), theirs.weights(run.run_id, 30))
    assert weights(store) == weights(full)


def test_where_a_state_is_kept_its_weights_are_not_kept_twice(tmp_path):
    store = trained(tiny(snapshots={"weights": [0, 10, 20], "states": [10]}), tmp_path / "a")
    index, run_id = store.snapshots(), store.plan["runs"][0]["run_id"]
    assert sorted(index.of(run_id, "weights")) == [0, 20]
    assert sorted(index.of(run_id)) == [10, 30]
    assert index.weight_steps(run_id) == [0, 10, 20, 30]


def test_a_resumed_sweep_keeps_the_same_ones(tmp_path, monkeypatch):
    reference = trained(tiny(**WEIGHTS), tmp_path / "a")
    again, _ = interrupted(tiny(**WEIGHTS), tmp_path / "b", 1, monkeypatch)
    for run in reference.history().runs:
        assert again.snapshots().of(run.run_id, "weights") == reference.snapshots().of(run.run_id, "weights")


def test_a_fork_from_weights_alone_is_refused_and_told_which_field_keeps_states(tmp_path):
    trained(tiny(**WEIGHTS), tmp_path / "p")
    fork = {"sweep": str(tmp_path / "p"), "steps": [10], "data_seed": [7]}
    spec = SweepSpec.model_validate({"name": "f", "fork": fork, "budget": 30, "grid": {"chunk": 10}})
    with pytest.raises(
        StoreError, match=r"no state at step 10 \(it has: 30\); of its weights alone.*snapshots\.states"
    ):
        opened(spec, tmp_path / "f")


def test_the_model_at_a_step_is_made_of_its_weights_and_a_replay_meets_them_by_hash(tmp_path):
    store = trained(tiny(**WEIGHTS), tmp_path / "a")
    run_id = store.history().runs[1].run_id
    kept = store.snapshots().weights(run_id, 10)
    found = torch.cat([parameter.detach().flatten() for parameter in model(store, run_id, 10).parameters()])
    assert np.array_equal(found.numpy(), kept)
    # From the init, past the weights of steps 10 and 20 to the last state.
    assert replay(store, run_id, 5, 30, 5, (), with_weights=False).num_hashes == 3


def test_a_replay_that_meets_other_weights_says_so(tmp_path, monkeypatch):
    store = trained(tiny(**WEIGHTS, seeds={"together": [0]}), tmp_path / "a")
    monkeypatch.setattr(Slots, "weights_of", lambda self, slot: np.zeros(3, np.float32))
    with pytest.raises(ReplayError, match="its weights at step 10 are not those that were recorded"):
        replay(store, store.history().runs[0].run_id, 5, 30, 5, (), with_weights=False)


def test_a_folder_of_an_earlier_version_is_continued_as_it_was_begun(tmp_path):
    spec = tiny(windows=[], readings=[], snapshots={"states": [10]})
    store = opened(spec, tmp_path / "a")
    fields = {name: value for name, value in spec.identity().items() if name not in ("windows", "readings")}
    sweep = {**store.sweep, "spec": {**fields, "snapshots": {"weights": [10], "attention": None}}}
    plan = {name: value for name, value in store.plan.items() if name not in ("windows", "readings")}
    store.write_documents(sweep, plan, is_shared=False)
    assert stored_spec(store) == spec
    assert rows(trained(spec, tmp_path / "a")) == rows(trained(spec, tmp_path / "b"))
    assert sorted(store.snapshots().of(store.history().runs[0].run_id)) == [10, 30]
    with pytest.raises(StoreError, match="windows: "):
        opened(tiny(), tmp_path / "a")
