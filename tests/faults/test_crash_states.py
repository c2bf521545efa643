"""The states that a loss of power may leave: what was synced is there, and anything may be missing that was not."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
from itertools import islice

import pytest

from pipeline.store.damage import damages, lost_document
from pipeline.store.sweep_store import SweepStore
from tests.faults.crash_states import Operation, crash_states, lay_out, read_trace
from tests.faults.power import Traced, try_state
from tests.faults.shim import COUNT, build, preloaded
from tests.faults.test_faults import ROOT, python

NUM_STATES = 150

WRITE = [
    Operation("create", "/d/.new"),
    Operation("write", "/d/.new", data=b"123"),
    Operation("write", "/d/.new", data=b"45"),
    Operation("fsync", "/d/.new"),
    Operation("rename", "/d/new", "/d/.new"),
    Operation("fsync", "/d"),
]


def states_of(operations, num_random=40):
    """Number of operations before the crash -> the states that it may leave."""
    found = {}
    for number, _, state in crash_states(operations, "/d", num_random, random.Random(1)):
        found.setdefault(number, []).append(state)
    return found


def test_a_file_that_is_synced_renamed_and_its_folder_synced_is_old_or_new_and_in_the_end_new():
    states = states_of(WRITE)
    contents = [state["new"] for found in states.values() for state in found if "new" in state]
    assert set(contents) == {b"12345"}
    assert all(state == {"new": b"12345"} for state in states[6])
    # Before its folder is synced, the new name may be there or not.
    assert {tuple(state) for state in states[5]} == {(), ("new",), (".new",)}
    # Half of what was written, before it is synced.
    assert len({state[".new"] for state in states[3] if ".new" in state}) > 3


@pytest.mark.parametrize(("missing", "number"), [(3, 5), (5, 5)])
def test_without_either_sync_a_state_shows_it(missing, number):
    states = states_of([done for place, done in enumerate(WRITE) if place != missing])[number]
    assert any(state.get("new") != b"12345" for state in states)


def test_a_folder_that_was_not_synced_into_its_parent_may_be_gone_with_all_that_is_in_it():
    inside = [
        Operation(done.call, done.path.replace("/d", "/d/in"), done.other.replace("/d", "/d/in"), done.data)
        for done in WRITE
    ]
    states = states_of([Operation("mkdir", "/d/in"), *inside])
    assert {} in states[7]
    synced = states_of([Operation("mkdir", "/d/in"), Operation("fsync", "/d"), *inside])
    assert all(state == {"in": None, "in/new": b"12345"} for state in synced[8])


def test_what_was_removed_may_come_back_until_the_folder_is_synced():
    removed = [*WRITE, Operation("unlink", "/d/new")]
    assert {tuple(state) for state in states_of(removed)[7]} == {(), ("new",)}
    assert states_of([*removed, Operation("fsync", "/d")], 3)[8] == [{}] * 5


def test_a_rename_into_another_folder_may_show_the_file_in_both_or_in_neither():
    operations = [
        *WRITE,
        Operation("mkdir", "/d/in"),
        Operation("fsync", "/d"),
        Operation("rename", "/d/in/x", "/d/new"),
    ]
    shown = {tuple(sorted(set(state) - {"in"})) for state in states_of(operations)[9]}
    assert shown == {(), ("new",), ("in/x",), ("in/x", "new")}


TRACED = """
import os, sys
os.mkdir(sys.argv[1])
with open(sys.argv[1] + "/.new", "wb") as stream:
    stream.write(b"1\\n2\\t")
    stream.flush()
    os.fsync(stream.fileno())
os.rename(sys.argv[1] + "/.new", sys.argv[1] + "/new")
"""


def test_the_trace_of_a_process_gives_the_folder_that_it_left(tmp_path, monkeypatch):
    folder, trace = tmp_path / "r", tmp_path / "trace"
    monkeypatch.setenv("FAULT_TRACE", str(trace))
    library = build(tmp_path)
    monkeypatch.setattr("tests.faults.shim.Fault.environment", lambda *_: {"FAULT_FOLDER": str(tmp_path / "r")})
    assert python(TRACED, folder, library, COUNT).returncode == 0
    operations = read_trace(trace.read_bytes())
    assert [done.call for done in operations] == ["mkdir", "create", "truncate", "write", "fsync", "rename"]
    states = crash_states(operations, str(tmp_path), 0, random.Random(1))
    *_, everything = (state for _, missing, state in states if missing == "nothing")
    (tmp_path / "again").mkdir()
    lay_out(everything, tmp_path / "again")
    assert (tmp_path / "again" / "r" / "new").read_bytes() == (folder / "new").read_bytes() == b"1\n2\t"


STORE = """
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np

from pipeline.engine.slots import RunState
from pipeline.training.recorder import Recorder
from tests.support import opened, tiny

for number in range(3):
    seeds = {"together": list(range(number + 1))}
    store = opened(tiny(vary=[{"batch_size": [4, 8]}], seeds=seeds), Path(sys.argv[1]))
    pack = store.plan["packs"][number % 2]
    recorder = Recorder(store.pack(pack["pack_id"]), store.sweep["sweep_id"], pack["pack_id"], defaultdict(lambda: 100))
    for step in range(30 * number + 10, 30 * number + 40, 10):
        state = RunState(step, {"weights": np.full(3, step, np.float32)})
        recorder.add(pack["run_ids"][0], step, {"label_loss": 1.0})
        recorder.commit({pack["run_ids"][0]: (0, state)})
"""


def test_the_store_opens_to_what_was_sure_or_newer_in_every_state_that_a_loss_of_power_may_leave(tmp_path):
    folder, trace = tmp_path / "traced" / "r", tmp_path / "trace"
    folder.parent.mkdir()
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **COUNT.environment(folder.parent, trace=trace)}
    command = [sys.executable, "-c", STORE, str(folder)]
    subprocess.run(command, env=preloaded(build(tmp_path), environment), check=True)
    traced = Traced(folder.parent, read_trace(trace.read_bytes()))
    assert len(traced.records) == 9
    assert len(traced.sure[-1].records) == 2
    for number, missing, state in islice(traced.states(random.Random(0)), NUM_STATES):
        verdict = try_state(traced, number, missing, state, False, tmp_path / "opened")
        # No record names a file that is gone. A document's copy may lack while both are replaced.
        store = SweepStore(tmp_path / "opened" / "r")
        found = [damage for damage in damages(store) if "packs" in damage.path.parts]
        assert verdict.survived, verdict
        assert not found, (verdict, found)
        if store.exists() and lost_document(store) is None:
            # The plan is that of its sweep document: each launch adds a seed of both settings.
            assert len(store.plan["runs"]) == 2 * len(store.sweep["launches"])
        shutil.rmtree(tmp_path / "opened")
