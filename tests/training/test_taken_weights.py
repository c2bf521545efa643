"""Forks that take weights from other runs: whose weights and moments they start from, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pipeline.engine.block import Block
from pipeline.engine.slots import RunState
from pipeline.planning.packs import expand
from pipeline.spec.draws import draw_keys
from pipeline.spec.sweep import SweepSpec
from pipeline.store.pack_store import StoreError
from pipeline.training.recorder import weights_sha256
from pipeline.training.replay import model, replay
from tests.support import rows, tiny, trained, weights

NAMES = (
    *("embedding", "position", "unembedding"),
    *(f"layer{layer}.{name}" for layer in (0, 1) for name in ("query", "key", "value", "output")),
)


def parents(folder, engine="torch", **changes):
    resources = {"slots": 4, "engine": engine}
    seeds = {"zipped": {"init_seed": [0, 1, 2], "data_seed": [0, 7, 7]}}
    spec = tiny(snapshots={"states": [0, 10, 20]}, seeds=seeds, vary=[], resources=resources, **changes)
    return trained(spec, folder)


def fork_spec(store, *, engine="torch", **fork):
    return SweepSpec.model_validate(
        {
            "name": "forked",
            "budget": 30,
            "grid": {"chunk": 10, "eval_items": 32, "probe_items": 16},
            "resources": {"slots": 4, "engine": engine},
            "snapshots": {"states": [0, 10]},
            "tracking": {"mode": "disabled"},
            "fork": {"sweep": str(store.folder), "steps": [10], **fork},
        }
    )


def ids(store):
    return [row["run_id"] for row in store.plan["runs"]]


def taking(store, sources, **fork):
    first, *_ = ids(store)
    return fork_spec(store, runs=[first], changes={"weights": sources}, **fork)


@pytest.mark.native
@pytest.mark.parametrize("engine", ["torch", "compiled"])
@pytest.mark.parametrize("step", [0, 10])
def test_a_fork_that_takes_every_weight_ends_with_the_bits_of_the_run_that_it_took_them_from(tmp_path, step, engine):
    store = parents(tmp_path / "a", engine)
    _, other, _ = ids(store)
    spec = taking(store, dict.fromkeys(NAMES, other), steps=[step], data_seed=[7], engine=engine)
    forked = trained(spec, tmp_path / "b")
    (fork_id,) = ids(forked)
    assert fork_id != other
    assert weights(forked)[fork_id] == weights(store)[other]
    later = {key[1:]: bits for key, bits in rows(store).items() if key[0] == other and (key[1] > 10 or not step)}
    assert {key[1:]: bits for key, bits in rows(forked).items()} == later


@pytest.mark.native
@pytest.mark.parametrize("engine", ["torch", "compiled"])
def test_taken_weights_come_with_their_moments_and_all_else_is_the_parents(tmp_path, engine):
    store = parents(tmp_path / "a", engine)
    first, other, third = ids(store)
    sources = {"layer0.query": other, "unembedding": third}
    spec = taking(store, sources, engine=engine)
    forked = trained(spec, tmp_path / "b")
    (config,) = expand(spec)
    own, *others = (RunState(10, store.snapshots().read(run_id, 10)) for run_id in (first, other, third))
    computed_by = forked.plan["packs"][0]["numerics"]["engine"]
    assert (computed_by == "torch") == (engine == "torch")
    block = Block(config, 1, torch.device("cpu"), computed_by)
    start, place = dict(own.arrays), 0
    for spec_of in block.layout.specs:
        stop = place + spec_of.rows * spec_of.columns
        for name, state in zip(sources, others, strict=True):
            for array in ("weights", "initial_weights", "exp_avg", "exp_avg_sq") if spec_of.name == name else ():
                start[array] = np.concatenate(
                    [start[array][:place], state.arrays[array][place:stop], start[array][stop:]]
                )
        place = stop
    assert not np.array_equal(start["exp_avg"], own.arrays["exp_avg"])
    block.load_run(0, config, RunState(10, start))
    block.train(20)
    assert weights(forked) == {config.run_id: weights_sha256(block.run_state(0))}


def test_histories_say_what_each_alternative_took(tmp_path):
    store = parents(tmp_path / "a")
    first, other, _ = ids(store)
    sources = ({}, {"embedding": other}, {"embedding": other, "layer0.query": other})
    alternatives = [{"weights": dict(taken)} if taken else {} for taken in sources]
    forked = trained(fork_spec(store, runs=[first], data_seed=[5], alternatives=alternatives), tmp_path / "b")
    runs = forked.history().runs
    assert [dict(run.taken) for run in runs] == list(sources)
    assert len({run.setting_id for run in runs}) == len(set(weights(forked).values())) == 3


def test_what_is_taken_is_in_the_ids_whatever_the_order_of_their_names(tmp_path):
    store = parents(tmp_path / "a")
    _, other, third = ids(store)
    two = {"layer0.query": other, "layer0.key": third}
    found = [expand(taking(store, sources))[0] for sources in ({"layer0.query": other}, {"layer0.query": third}, two)]
    assert len({run.run_id for run in found}) == len({run.setting_id for run in found}) == 3
    assert len({run.draws_id for run in found}) == 3
    again = expand(taking(store, dict(reversed(two.items()))))[0]
    assert (again.run_id, again.draws_id) == (found[2].run_id, found[2].draws_id)
    assert type(again).from_dict(again.as_dict()) == again


def test_a_fork_of_such_a_fork_starts_from_its_state_at_step_0_too(tmp_path):
    store = parents(tmp_path / "a")
    _, other, _ = ids(store)
    mixed = trained(taking(store, {"position": other}, steps=[0]), tmp_path / "b")
    (mixed_id,) = ids(mixed)
    # The data seed of run 0 is 0 already, so this fork states a change that is none.
    again = trained(fork_spec(mixed, steps=[0], data_seed=[0]), tmp_path / "c")
    assert list(weights(again).values()) == [weights(mixed)[mixed_id]]
    data = taking(store, {"position": other}, steps=[0]).identity() | {"snapshots": {"states": []}}
    bare = trained(SweepSpec.model_validate(data), tmp_path / "d")
    with pytest.raises(StoreError, match=r"no state at step 0 \(it has: 30\)"):
        expand(fork_spec(bare, steps=[0], data_seed=[4]))


def test_a_replay_of_such_a_fork_meets_every_recorded_number(tmp_path):
    store = parents(tmp_path / "a")
    _, other, _ = ids(store)
    forked = trained(taking(store, {"embedding": other}, steps=[0, 10]), tmp_path / "b")
    for run_id, first in zip(ids(forked), (0, 10), strict=True):
        found = replay(forked, run_id, first, 30, 10, (), with_weights=False)
        assert found.num_values > 20
        at_start = dict(model(forked, run_id, first).named_parameters())
        assert at_start


@pytest.mark.parametrize(
    ("sources", "message"),
    [
        ({"layer0.quer": "OTHER"}, r"weights\.layer0\.quer: unknown parameter 'layer0\.quer'; did you mean 'layer0\.q"),
        ({"layer0.query": "FIRST"}, r"weights\.layer0\.query: has no effect: this run is the parent itself; leave it"),
        ({"layer0.query": "0" * 16}, r"fork\.changes\.weights: .*a has no run 0000000000000000$"),
    ],
)
def test_what_cannot_be_taken_is_told(tmp_path, sources, message):
    store = parents(tmp_path / "a")
    named = dict(zip(("FIRST", "OTHER"), ids(store), strict=False))
    with pytest.raises(StoreError, match=message):
        expand(taking(store, {name: named.get(run, run) for name, run in sources.items()}))


def test_weights_are_taken_between_runs_of_one_model_task_and_optimiser_alone(tmp_path):
    spec = tiny(snapshots={"states": [10]}, seeds={"together": [0]}, vary=[{"model.head_width": [4, 2]}])
    store = trained(spec, tmp_path / "a")
    _, other = ids(store)
    widths = [run.model.head_width for run in spec.runs()]
    message = (
        rf"weights\.embedding: run {other} has model\.head_width {widths[1]}, the parent {widths[0]}: weights and "
        "moments are taken between runs of one task, model, optimiser and dtype alone"
    )
    with pytest.raises(StoreError, match=message):
        expand(taking(store, {"embedding": other}))


def test_a_state_of_the_other_run_must_have_been_kept(tmp_path):
    spec = tiny(
        snapshots={"states": [10, 20]},
        seeds={"together": [0]},
        vary=[{"optimiser.lr": [3e-3, 1e-3], "budget": [30, 10]}],
        converged={"metric": "label_loss", "at_most": 0.1, "evaluations": 1},
    )
    store = trained(spec, tmp_path / "a")
    _, other = ids(store)
    assert len(expand(taking(store, {"embedding": other}))) == 1
    with pytest.raises(StoreError, match=rf"run {other} has no state at step 20"):
        expand(taking(store, {"embedding": other}, steps=[20]))


def test_forks_that_take_equal_weights_of_equal_runs_are_one_run(tmp_path):
    """Runs of a plan whose streams pin their seeds are equal, and so is what takes weights from either."""
    store = parents(tmp_path / "a")
    _, other, _ = ids(store)
    plan = trained(taking(store, {"embedding": other}), tmp_path / "b").plan
    row, *_ = plan["runs"]
    parent_plan = store.plan
    setting = parent_plan["runs"][0]["setting_id"]
    pinned = {**parent_plan["settings"][setting], "streams.data": 3}
    doubles = [{**parent_plan["runs"][1], "run_id": f"double{n}", "data_seed": n} for n in (1, 2)]
    parent_plan = {**parent_plan, "settings": {setting: pinned}, "runs": [parent_plan["runs"][0], *doubles]}
    forks = [{**row, "run_id": f"fork{n}", "changes": {"weights": {"embedding": f"double{n}"}}} for n in (1, 2)]
    plain = {**row, "run_id": "plain", "changes": {}}
    looped = {**row, "run_id": "looped", "changes": {"weights": {"embedding": "looped"}}}
    keys = draw_keys([{**plan, "runs": [*forks, plain, looped]}, parent_plan])
    assert keys["fork1"] == keys["fork2"]
    assert len({keys[name] for name in ("fork1", "plain", "looped")}) == 3
