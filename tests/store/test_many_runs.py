"""What sweeps of many runs rest on: parts of a history, stacked snapshots, quick checks."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pytest

from benchmarks.page.stub_sweep import BUDGET, STEPS_T, commit, planned
from pipeline.engine.slots import RunState
from pipeline.planning.packs import stored_spec
from pipeline.spec.sweep import SweepSpec
from pipeline.store.backends.posix import PosixFiles
from pipeline.store.files import CorruptFileError
from pipeline.store.formats import sealed
from pipeline.store.formats.columns import Pivot, texts
from pipeline.store.formats.sealed import seal, unseal
from pipeline.store.pack_store import PackStore, StoreError
from pipeline.store.records.record import record_misfit
from pipeline.store.shapes import PLAN, misfit
from pipeline.training.recorder import Recorder

OF_RECORD = {
    "sweep_id": "s", "pack_id": "p", "attempt": 1, "sequence": 1, "checkpoint": None, "history": [],
    "snapshots": [], "active": {}, "run_steps": 0, "wall_s": 0.0,
}  # fmt: skip


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    store = planned(tmp_path_factory.mktemp("drawn") / "r", 16)
    for pack_id in store.pack_ids():
        commit(store, pack_id, 1, BUDGET // 2, since=0)
        commit(store, pack_id, 2, BUDGET, since=BUDGET // 2)
    return store


def test_a_part_of_a_history_is_that_part_of_the_whole(drawn):
    whole, setting = drawn.history(), drawn.plan["runs"][0]["setting_id"]
    steps = STEPS_T[3::5].tolist()
    part = drawn.history(
        metrics=("grad_norm", "label_loss", "absent"), steps=steps, settings=[setting], dtype=np.float32
    )
    rows = [row for row, run in enumerate(whole.runs) if run.setting_id == setting]
    assert 0 < len(rows) < len(whole.runs)
    assert part.runs == tuple(whole.runs[row] for row in rows)
    assert part.ends == tuple(whole.ends[row] for row in rows)
    assert part.steps_T.tolist() == steps
    assert part.values.keys() == {"grad_norm", "label_loss"}
    columns = np.searchsorted(whole.steps_T, steps)
    for name, values_RT in part.values.items():
        assert values_RT.dtype == np.float32
        assert (values_RT == whole.values[name][np.ix_(rows, columns)].astype(np.float32)).all()


def test_a_history_reads_every_file_once(drawn, monkeypatch):
    read, get = [], PosixFiles.get
    monkeypatch.setattr(PosixFiles, "get", lambda *given: read.append(given[0].address_of(given[1])) or get(*given))
    drawn.history()
    assert len(read) == len({*read}) > 2 * len(drawn.pack_ids())


def test_a_history_is_as_of_the_newest_record_whose_files_are_whole(tmp_path):
    store = planned(tmp_path / "r", 16)
    first, *_ = store.pack_ids()
    for pack_id in store.pack_ids():
        commit(store, pack_id, 1, BUDGET // 2, since=0)
    half = store.history()
    commit(store, first, 2, BUDGET, since=BUDGET // 2)
    *_, newest = sorted(store.pack(first).folder.glob("*.history.parquet"))
    newest.write_bytes(newest.read_bytes()[:-1])
    found = store.history()
    assert (found.runs, found.ends) == (half.runs, half.ends)
    assert found.steps_T.tolist() == half.steps_T.tolist()
    assert all((found.values[name] == values_RT).all() for name, values_RT in half.values.items())
    oldest, *_ = sorted(store.pack(first).folder.glob("*.history.parquet"))
    oldest.unlink()
    with pytest.raises(StoreError, match="no generation of this pack is whole"):
        store.history()


def test_what_is_forgotten_of_runs_leaves_no_empty_steps_or_metrics():
    def table(run_id, steps, **metrics):
        columns = {"run_id": texts([run_id] * len(steps)), "step": np.array(steps), **metrics}
        return pa.table(columns)

    pivot = Pivot(["a", "b"])
    pivot.add(table("a", [50, 100], loss=[1.0, 2.0], norm=[3.0, 4.0]))
    pivot.add(table("b", [50], loss=[5.0]))
    pivot.forget(["a", "absent"])
    assert pivot.steps_T.tolist() == [50]
    assert pivot.values.keys() == {"loss"}
    np.testing.assert_array_equal(pivot.values["loss"], [[np.nan], [5.0]])
    pivot.forget(["b"])
    assert (pivot.steps_T.size, pivot.values) == (0, {})


def test_stacked_snapshots_are_those_read_one_by_one_and_every_file_is_read_once(tmp_path, monkeypatch):
    store = planned(tmp_path / "r", 48)
    rng = np.random.default_rng(0)
    first = store.plan["runs"][0]["run_id"]
    for entry in store.plan["packs"]:
        recorder = Recorder(store.pack(entry["pack_id"]), "s", entry["pack_id"], dict.fromkeys(entry["run_ids"], 200))
        for run_id in entry["run_ids"]:
            if run_id != first:
                state = RunState(200, {"weights": rng.normal(size=6), "count": np.array(rng.normal())})
                recorder.end(run_id, "stopped", state, False)
        recorder.commit({})
    read, arrays = [], PackStore.arrays
    monkeypatch.setattr(PackStore, "arrays", lambda *given: read.append(given[1]) or arrays(*given))
    run_ids, stacks = store.snapshots().stacked(200)
    assert len(read) == len(store.pack_ids()) > 1
    assert run_ids == [row["run_id"] for row in store.plan["runs"] if row["run_id"] != first]
    index = store.snapshots()
    for row, run_id in enumerate(run_ids):
        alone = index.read(run_id, 200)
        assert alone.keys() == stacks.keys()
        assert all((alone[name] == stacks[name][row]).all() for name in alone)
    assert store.snapshots().stacked(200, run_ids=run_ids[3:5])[0] == run_ids[3:5]
    assert store.snapshots().stacked(100)[0] == []


def test_snapshots_of_unlike_shapes_are_not_stacked(tmp_path):
    store = planned(tmp_path / "r", 8)
    (entry, *_) = store.plan["packs"]
    recorder = Recorder(store.pack(entry["pack_id"]), "s", entry["pack_id"], dict.fromkeys(entry["run_ids"], 200))
    for size, run_id in enumerate(entry["run_ids"], 1):
        recorder.end(run_id, "stopped", RunState(200, {"weights": np.zeros(size)}), False)
    recorder.commit({})
    with pytest.raises(StoreError, match="weights of state at step 200 has the shapes"):
        store.snapshots().stacked(200)


def test_a_sweep_takes_a_million_seeds(tmp_path):
    data = dict(stored_spec(planned(tmp_path / "r", 8)).identity()) | {"vary": []}
    spec = SweepSpec.model_validate({**data, "seeds": {"together": {"range": [0, 10**6]}}})
    assert len(spec.seeds) == 10**6
    crossed = {"init_seed": {"range": [0, 1000]}, "data_seed": {"range": [0, 1001]}}
    for seeds in ({"together": {"range": [0, 10**6 + 1]}}, {"crossed": crossed}):
        with pytest.raises(ValueError, match="1000000"):
            SweepSpec.model_validate({**data, "seeds": seeds})


def _plan(num_rows):
    row = {"setting_id": "s", "init_seed": 0, "data_seed": 0}
    run_ids = [f"r{number}" for number in range(num_rows)]
    numerics = {"slots": 1, "dtype": "float32", "device": "cpu", "threads": 1, "torch": "2"}
    return {
        "name": "n",
        "varied": [],
        "settings": {"s": {}},
        "runs": [{"run_id": run_id, **row} for run_id in run_ids],
        "packs": [{"pack_id": "p", "run_ids": run_ids, "numerics": numerics, "reason": ""}],
    }


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("run_id", "a/b", "runs[4].run_id must be text like"),
        ("init_seed", -1, "runs[4].init_seed must be a whole number"),
        ("init_seed", True, "runs[4].init_seed must be a whole number"),
        ("data_seed", 2**63, "runs[4].data_seed must be a whole number"),
        ("parent", "..", "runs[4].parent must be text like"),
        ("changes", [], "runs[4].changes must be a mapping"),
    ],
)
def test_one_row_of_many_that_does_not_fit_is_named(key, value, told):
    plan = _plan(5)
    assert misfit(plan, PLAN) is None
    plan["runs"][4][key] = value
    assert (misfit(plan, PLAN) or "").startswith(told)


def test_a_row_without_a_key_that_others_have_is_named():
    plan = _plan(5)
    del plan["runs"][3]["data_seed"]
    assert misfit(plan, PLAN) == "runs[3] has no 'data_seed'"
    plan = _plan(5)
    plan["packs"][0]["run_ids"][2] = ".."
    assert (misfit(plan, PLAN) or "").startswith("packs[0].run_ids[2] must be text like")


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("step", -1, "ends.r2"),
        ("reason", 1, "ends.r2"),
        ("slots", [0], "ends.r2"),
        ("is_converged", 0, "ends.r2"),
        ("x", 1, "ends.r2"),
    ],
)
def test_one_end_of_many_that_does_not_fit_is_named(key, value, told):
    end = {"reason": "budget", "step": 1, "weights_sha256": "", "is_converged": False, "slots": [1]}
    record = {**OF_RECORD, "ends": {f"r{number}": dict(end) for number in range(3)}}
    assert record_misfit(record) is None
    record["ends"]["r2"][key] = value
    assert told in (record_misfit(record) or "")


def test_a_large_document_is_read_in_either_layout_and_in_no_other_state(tmp_path, monkeypatch):
    assert seal({}).count(b"\n") > 1
    monkeypatch.setattr(sealed, "_LARGE", 0)
    body = {"b": [1, 2.5, None], "a": {"y": "x"}}
    content = seal(body)
    assert content.count(b"\n") == 1
    assert unseal(content, tmp_path) == body
    assert unseal(json.dumps(json.loads(content), indent=1).encode(), tmp_path) == body
    for place in range(len(content) - 1):
        for bit in range(8):
            damaged = bytearray(content)
            damaged[place] ^= 1 << bit
            with pytest.raises(CorruptFileError):
                unseal(bytes(damaged), tmp_path)
