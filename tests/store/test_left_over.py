"""What crashes and repairs left is removed once a pack is finished: seedbed's own names, and nothing that is named."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from pipeline.store.damage import damages
from pipeline.store.left_over import remove_left_over
from tests.support import rows, tiny, trained, weights
from tests.sweeps.test_cli import run

# The id of a process that has ended.
GONE = int(subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True).stdout)


@pytest.fixture
def store(tmp_path):
    return trained(tiny(vary=[{"batch_size": [8, 16]}]), tmp_path / "r")


def every_file(store):
    return {path.relative_to(store.folder).as_posix() for path in store.folder.rglob("*") if path.is_file()}


def put(store, *names):
    for name in names:
        (store.folder / name).parent.mkdir(exist_ok=True)
        (store.folder / name).write_bytes(b"x")
    return set(names)


def test_unnamed_files_of_finished_packs_and_what_dead_processes_were_writing_are_removed(store):
    before, (first, second) = every_file(store), store.pack_ids()
    ours = put(
        store,
        f"packs/{first}/0001-000099.history.parquet",
        f"packs/{first}/0001-000099.checkpoint.parquet",
        f"packs/{first}/0002-000100.snapshots.parquet",
        f"packs/{first}/.0001-000099.record.json.{GONE}.tmp",
        f"packs/{second}/.0001-000099.history.parquet.{GONE}.tmp",
        f".sweep.json.{GONE}.tmp",
        f"copies/.plan-{'0' * 16}.json.{GONE}.tmp",
        f".forecast.json.{GONE}.tmp",
        f"added/.circuits-{'0' * 16}.parquet.{GONE}.tmp",
    )
    unfinished = put(store, f"packs/{second}/0001-000099.history.parquet")
    removed = {path.relative_to(store.folder).as_posix() for path in remove_left_over(store, [first])}
    assert removed == ours
    assert every_file(store) == before | unfinished


def test_what_seedbed_did_not_write_stays_and_what_is_being_written(store):
    first = store.pack_ids()[0]
    put(
        store,
        f"packs/{first}/mine.parquet",
        f"packs/{first}/0001-000099.history.parquet.bak",
        f"packs/{first}/0001-000099.notes.parquet",
        f"packs/{first}/.mine.{GONE}.tmp",
        f".notes.json.{GONE}.tmp",
        f".forecast.json.{os.getppid()}.tmp",
        "mine.parquet",
    )
    (store.folder / "packs" / first / "0001-000098.history.parquet").symlink_to(store.folder / "mine.parquet")
    (store.folder / "packs" / first / "0001-000097.history.parquet").mkdir()
    before = every_file(store)
    assert remove_left_over(store, store.pack_ids()) == []
    assert every_file(store) == before


def test_nothing_of_a_pack_without_an_intact_record_is_removed(store):
    for path in store.folder.glob("packs/*/*.record.json"):
        path.write_bytes(path.read_bytes()[:9])
    before = every_file(store)
    assert remove_left_over(store, store.pack_ids()) == []
    assert every_file(store) == before


def test_a_file_that_cannot_be_removed_stays_and_is_no_error(store, monkeypatch):
    first = store.pack_ids()[0]
    put(store, f"packs/{first}/0001-000099.history.parquet")

    def refused(self, missing_ok=False):
        raise PermissionError("read-only")

    with monkeypatch.context() as patched:
        patched.setattr("pathlib.Path.unlink", refused)
        assert remove_left_over(store, [first]) == []
    assert len(remove_left_over(store, [first])) == 1


@pytest.mark.parametrize("command", ["resume", "repair"])
def test_a_launch_that_finds_everything_complete_removes_them(command, store, monkeypatch, capsys):
    expected, hashes, before = rows(store), weights(store), every_file(store)
    put(store, f"packs/{store.pack_ids()[0]}/0001-000099.history.parquet")
    monkeypatch.chdir(store.folder.parent)
    assert run(monkeypatch, capsys, command, "r", "--inline")[0] == 0
    assert every_file(store) - {"driver.lock"} == before
    assert (rows(store), weights(store)) == (expected, hashes)
    assert not damages(store)


def test_what_is_set_aside_holds_no_temporary_file(store, monkeypatch, capsys):
    first = store.pack_ids()[0]
    for path in store.folder.glob(f"packs/{first}/*.record.json"):
        path.write_bytes(path.read_bytes()[:9])
    put(store, f"packs/{first}/.0001-000099.record.json.{GONE}.tmp")
    monkeypatch.chdir(store.folder.parent)
    assert run(monkeypatch, capsys, "repair", "r", "--inline")[0] == 0
    assert list(store.folder.glob(f"set-aside/packs-{first}/*.record.json"))
    assert not list(store.folder.rglob(".*.tmp"))
