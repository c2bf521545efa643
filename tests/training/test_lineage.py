"""Forks and replays: lineage in ids and store, and the same bits again from a snapshot."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pipeline.engine.block import Block
from pipeline.engine.slots import RunState
from pipeline.planning.packs import expand, stored_spec
from pipeline.spec.sweep import SweepSpec
from pipeline.store.pack_store import StoreError
from pipeline.tasks.base import TASKS
from pipeline.training.recorder import weights_sha256
from pipeline.training.replay import ReplayError, model, replay
from tests.support import rows, tiny, trained, weights


def parent(folder, task="dictionary_lookup", **changes):
    return trained(tiny(task, snapshots={"states": [0, 10, 20]}, **changes), folder)


def fork_spec(store, **fork):
    return SweepSpec.model_validate(
        {
            "name": "forked",
            "budget": 30,
            "grid": {"chunk": 10, "eval_items": 32, "probe_items": 16},
            "resources": {"slots": 4, "engine": "torch"},
            "tracking": {"mode": "disabled"},
            "fork": {"sweep": str(store.folder), "steps": [10], **fork},
        }
    )


def first_run(store):
    return store.plan["runs"][0]["run_id"]


def test_a_fork_that_changes_nothing_that_matters_ends_with_its_parents_bits(tmp_path):
    store = parent(tmp_path / "a")
    # The data seed of run 0 is 0 already, so this fork states a change that is none.
    spec = fork_spec(store, runs=[first_run(store)], data_seed=[0])
    forked = trained(spec, tmp_path / "b")
    (fork_id,) = weights(forked)
    assert fork_id != first_run(store)
    assert weights(forked)[fork_id] == weights(store)[first_run(store)]
    parents = {key[1:]: bits for key, bits in rows(store).items() if key[0] == first_run(store) and key[1] > 10}
    assert {key[1:]: bits for key, bits in rows(forked).items()} == parents


def test_forks_with_fresh_data_differ_from_each_other_and_keep_their_lineage(tmp_path):
    store = parent(tmp_path / "a")
    spec = fork_spec(store, steps=[10, 20], data_seed=[100, 101])
    forked = trained(spec, tmp_path / "b")
    assert len(set(weights(forked).values())) == 4 * 2 * 2
    history = forked.history()
    assert {run.parent for run in history.runs} == {row["run_id"] for row in store.plan["runs"]}
    assert {run.fork_step for run in history.runs} == {10, 20}
    assert len({run.setting_id for run in history.runs}) == 2


def test_lineage_moves_the_run_id(tmp_path):
    store = parent(tmp_path / "a")
    base = {"runs": [first_run(store)], "data_seed": [5]}
    variants = [base, {**base, "data_seed": [6]}, {**base, "steps": [20]}, {**base, "changes": {"optimiser.lr": 1e-3}}]
    ids = {expand(fork_spec(store, **variant))[0].run_id for variant in variants}
    assert len(ids) == 4


def test_a_fork_can_change_a_vector_hyperparameter(tmp_path):
    store = parent(tmp_path / "a")
    forked = trained(fork_spec(store, runs=[first_run(store)], changes={"optimiser.lr": 1e-4}), tmp_path / "b")
    assert weights(forked).values() != {weights(store)[first_run(store)]}
    assert forked.history().runs[0].hyperparameters["optimiser.lr"] == 1e-4


def test_a_fork_of_another_rate_and_batch_goes_on_from_its_parents_moments(tmp_path):
    store = parent(tmp_path / "a")
    changes = {"optimiser.lr": {"times": 2.0}, "batch_size": {"times": 0.5}}
    spec = fork_spec(store, runs=[first_run(store)], changes=changes)
    forked = trained(spec, tmp_path / "b")
    (config,) = expand(spec)
    assert (config.batch_size, config.optimiser.lr) == (8, 6e-3)
    state = RunState(10, store.snapshots().read(first_run(store), 10))
    assert np.any(state.arrays["exp_avg"])
    by_hand = Block(config, 1, torch.device("cpu"))
    by_hand.load_run(0, config, state)
    by_hand.train(20)
    assert weights(forked) == {config.run_id: weights_sha256(by_hand.run_state(0))}


def test_a_fork_from_a_step_without_weights_says_which_there_are(tmp_path):
    store = parent(tmp_path / "a")
    spec = fork_spec(store, steps=[0], data_seed=[3])
    assert len(expand(spec)) == 4, "step 0 needs no snapshot"
    bare = trained(tiny(), tmp_path / "b")
    with pytest.raises(StoreError, match=r"no state at step 10 \(it has: 30\)"):
        expand(fork_spec(bare, data_seed=[3]))


def test_a_replay_meets_every_recorded_number_and_state_again(tmp_path):
    store = parent(tmp_path / "a", seeds={"together": [0, 1]})
    for row in store.plan["runs"]:
        found = replay(store, row["run_id"], 5, 30, 5, (), with_weights=True)
        assert found.num_hashes == 3
        assert found.num_values > 20
        assert list(found.rows) == [5, 10, 15, 20, 25, 30]
        assert list(found.states) == list(found.rows)
        assert not any(np.isnan(value) for metrics in found.rows.values() for value in metrics.values())


def test_a_replay_that_differs_is_refused(tmp_path, monkeypatch):
    store = parent(tmp_path / "a")
    import pipeline.training.replay as module

    spec = stored_spec(store)
    other = {run.run_id: run for run in expand(spec)}
    run_id = first_run(store)
    wrong = next(run for name, run in other.items() if name != run_id)
    object.__setattr__(wrong, "run_id", run_id)
    monkeypatch.setattr(module, "expand", lambda spec: [wrong])
    with pytest.raises(ReplayError, match="recorded"):
        replay(store, run_id, 10, 20, 10, (), with_weights=False)


def test_a_replay_keeps_the_probes_that_are_asked_for_and_names_them_if_there_is_none(tmp_path):
    store = parent(tmp_path / "a")
    found = replay(store, first_run(store), 20, 30, 10, ("induction_score",), with_weights=False)
    assert set(found.rows[20]) == {"induction_score.l0h0", "induction_score.l1h0"}
    with pytest.raises(ValueError, match=r"there are: .*weight_norm"):
        replay(store, first_run(store), 20, 30, 10, ("inductoin",), with_weights=False)
    with pytest.raises(ValueError, match="0 <= from <= to"):
        replay(store, first_run(store), 30, 20, 10, (), with_weights=False)


def test_a_replay_or_model_outside_a_runs_steps_is_refused(tmp_path):
    store = parent(tmp_path / "a")
    forked = trained(fork_spec(store, runs=[first_run(store)], data_seed=[7]), tmp_path / "b")
    fork_id = first_run(forked)
    assert list(replay(forked, fork_id, 10, 30, 10, (), with_weights=False).rows) == [10, 20, 30]
    for step in (0, 5, 31):
        with pytest.raises(StoreError, match=f"there is no step {step}"):
            model(forked, fork_id, step)
    with pytest.raises(ValueError, match="budget of 30"):
        replay(forked, fork_id, 10, 40, 10, (), with_weights=False)
    with pytest.raises(StoreError, match="starts at step 10"):
        expand(fork_spec(forked, steps=[0], data_seed=[8]))


@pytest.mark.parametrize("task", TASKS)
def test_model_gives_back_what_was_evaluated(task, tmp_path):
    store = parent(tmp_path / "a", task, seeds={"together": [0]})
    run_id = first_run(store)
    config = expand(stored_spec(store))[0]
    history = store.history()
    for step in (0, 15, 30):
        module = model(store, run_id, step)
        assert isinstance(module, torch.nn.Module)
        if step == 15:
            continue
        batch = config.task.sample(_probe_streams(config), _vectors(config), config.dtype, "probe")
        losses = config.task.losses(module(batch.inputs[0]).flatten(0, -2)[None], batch.targets)
        recorded = history.values["probe_loss"][0, history.steps_T.tolist().index(step)]
        assert abs(losses.mean().item() - recorded) < 1e-6
    before, after = (
        [weights for weights in model(store, run_id, step).parameters() if weights.requires_grad] for step in (10, 15)
    )
    assert not any(torch.equal(a, b) for a, b in zip(before, after, strict=True))


def _probe_streams(config):
    from pipeline.numerics.streams import Draws, stream_key

    step = torch.zeros(1, dtype=torch.int64)
    return {name: Draws(torch.tensor([stream_key(f"probe/{name}", 0)]), step, 16) for name in config.task.streams}


def _vectors(config):
    return {name: torch.tensor([float(getattr(config.task, name))]) for name in config.task.vector_fields()}
