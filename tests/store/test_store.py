"""The store: what is committed is whole, everything else does not exist."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time

import numpy as np
import pytest

from pipeline.engine.slots import RunState
from pipeline.store import files
from pipeline.store.files import CorruptFileError, decode_arrays, decode_table, encode_arrays, seal, unseal
from pipeline.store.pack_store import FencedError, PackStore, StoreError
from pipeline.store.progress import unfinished
from pipeline.store.sweep_store import DriverLock, SweepStore
from pipeline.training.recorder import Recorder
from tests.support import opened, rows, tiny, trained, weights

ARRAYS = {
    "a": np.arange(6, dtype=np.float32).reshape(2, 3),
    "b": np.array(np.nan),
    "empty": np.zeros((0, 4), np.int64),
    "scalar": np.array(7, np.int64),
}


def state(step, value):
    return RunState(step, {"weights": np.full(5, value, np.float32)})


def recorder_with(folder, run_id="a" * 16, step=10, value=1.0):
    folder.mkdir(parents=True, exist_ok=True)
    recorder = Recorder(PackStore(folder / "pack"), "sweep", "pack", 100)
    recorder.add(run_id, step, {"label_loss": value, "probe_loss": float("nan")})
    recorder.commit({run_id: (0, state(step, value))})
    return recorder


def test_arrays_come_back_bit_for_bit(tmp_path):
    back = decode_arrays(encode_arrays(ARRAYS), tmp_path)
    assert list(back) == list(ARRAYS)
    for name, array in ARRAYS.items():
        assert back[name].dtype == array.dtype
        assert back[name].shape == array.shape
        assert back[name].tobytes() == array.tobytes()


@pytest.mark.parametrize("encode", [lambda: encode_arrays(ARRAYS), lambda: seal({"a": [1, 2.5, "x"], "b": {}})])
def test_no_truncation_and_no_flipped_bit_goes_unnoticed(encode, tmp_path):
    path, content = tmp_path / "file", encode()
    digest = files.write_file(path, content)
    damaged = [content[:length] for length in range(0, len(content), 7)]
    rng = np.random.default_rng(0)
    for _ in range(500):
        flipped = bytearray(content)
        flipped[rng.integers(len(content))] ^= 1 << rng.integers(8)
        damaged.append(bytes(flipped))
    for wrong in damaged:
        path.write_bytes(wrong)
        with pytest.raises(CorruptFileError, match="file"):
            files.read_file(path, digest)


def test_a_sealed_record_checks_itself(tmp_path):
    content = seal({"step": 10})
    assert unseal(content, tmp_path) == {"step": 10}
    for wrong in (content.replace(b"10", b"11"), content[:-3], b"", b"[]", b"null", b"\xff"):
        with pytest.raises(CorruptFileError):
            unseal(wrong, tmp_path)


def test_a_damaged_parquet_file_is_a_corrupt_file(tmp_path):
    with pytest.raises(CorruptFileError, match="whole Parquet"):
        decode_table(encode_arrays(ARRAYS)[:-9], tmp_path)


def test_a_commit_names_rows_and_states_and_survives_reopening(tmp_path):
    recorder_with(tmp_path)
    again = Recorder(PackStore(tmp_path / "pack"), "sweep", "pack", 100)
    assert again.attempt == 2
    assert again.rows["a" * 16].steps == [10]
    assert np.isnan(again.rows["a" * 16].column("probe_loss")[0])
    (slot, restored) = again.checkpoint()["a" * 16]
    assert (slot, restored.step, restored.arrays["weights"].tolist()) == (0, 10, [1.0] * 5)


def test_what_no_record_names_is_ignored_and_removed(tmp_path):
    recorder = recorder_with(tmp_path)
    recorder.add("a" * 16, 20, {"label_loss": 2.0})
    recorder.store.write(recorder.attempt, 2, "history", files.encode_table(recorder._table()))
    (tmp_path / "pack" / ".0001-000002.snapshots.parquet.123.tmp").write_bytes(b"torn")
    again = Recorder(PackStore(tmp_path / "pack"), "sweep", "pack", 100)
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


def test_only_two_generations_are_kept(tmp_path):
    recorder = recorder_with(tmp_path)
    for step in (20, 30, 40):
        recorder.add("a" * 16, step, {"label_loss": 2.0})
        recorder.commit({"a" * 16: (0, state(step, 2.0))})
    names = [path.name for path in (tmp_path / "pack").iterdir()]
    assert sum("record" in name for name in names) == 2
    assert sum("checkpoint" in name for name in names) == 2
    assert sum("history" in name for name in names) == 4


def test_a_late_attempt_can_neither_commit_nor_remove_anything(tmp_path):
    late = recorder_with(tmp_path)
    current = Recorder(PackStore(tmp_path / "pack"), "sweep", "pack", 100)
    current.add("a" * 16, 20, {"label_loss": 2.0})
    current.commit({"a" * 16: (0, state(20, 2.0))})
    before = sorted(path.name for path in (tmp_path / "pack").iterdir())
    late.add("a" * 16, 20, {"label_loss": 3.0})
    with pytest.raises(FencedError, match="superseded"):
        late.commit({"a" * 16: (0, state(20, 3.0))})
    assert set(before) <= {path.name for path in (tmp_path / "pack").iterdir()}
    assert PackStore(tmp_path / "pack").newest().attempt == 2


def test_a_row_stands_once(tmp_path):
    recorder = recorder_with(tmp_path)
    with pytest.raises(AssertionError, match="recorded after"):
        recorder.add("a" * 16, 10, {"label_loss": 1.0})


class CrashError(Exception):
    """The injected crash."""


def crash_points(monkeypatch, point):
    """Fails the `point`-th call of any system call that changes the disk, before or after it took effect."""
    calls = iter(range(10**9))

    def wrap(function, after):
        def wrapped(*arguments, **options):
            number = next(calls)
            if number == point and not after:
                raise CrashError
            result = function(*arguments, **options)
            if number == point:
                raise CrashError
            return result

        return wrapped

    for name in ("rename", "fsync"):
        monkeypatch.setattr(files.os, name, wrap(getattr(os, name), after=point % 2 == 1))


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
    again = Recorder(PackStore(tmp_path / "pack"), "sweep", "pack", 100)
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


def test_a_second_driver_is_refused_at_once_and_the_first_ones_death_frees_the_lock(tmp_path):
    code = (
        "import sys, time; from pathlib import Path; from pipeline.store.sweep_store import DriverLock\n"
        f"with DriverLock(Path({str(tmp_path)!r})): print('held', flush=True); time.sleep(60)"
    )
    holder = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert holder.stdout.readline() == b"held\n"
    started = time.monotonic()
    with pytest.raises(StoreError, match="another"), DriverLock(tmp_path):
        pass
    assert time.monotonic() - started < 2
    holder.kill()
    holder.wait()
    with DriverLock(tmp_path):
        pass


def test_files_are_private_unless_the_sweep_is_shared(tmp_path):
    private = trained(tiny(seeds={"together": [0]}), tmp_path / "a")
    shared = trained(tiny(seeds={"together": [0]}, resources={"width": 1, "share_with_group": True}), tmp_path / "b")
    for store, forbidden in ((private, 0o077), (shared, 0o007)):
        for path in (store.folder, *store.folder.rglob("*")):
            assert not path.stat().st_mode & forbidden, path
    assert (shared.folder / "sweep.json").stat().st_mode & 0o060 == 0o060
    assert (shared.folder / "packs").stat().st_mode & 0o070 == 0o070


def test_a_store_is_read_with_numpy_and_pyarrow_alone(tmp_path):
    store = trained(tiny(), tmp_path / "a")
    code = (
        "import sys\n"
        "class Absent:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        others = 'torch lightning ray wandb pydantic yaml scipy sklearn pandas'.split()\n"
        "        if name.partition('.')[0] in others: raise ImportError(name)\n"
        "sys.meta_path.insert(0, Absent())\n"
        "from pathlib import Path; from pipeline.store.sweep_store import SweepStore\n"
        f"history = SweepStore(Path({str(store.folder)!r})).history()\n"
        "print(len(history.runs), sorted(history.values)[0])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["4", "attention_entropy.l0h0"]


def test_a_folder_of_another_spec_is_refused_field_by_field_and_left_alone(tmp_path):
    store = trained(tiny(), tmp_path / "a")
    before = {path: path.read_bytes() for path in store.folder.rglob("*") if path.is_file()}
    changes = {
        "optimiser": {"name": "adamw", "lr": 3e-3, "clip": 2.0},
        "batch_size": 8,
        "budget": 20,
        "converged": {"metric": "label_loss", "at_most": 0.5},
        "grid": {"chunk": 10, "eval_items": 64, "probe_items": 16},
    }
    for field, value in changes.items():
        with pytest.raises(StoreError, match=f"{field}.*: .* -> "):
            opened(tiny(**{field: value}), tmp_path / "a")
    with pytest.raises(StoreError, match="removing does not"):
        opened(tiny(seeds={"together": [0, 1]}), tmp_path / "a")
    assert before == {path: path.read_bytes() for path in store.folder.rglob("*") if path.is_file()}


def test_a_folder_that_holds_something_else_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(StoreError, match="not empty"):
        opened(tiny(), tmp_path)
    with pytest.raises(StoreError, match="holds no sweep"):
        SweepStore(tmp_path).history()


def test_planning_ten_thousand_runs_takes_about_a_second(tmp_path):
    spec = tiny(seeds={"together": {"range": [0, 10_000]}})
    started = time.monotonic()
    store = opened(spec, tmp_path / "a")
    assert time.monotonic() - started < 4, "planning and writing the plan"
    started = time.monotonic()
    assert len(unfinished(store)) == len(store.plan["packs"])
    assert time.monotonic() - started < 2
    assert weights(store) == {}
    assert rows(store) == {}


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
        Recorder(PackStore(tmp_path / "pack"), "sweep", "pack", 100)
    assert before.items() <= {path: path.read_bytes() for path in (tmp_path / "pack").iterdir()}.items()


def test_trouble_with_reading_is_not_taken_for_damage(tmp_path, monkeypatch):
    recorder_with(tmp_path)
    before = {path: path.read_bytes() for path in (tmp_path / "pack").iterdir()}

    def too_many(self):
        raise OSError(24, "Too many open files")

    with monkeypatch.context() as patch:
        patch.setattr("pathlib.Path.read_bytes", too_many)
        with pytest.raises(OSError, match="Too many"):
            Recorder(PackStore(tmp_path / "pack"), "sweep", "pack", 100)
    assert before.items() <= {path: path.read_bytes() for path in (tmp_path / "pack").iterdir()}.items()


@pytest.mark.parametrize("is_first", [True, False])
def test_a_crash_while_the_documents_are_written_leaves_the_old_sweep_or_none(is_first, tmp_path, monkeypatch):
    folder = tmp_path / "a"
    if not is_first:
        opened(tiny(seeds={"together": [0, 1]}), folder)
    old = None if is_first else SweepStore(folder).plan
    for point in range(12):
        with monkeypatch.context() as patch:
            crash_points(patch, point)
            with contextlib.suppress(CrashError):
                opened(tiny(), folder)
        store = SweepStore(folder)
        assert (
            store.is_free() if not store.exists() else len(store.plan["runs"]) in (4, len((old or store.plan)["runs"]))
        )
    assert len(opened(tiny(), folder).plan["runs"]) == 4


def test_a_late_attempt_whose_file_was_cleared_away_is_told_that_it_is_late(tmp_path, monkeypatch):
    late = recorder_with(tmp_path)
    late.add("a" * 16, 20, {"label_loss": 3.0})
    Recorder(PackStore(tmp_path / "pack"), "sweep", "pack", 100)

    def gone(*_):
        raise FileNotFoundError(2, "No such file or directory")

    monkeypatch.setattr(files.os, "rename", gone)
    with pytest.raises(FencedError, match="superseded"):
        late.commit({"a" * 16: (0, state(20, 3.0))})


def test_documents_are_not_touched_while_another_driver_works(tmp_path):
    from rich.console import Console

    from sweeps.command.launching import run_launch
    from sweeps.command.request import Request

    (tmp_path / "tiny.yaml").write_text(tiny().to_yaml())
    store = opened(tiny(), tmp_path / "r")
    before = {path: path.read_bytes() for path in store.folder.rglob("*") if path.is_file()}
    request = Request(tmp_path / "tiny.yaml", ("budget=60",), store.folder, is_inline=True)
    with DriverLock(store.folder), pytest.raises(StoreError, match="another"):
        run_launch(request, Console(quiet=True))
    after = {path: path.read_bytes() for path in store.folder.rglob("*") if path.is_file()}
    assert {path: content for path, content in after.items() if path.name != "driver.lock"} == before


def test_a_file_is_synced_before_it_is_renamed_and_its_folder_after(tmp_path, monkeypatch):
    done = []
    fsync, rename = os.fsync, os.rename

    def synced(descriptor):
        done.append(("sync", os.readlink(f"/proc/self/fd/{descriptor}")))
        fsync(descriptor)

    def renamed(source, target):
        done.append(("rename", str(target)))
        rename(source, target)

    monkeypatch.setattr(files.os, "fsync", synced)
    monkeypatch.setattr(files.os, "rename", renamed)
    files.write_file(tmp_path / "file", b"content")
    (first, second, third) = done
    assert first[0] == "sync"
    assert first[1].endswith(".tmp")
    assert second == ("rename", str(tmp_path / "file"))
    assert third == ("sync", str(tmp_path))
