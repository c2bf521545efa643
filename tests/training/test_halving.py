"""A pack that runs out of memory goes on with half its slots, and says under how many each run was computed."""

from __future__ import annotations

import weakref

import pytest
import torch

from pipeline.engine.block import Block
from pipeline.launch.inline import launch_inline
from pipeline.store.failures import slots_lines
from pipeline.store.progress import unfinished
from pipeline.training.isolation import is_out_of_memory
from pipeline.training.memory import MOST_HALVINGS, halve_slots
from pipeline.training.open_pack import open_pack
from pipeline.training.worker import run_pack
from tests.support import opened, rows, tiny, trained, weights

SPEC = tiny(seeds={"together": {"range": [0, 10]}}, budget=40, resources={"slots": 8})
ERRORS = [
    MemoryError(),
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory: you tried to allocate"),
    RuntimeError("std::bad_alloc"),
]


def fits(monkeypatch, most_slots, error, from_step=0, method="train"):
    """Memory is enough for blocks of so many slots; larger ones raise once they are at a step."""
    real = getattr(Block, method)

    def planted(self, *arguments):
        if self.num_slots > most_slots and int(self.steps_S.max()) >= from_step:
            # Not the same one, which would hold what it was raised in.
            raise type(error)(*error.args)
        return real(self, *arguments)

    monkeypatch.setattr(Block, method, planted)


def launch(store):
    return launch_inline(store, unfinished(store), lambda *_: None).failures


def ends(store):
    return {run: end for record in store.newest_records().values() for run, end in record.ends.items()}


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    return trained(SPEC, tmp_path_factory.mktemp("reference") / "r")


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: f"{type(error).__name__} {error}"[:24])
def test_an_allocation_that_fails_is_known_as_such(error):
    assert is_out_of_memory(error)
    assert not is_out_of_memory(RuntimeError("shapes differ"))
    assert not is_out_of_memory(ValueError("out of memory"))


@pytest.mark.parametrize(("most_slots", "error"), [(4, ERRORS[0]), (1, ERRORS[2])])
def test_a_pack_that_does_not_fit_is_trained_with_fewer_slots_which_every_run_names(
    most_slots, error, reference, tmp_path, monkeypatch
):
    store = opened(SPEC, tmp_path / "r")
    fits(monkeypatch, most_slots, error)
    assert launch(store) == {}
    (record,) = store.newest_records().values()
    assert record.slots == most_slots
    assert {end.slots for end in record.ends.values()} == {(most_slots,)}
    assert weights(store) == weights(reference)
    assert rows(store) == rows(reference)
    (line,) = slots_lines(store, store.newest_records())
    assert f"memory ran out with 8 slots, so it goes on with {most_slots}" in line


@pytest.mark.parametrize("method", ["train", "evaluate", "attention_maps"])
def test_runs_in_progress_go_on_from_their_states_and_name_both_numbers(method, reference, tmp_path, monkeypatch):
    """Ended ones stay; no row is recorded twice."""
    store = opened(SPEC, tmp_path / "r")
    monkeypatch.setattr("pipeline.launch.inline.run_pack", lambda *given, **how: run_pack(*given, 0.0, **how))
    fits(monkeypatch, 4, MemoryError(), from_step=20, method=method)
    assert launch(store) == {}
    both = {run for run, end in ends(store).items() if end.slots == (8, 4)}
    assert len(both) == 8
    assert {end.slots for run, end in ends(store).items() if run not in both} == {(4,)}
    assert weights(store) == weights(reference)
    assert rows(store) == rows(reference)
    (record,) = store.newest_records().values()
    stored = [
        (row["run_id"], row["step"])
        for file in record.history
        for row in store.pack(record.pack_id).table(file).select(["run_id", "step"]).to_pylist()
    ]
    assert len(stored) == len(set(stored))


def test_runs_that_wait_for_a_slot_survive_an_interruption(reference, tmp_path, monkeypatch):
    store = opened(SPEC, tmp_path / "r")
    (pack_id,) = store.pack_ids()
    loop = open_pack(store, pack_id)
    loop.step()
    loop.commit()
    halve_slots(store, pack_id, 0, "planted")
    loop = open_pack(store, pack_id)
    assert loop.occupants == list(loop.configs)[:4]
    assert list(loop.parked) == loop.waiting[:4] == list(loop.configs)[4:8]
    loop.step()
    loop.commit()
    (record,) = store.newest_records().values()
    assert sorted(entry.slot for entry in record.active.values()) == [-1, -1, -1, -1, 0, 1, 2, 3]
    assert launch(store) == {}
    assert weights(store) == weights(reference)
    assert rows(store) == rows(reference)


def test_after_three_halvings_the_pack_is_given_up_with_its_reason_and_others_go_on(tmp_path, monkeypatch):
    spec = tiny(seeds={"together": {"range": [0, 20]}}, budget=20, resources={"slots": 16})
    store = opened(spec, tmp_path / "r", num_workers=2)
    first, _ = store.pack_ids()
    bad = {run for pack in store.plan["packs"] if pack["pack_id"] == first for run in pack["run_ids"]}
    real = Block.load_runs

    def planted(self, runs):
        if any(config.run_id in bad for config, _ in runs.values()):
            raise MemoryError
        real(self, runs)

    monkeypatch.setattr(Block, "load_runs", planted)
    failures = launch(store)
    assert failures.keys() == {first}
    assert failures[first].startswith("memory ran out with 2 of 16 slots (MemoryError:")
    assert MOST_HALVINGS == 3
    assert unfinished(store) == [first]
    assert not any(end.reason == "failed" for end in ends(store).values()), "no run is to blame"
    monkeypatch.setattr(Block, "load_runs", real)
    assert launch(store) == {}
    reference = trained(spec, tmp_path / "b", num_workers=2)
    assert weights(store) == weights(reference)
    assert rows(store) == rows(reference)


def test_the_block_that_did_not_fit_is_gone_before_the_next_is_made(tmp_path, monkeypatch):
    store, blocks, alive = opened(SPEC, tmp_path / "r"), [], []
    build = Block.__init__

    def planted(self, *arguments, **how):
        alive.append(sum(block() is not None and block().num_slots == 8 for block in blocks))
        build(self, *arguments, **how)
        blocks.append(weakref.ref(self))

    monkeypatch.setattr(Block, "__init__", planted)
    fits(monkeypatch, 4, MemoryError(), from_step=10)
    assert launch(store) == {}
    assert [block() for block in blocks if block() is not None and block().num_slots == 8] == []
    assert alive[-1] == 0
