"""Commits of a pack: the newest intact record is the state of the pack, everything else is ignored."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

from pipeline.engine.slots import RunState
from pipeline.store import files
from pipeline.store.backends import posix
from pipeline.store.formats.sealed import seal, unseal
from pipeline.store.formats.tables import encode_table
from pipeline.store.pack_store import FencedError, PackStore, StoreError
from pipeline.training.recorder import Recorder
from tests.store.crashes import CrashError, crash_points

BUDGETS = defaultdict(lambda: 100)


def state(step, value):
    return RunState(step, {"weights": np.full(5, value, np.float32)})


def recorder_with(folder, run_id="a" * 16, step=10, value=1.0):
    folder.mkdir(parents=True, exist_ok=True)
    recorder = Recorder(PackStore(folder / "pack"), "sweep", "pack", BUDGETS)
    recorder.add(run_id, step, {"label_loss": value, "probe_loss": float("nan")})
    recorder.commit({run_id: (0, state(step, value))})
    return recorder


def test_a_commit_names_rows_and_states_and_survives_reopening(tmp_path):
    recorder_with(tmp_path)
    again = Recorder(PackStore(tmp_path / "pack"), "sweep", "pack", BUDGETS)
    assert again.attempt == 2
    assert again.rows["a" * 16].steps == [10]
    assert np.isnan(again.rows["a" * 16].column("probe_loss")[0])
    (slot, restored) = again.checkpoint()["a" * 16]
    assert (slot, restored.step, restored.arrays["weights"].tolist()) == (0, 10, [1.0] * 5)


def test_what_no_record_names_is_ignored_and_removed(tmp_path):
    recorder = recorder_with(tmp_path)
    recorder.add("a" * 16, 20, {"label_loss": 2.0})
    recorder.store.write(recorder.attempt, 2, "history", encode_table(recorder._new.table()))
    (tmp_path / "pack" / ".0001-000002.snapshots.parquet.123.tmp").write_bytes(b"torn")
    again = Recorder(PackStore(tmp_path / "pack"), "sweep", "pack", BUDGETS)
    assert again.rows["a" * 16].steps == [10]
    names = sorted(path.name for path in (tmp_path / "pack").iterdir())
    assert names == [
        "0001-000001.checkpoint.parquet",
        "0001-000001.history.parquet",
        "0001-000001.record.json",
        "attempt-0001",
        "attempt-0002",
    ]


def test_a_damaged_generation_falls_back_to_the_one_before(tmp_path):
    recorder = recorder_with(tmp_path)
    recorder.add("a" * 16, 20, {"label_loss": 2.0})
    recorder.commit({"a" * 16: (0, state(20, 2.0))})
    assert PackStore(tmp_path / "pack").newest().sequence == 2
    for kind in ("checkpoint.parquet", "history.parquet", "record.json"):
        path = tmp_path / "pack" / f"0001-000002.{kind}"
        good = path.read_bytes()
        path.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
        newest = PackStore(tmp_path / "pack").newest()
        assert newest.sequence == 1, kind
        assert newest.active["a" * 16].step == 10
        path.write_bytes(good)


def test_where_files_are_not_read_damage_inside_them_is_not_seen_and_a_missing_one_is(tmp_path):
    recorder = recorder_with(tmp_path)
    recorder.add("a" * 16, 20, {"label_loss": 2.0})
    recorder.commit({"a" * 16: (0, state(20, 2.0))})
    path = tmp_path / "pack" / "0001-000002.history.parquet"
    path.write_bytes(b"damaged")
    assert PackStore(tmp_path / "pack").newest(reads_files=False).sequence == 2
    assert PackStore(tmp_path / "pack").newest().sequence == 1
    path.unlink()
    assert PackStore(tmp_path / "pack").newest(reads_files=False).sequence == 1
    record = tmp_path / "pack" / "0001-000001.record.json"
    content = bytearray(record.read_bytes())
    content[len(content) // 2] ^= 1
    record.write_bytes(content)
    with pytest.raises(StoreError, match=r"0001-000002.history.parquet: is missing; no generation of this pack"):
        PackStore(tmp_path / "pack").newest(reads_files=False)


def test_only_two_generations_are_kept(tmp_path):
    recorder = recorder_with(tmp_path)
    for step in (20, 30, 40):
        recorder.add("a" * 16, step, {"label_loss": 2.0})
        recorder.commit({"a" * 16: (0, state(step, 2.0))})
    names = [path.name for path in (tmp_path / "pack").iterdir()]
    assert sum("record" in name for name in names) == 2
    assert sum("checkpoint" in name for name in names) == 2
    assert sum("history" in name for name in names) == 4


def test_an_old_record_is_gone_for_good_before_what_it_names(tmp_path, monkeypatch):
    recorder, done = recorder_with(tmp_path), []
    recorder.add("a" * 16, 20, {"label_loss": 2.0})
    recorder.commit({"a" * 16: (0, state(20, 2.0))})
    unlink, fsync = Path.unlink, files.os.fsync

    def unlinked(path, missing_ok=False):
        if path.exists():
            done.append("record" if path.name.endswith(".record.json") else "file")
        unlink(path, missing_ok=missing_ok)

    def synced(descriptor):
        done.append("sync")
        fsync(descriptor)

    monkeypatch.setattr(Path, "unlink", unlinked)
    monkeypatch.setattr(files.os, "fsync", synced)
    recorder.add("a" * 16, 30, {"label_loss": 2.0})
    recorder.commit({"a" * 16: (0, state(30, 2.0))})
    assert done[-3:] == ["record", "sync", "file"]


def test_a_late_attempt_can_neither_commit_nor_remove_anything(tmp_path):
    late = recorder_with(tmp_path)
    current = Recorder(PackStore(tmp_path / "pack"), "sweep", "pack", BUDGETS)
    current.add("a" * 16, 20, {"label_loss": 2.0})
    current.commit({"a" * 16: (0, state(20, 2.0))})
    before = sorted(path.name for path in (tmp_path / "pack").iterdir())
    late.add("a" * 16, 20, {"label_loss": 3.0})
    with pytest.raises(FencedError, match="superseded"):
        late.commit({"a" * 16: (0, state(20, 3.0))})
    names = {path.name for path in (tmp_path / "pack").iterdir()}
    assert set(before) <= names
    assert {name for name in names - set(before) if "record" in name} == set()
    assert PackStore(tmp_path / "pack").newest().attempt == 2


@pytest.mark.parametrize("has_seen_it", [False, True])
def test_an_attempt_that_is_overtaken_while_it_commits_leaves_no_record_of_files_that_are_gone(
    has_seen_it, tmp_path, monkeypatch
):
    late = recorder_with(tmp_path)
    late.add("a" * 16, 20, {"label_loss": 2.0})
    write_file = posix.write_file

    def overtaken(path, content):
        is_record = path.name.endswith(".record.json")
        if is_record and not has_seen_it:
            Recorder(PackStore(tmp_path / "pack"), "sweep", "pack", BUDGETS)
        written = write_file(path, content)
        if is_record and has_seen_it:
            Recorder(PackStore(tmp_path / "pack"), "sweep", "pack", BUDGETS)
        return written

    with monkeypatch.context() as patch:
        patch.setattr(posix, "write_file", overtaken)
        with pytest.raises(FencedError, match="superseded"):
            late.commit({"a" * 16: (0, state(20, 2.0))})
    found = PackStore(tmp_path / "pack")
    assert found.newest().sequence == (2 if has_seen_it else 1)
    assert all(found._damage(record) is None for record in found.records())


def test_a_row_stands_once(tmp_path):
    recorder = recorder_with(tmp_path)
    with pytest.raises(AssertionError, match="recorded after"):
        recorder.add("a" * 16, 10, {"label_loss": 1.0})


@pytest.mark.parametrize("point", range(30))
def test_a_crash_at_any_storage_operation_leaves_the_old_or_the_new_state(point, tmp_path, monkeypatch):
    recorder = recorder_with(tmp_path)
    old = recorder.record
    recorder.add("a" * 16, 20, {"label_loss": 2.0})
    recorder.end("b" * 16, "budget", state(30, 5.0), is_converged=False)
    with monkeypatch.context() as patch:
        crash_points(patch, point)
        with contextlib.suppress(CrashError):
            recorder.commit({"a" * 16: (0, state(20, 2.0))})
    newest = PackStore(tmp_path / "pack").newest()
    assert newest.sequence in (1, 2)
    if newest.sequence == 1:
        assert newest == old
    again = Recorder(PackStore(tmp_path / "pack"), "sweep", "pack", BUDGETS)
    steps = {1: [10], 2: [10, 20]}[newest.sequence]
    assert again.rows["a" * 16].steps == steps
    assert again.checkpoint()["a" * 16][1].step == steps[-1]
    assert ("b" * 16 in again.ends) == (newest.sequence == 2)


def test_a_full_disk_is_loud_and_keeps_the_last_commit(tmp_path, monkeypatch):
    recorder = recorder_with(tmp_path)
    recorder.add("a" * 16, 20, {"label_loss": 2.0})

    def full(descriptor):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(files.os, "fsync", full)
        with pytest.raises(OSError, match="No space left"):
            recorder.commit({"a" * 16: (0, state(20, 2.0))})
    assert PackStore(tmp_path / "pack").newest().sequence == 1
    recorder.commit({"a" * 16: (0, state(20, 2.0))})
    assert PackStore(tmp_path / "pack").newest().active["a" * 16].step == 20


def test_eight_processes_that_claim_an_attempt_get_eight_numbers(tmp_path):
    (tmp_path / "pack").mkdir()
    code = (
        "import sys; from pathlib import Path; from pipeline.store.pack_store import PackStore\n"
        f"print([PackStore(Path({str(tmp_path / 'pack')!r})).claim_attempt() for _ in range(20)])"
    )
    processes = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) for _ in range(8)]
    numbers = [number for process in processes for number in json.loads(process.communicate()[0])]
    assert sorted(numbers) == list(range(1, 161))


def test_when_no_generation_is_whole_it_is_an_error_and_nothing_is_deleted(tmp_path):
    recorder = recorder_with(tmp_path)
    for step in (20, 30):
        recorder.add("a" * 16, step, {"label_loss": 2.0})
        recorder.commit({"a" * 16: (0, state(step, 2.0))})
    path = tmp_path / "pack" / "0001-000001.history.parquet"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    before = {path: path.read_bytes() for path in (tmp_path / "pack").iterdir()}
    with pytest.raises(StoreError, match=r"0001-000001\.history\.parquet.*no generation"):
        PackStore(tmp_path / "pack").newest()
    with pytest.raises(StoreError, match="no generation"):
        Recorder(PackStore(tmp_path / "pack"), "sweep", "pack", BUDGETS)
    assert before.items() <= {path: path.read_bytes() for path in (tmp_path / "pack").iterdir()}.items()


def test_trouble_with_reading_is_not_taken_for_damage(tmp_path, monkeypatch):
    recorder_with(tmp_path)
    before = {path: path.read_bytes() for path in (tmp_path / "pack").iterdir()}

    opened = files.os.open

    def too_many(path, flags, *mode):
        if flags & files.os.O_NONBLOCK:
            raise OSError(24, "Too many open files")
        return opened(path, flags, *mode)

    with monkeypatch.context() as patch:
        patch.setattr(files.os, "open", too_many)
        with pytest.raises(OSError, match="Too many"):
            Recorder(PackStore(tmp_path / "pack"), "sweep", "pack", BUDGETS)
    assert before.items() <= {path: path.read_bytes() for path in (tmp_path / "pack").iterdir()}.items()


def test_a_late_attempt_whose_file_was_cleared_away_is_told_that_it_is_late(tmp_path, monkeypatch):
    late = recorder_with(tmp_path)
    late.add("a" * 16, 20, {"label_loss": 3.0})
    Recorder(PackStore(tmp_path / "pack"), "sweep", "pack", BUDGETS)

    def gone(*_):
        raise FileNotFoundError(2, "No such file or directory")

    monkeypatch.setattr(files.os, "rename", gone)
    with pytest.raises(FencedError, match="superseded"):
        late.commit({"a" * 16: (0, state(20, 3.0))})


def test_a_record_says_when_the_rows_of_each_of_its_history_files_were_recorded(tmp_path):
    before = time.time()
    recorder = recorder_with(tmp_path)
    recorder.add("a" * 16, 20, {"label_loss": 2.0})
    recorder.commit({})
    recorder.commit({})
    record = recorder.store.newest()
    (begun, first), (first_again, second) = record.history_times
    assert before - 0.01 <= begun <= first == first_again <= second <= time.time() + 0.01
    assert [times for _, times in record.times_of_history()] == list(record.history_times)


def test_history_of_earlier_versions_has_no_times_and_is_continued(tmp_path):
    recorder_with(tmp_path)
    (path,) = tmp_path.rglob("*.record.json")
    body = unseal(path.read_bytes(), path)
    del body["history_times"]
    path.write_bytes(seal(body))
    again = Recorder(PackStore(tmp_path / "pack"), "sweep", "pack", BUDGETS)
    assert [times for _, times in again.record.times_of_history()] == [None]
    again.add("a" * 16, 20, {"label_loss": 2.0})
    again.commit({})
    old, new = [times for _, times in again.store.newest().times_of_history()]
    assert old is None
    assert new is not None
