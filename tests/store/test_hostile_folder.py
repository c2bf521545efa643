"""Results folders that somebody made by hand: sealed, and yet not what seedbed writes."""

from __future__ import annotations

import io
import json
import os

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.planning.packs import stored_spec
from pipeline.store.added import AddedTable, add_table, added_tables
from pipeline.store.damage import Damage, set_aside
from pipeline.store.driver_lock import DriverLock
from pipeline.store.files import CorruptFileError, read_file, write_file
from pipeline.store.formats.sealed import seal, unseal
from pipeline.store.formats.tables import decode_arrays, decode_table, encode_arrays, encode_table
from pipeline.store.pack_store import PackStore, StoreError
from pipeline.store.records.packed import Digests
from pipeline.store.stored_forecast import read_forecast
from pipeline.store.sweep_store import SweepStore
from tests.store.store_model import Sweep
from tests.support import tiny, trained


@pytest.fixture
def store(tmp_path):
    folder = SweepStore(tmp_path / "r")
    sweep = Sweep().with_pack(2)
    folder.write_documents(sweep.sweep_document(), sweep.plan_document(), is_shared=False)
    return folder


def rewrite(store, name, **changes):
    """Both generations of a document with other fields, sealed."""
    for folder in (store.folder, store.copies):
        path = next(folder.glob(name))
        write_file(path, seal({**unseal(path.read_bytes(), path), **changes}))


UPWARDS = "../../elsewhere"
ENDED = {
    "run_ids": "run000 run001",
    "kinds": [{"reason": "budget", "step": 20, "is_converged": False, "sources": [], "slots": [], "cause": ""}],
    "kind_of": 0,
    "weights_sha256": Digests.of(["0" * 64, "1" * 64]).stored,
}
ENTRIES = {"run_ids": "run000", "kinds": [[20, "state"]], "kind_of": 0, "sha256": Digests.of(["0" * 64]).stored}


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"packs": [{"pack_id": UPWARDS, "run_ids": ["run000"], "numerics": {}, "reason": ""}]}, "packs[0].pack_id"),
        ({"packs": []}, "packs must be a list of at least one"),
        ({"budget": -1}, "budgets[0].budget must be a whole number of at least 1, given -1"),
        ({"budget": True}, "given true"),
        ({"runs": [{"run_id": "run000", "setting_id": "other", "init_seed": 0, "data_seed": 0}]}, "packs must hold"),
        ({"settings": {"/etc/passwd": {}}}, "settings has the key"),
        ({"varied": [1]}, "varied[0] must be text, given 1"),
    ],
)
def test_a_sealed_plan_with_other_fields_is_refused_and_the_field_is_named(store, changes, told):
    rewrite(store, "plan-*.json", **changes)
    with pytest.raises(StoreError) as refused:
        _ = store.plan
    assert told in str(refused.value)
    assert "plan-" in str(refused.value)
    assert not (store.folder.parent / "elsewhere").exists()


def test_a_sweep_document_names_no_plan_elsewhere(store):
    (store.folder.parent / "plan.json").write_bytes(seal(store.plan))
    rewrite(store, "sweep.json", plan="../plan.json")
    with pytest.raises(StoreError, match=r"sweep\.json: is not what seedbed writes: plan must be text like"):
        _ = store.plan


@pytest.mark.parametrize(
    "changes",
    [
        {"history": [{"name": "../../../secret", "sha256": "0" * 64}]},
        {"history": [{"name": "a", "sha256": "0" * 64, "more": 1}]},
        {"snapshots": [[{"name": "a", "sha256": "0" * 64}]]},
        {"attempt": 10**400},
        {"ended": {**ENDED, "kinds": [{**ENDED["kinds"][0], "step": "x"}]}},
        {"ended": {**ENDED, "kinds": []}},
        {"ended": {**ENDED, "kind_of": 1}},
        {"ended": {**ENDED, "kind_of": [0]}},
        {"ended": {**ENDED, "kind_of": [0, -1]}},
        {"ended": {**ENDED, "kind_of": [0, True]}},
        {"ended": {**ENDED, "run_ids": "run000"}},
        {"ended": {**ENDED, "run_ids": "run000 ../run"}},
        {"ended": {**ENDED, "run_ids": "run000 .run"}},
        {"ended": {**ENDED, "run_ids": "run000 -run"}},
        {"ended": {**ENDED, "run_ids": "run000  "}},
        {"ended": {**ENDED, "run_ids": "run000 "}},
        {"ended": {**ENDED, "run_ids": " run000"}},
        {"ended": {**ENDED, "run_ids": "run000 r\n"}},
        {"ended": {**ENDED, "run_ids": "run000 \ud800"}},
        {"ended": {**ENDED, "run_ids": "run000 rün"}},
        {"ended": {**ENDED, "run_ids": f"run000 {'x' * 65}"}},
        {"ended": {**ENDED, "weights_sha256": ENDED["weights_sha256"][:-4]}},
        {"ended": {**ENDED, "weights_sha256": ENDED["weights_sha256"] + "é"}},
        {"ended": {**ENDED, "weights_sha256": ["", ""][:1]}},
        {"snapshots": [[{"name": "a", "sha256": "0" * 64}, {**ENTRIES, "kinds": [[10, "other"]]}]]},
        {"snapshots": [[{"name": "a", "sha256": "0" * 64}, {**ENTRIES, "kinds": [[-1, "state"]]}]]},
        {"snapshots": [[{"name": "a", "sha256": "0" * 64}, {**ENTRIES, "sha256": "AA=="}]]},
        {"active": None},
        {"history_times": [[1.0]]},
        {"history_times": [[1.0, 2.0]]},
    ],
)
def test_a_sealed_record_with_other_fields_counts_as_damaged(store, changes):
    body = {
        "sweep_id": "sweep",
        "pack_id": "pack0",
        "attempt": 1,
        "sequence": 1,
        "checkpoint": None,
        "history": [],
        "snapshots": [],
        "ended": ENDED,
        "active": {},
        "run_steps": 0,
        "wall_s": 0.0,
    }
    pack = PackStore(store.folder / "packs" / "pack0")
    pack.claim_attempt()
    path = pack.folder / "0001-000001.record.json"
    path.write_bytes(seal(body))
    assert pack.newest() is not None
    path.write_bytes(seal({**body, **changes}))
    with pytest.raises(StoreError, match="no commit record can be read"):
        pack.newest()


def test_a_spec_that_is_none_is_refused_with_its_file_and_field(tmp_path):
    store = trained(tiny(seeds={"together": [0]}), tmp_path / "r")
    rewrite(store, "sweep.json", spec={**store.sweep["spec"], "budget": "many"})
    with pytest.raises(StoreError, match=r"r/sweep\.json: its spec is not valid: budget: should be a valid integer"):
        stored_spec(store)


@pytest.mark.parametrize("name", ["packs", "packs/pack0", "copies", "added", "driver.lock", "set-aside"])
def test_nothing_is_written_through_a_link_in_a_results_folder(store, name, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    path = store.folder / name
    if path.is_dir():
        for each in path.iterdir():
            each.unlink()
        path.rmdir()
    path.symlink_to(outside / "new" if name == "driver.lock" else outside)
    sweep = Sweep().with_pack(2)

    def write_everything():
        with DriverLock(store.folder):
            store.write_documents(sweep.sweep_document(), sweep.plan_document(), is_shared=False)
        store.pack("pack0").claim_attempt()
        table = pa.table({"run_id": ["run000"], "step": [1], "x": [1.0]})
        add_table(store.folder, AddedTable("x", table, {}))
        set_aside(store, [Damage(store.folder / "sweep.json", "", is_blocking=True)])

    with pytest.raises(OSError, match=r"link|symbolic"):
        write_everything()
    assert list(outside.iterdir()) == []


def test_a_link_that_waits_for_a_temporary_file_is_not_written_through(tmp_path):
    (tmp_path / "victim").write_text("mine")
    (tmp_path / f".a.{os.getpid()}.tmp").symlink_to("victim")
    with pytest.raises(OSError, match="symbolic"):
        write_file(tmp_path / "a", b"theirs")
    assert (tmp_path / "victim").read_text() == "mine"


def test_a_small_table_that_stands_for_much_memory_is_refused_with_both_numbers(tmp_path):
    content = io.BytesIO()
    pq.write_table(pa.table({"step": pa.array(np.zeros(20_000_000, np.int64))}), content, compression="zstd")
    assert len(content.getvalue()) < 100_000
    with pytest.raises(CorruptFileError, match=r"x: would take 153 MiB of memory, and 128 MiB is the most for a file"):
        decode_table(content.getvalue(), tmp_path / "x")


@pytest.mark.parametrize(
    "table",
    [
        pa.table({"run_id": ["a"], "x": [1.0]}),
        pa.table({"run_id": [1], "step": [1], "x": [1.0]}),
        pa.table({"run_id": ["a"], "step": [1], "x": ["text"]}),
        pa.table({"run_id": ["a", None], "step": [1, 2], "x": [1.0, 1.0]}),
        pa.table({"run_id": ["a"], "step": [-1], "x": [1.0]}),
    ],
)
def test_a_sealed_table_of_another_kind_is_refused_by_name(store, table):
    good = pa.table({"run_id": ["run000"], "step": [1], "x": [1.0]})
    path = add_table(store.folder, AddedTable("x", good, {}))
    assert [added.metrics for added in added_tables(store.folder)] == [("x",)]
    sha256 = write_file(path, encode_table(table))
    write_file(path.parent / "x.json", seal({"file": path.name, "sha256": sha256, "about": {}}))
    with pytest.raises(CorruptFileError, match=rf"{path.name}: is no table of runs and steps"):
        list(added_tables(store.folder))


@pytest.mark.parametrize("field", [{"dtype": "object"}, {"shape": [-1, 7]}, {"shape": [2**40]}, {"dtype": "<U9"}])
def test_arrays_of_other_types_or_sizes_are_refused(tmp_path, field):
    table = decode_table(encode_arrays({"a": np.zeros(3)}), tmp_path)
    row = {**table.to_pylist()[0], **field}
    with pytest.raises(CorruptFileError, match=r"x: holds something that is no array"):
        decode_arrays(encode_table(pa.Table.from_pylist([row], table.schema)), tmp_path / "x")


@pytest.mark.parametrize(
    "content",
    [
        b'{"format": 2, "sha256": "x", "body": {"a": NaN}}',
        b"[" * 100_000,
        '{"body": {}}'.encode("utf-16-be"),
        b'{"format": 2.0, "sha256": "x", "body": {}}',
        b'{"body": ' + b"9" * 5000 + b"}",
    ],
)
def test_json_that_python_reads_in_its_own_way_is_no_document(content, tmp_path):
    with pytest.raises(CorruptFileError, match="doc"):
        unseal(content, tmp_path / "doc")


@pytest.mark.parametrize(
    "changes",
    [
        {"made_at": "2026-99-99T00:00:00Z"},
        {"orders": {"pack0": [1]}},
        {"forecasts": {"budget": 20, "runs": [{"run_id": "run000", "converged": 0.5}], "windows": []}},
        {"forecasts": {"budget": 20, "runs": [{"run_id": "run000", "converged": None}], "windows": []}},
        {"more": 1},
    ],
)
def test_a_sealed_forecast_of_another_kind_counts_as_none(store, changes):
    forecasts = {"budget": 20, "runs": [], "windows": []}
    body = {"format": 1, "made_at": "2026-01-01T00:00:00Z", "orders": {}, "num_runs": 2, "num_in_training": 0}
    path = store.folder / "forecast.json"
    path.write_bytes(seal({**body, "forecasts": forecasts}))
    assert read_forecast(store) is not None
    path.write_bytes(seal({**body, "forecasts": forecasts, **changes}))
    assert read_forecast(store) is None


def test_errors_of_the_system_name_the_file(tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pipeline.store.files.os.fsync", full)
    with pytest.raises(OSError, match="No space left") as told:
        write_file(tmp_path / "a", b"x")
    assert told.value.filename == str(tmp_path / "a")
    with pytest.raises(CorruptFileError, match="is not a file"):
        read_file(tmp_path)


def test_a_document_that_is_whole_is_read(store):
    assert json.loads((store.folder / "sweep.json").read_text())["body"]["plan"].startswith("plan-")
    assert len(store.plan["runs"]) == 2
