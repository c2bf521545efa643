"""A pack in training, followed: new commits are noticed, once each, and what is damaged is not taken in."""

from __future__ import annotations

import os

import pytest

from benchmarks.page.stub_sweep import BUDGET, commit, planned
from pipeline.store.pack_store import PackStore, StoreError
from pipeline.store.tails.pack_tail import PackTail

HALF = BUDGET // 2


@pytest.fixture
def store(tmp_path):
    return planned(tmp_path / "drawn", 8)


def test_a_commit_is_taken_in_once_with_the_files_that_are_new(store):
    first = store.pack_ids()[0]
    tail = PackTail(store.pack(first))
    assert tail.poll() is None
    commit(store, first, 1, HALF, since=0)
    found = tail.poll()
    assert (found.record.order, found.before, found.is_continued, len(found.tables)) == ((1, 1), None, True, 1)
    assert tail.poll() is None
    commit(store, first, 2, BUDGET, since=HALF)
    later = tail.poll()
    assert (later.record.order, later.before, later.is_continued) == ((1, 2), found.record, True)
    assert [table["step"].to_pylist()[0] > HALF for table, _ in later.tables] == [True]


def test_where_the_newest_record_is_set_aside_the_one_before_stands_for_itself(store):
    first = store.pack_ids()[0]
    commit(store, first, 1, HALF, since=0)
    commit(store, first, 2, BUDGET, since=HALF)
    pack = store.pack(first)
    tail = PackTail(pack)
    newest = tail.poll().record
    pack.record_path(newest.order).unlink()
    found = tail.poll()
    assert (found.record.order, found.before, found.is_continued, len(found.tables)) == ((1, 1), newest, False, 1)


def test_a_pack_without_a_commit_costs_one_look_at_its_folder(store, monkeypatch):
    first = store.pack_ids()[0]
    commit(store, first, 1, HALF, since=0)
    tail = PackTail(store.pack(first))
    assert tail.poll() is not None
    monkeypatch.setattr(PackStore, "records", None)
    assert tail.poll() is None


def test_a_commit_is_noticed_whatever_the_clocks_of_writer_and_reader_say(store):
    first = store.pack_ids()[0]
    tail = PackTail(store.pack(first))
    for number, step, since in ((1, HALF, 0), (2, BUDGET, HALF)):
        commit(store, first, number, step, since=since)
        # As on a file system whose server's clock stands still, or is hours behind.
        os.utime(tail.store.folder, (1e9, 1e9))
        assert tail.poll().record.order == (1, number)
        assert tail.poll() is None


def test_without_histories_no_file_is_read_and_a_pack_that_lacks_one_is_refused(store, monkeypatch):
    first = store.pack_ids()[0]
    commit(store, first, 1, HALF, since=0)
    monkeypatch.setattr(PackStore, "table", None)
    pack = store.pack(first)
    found = PackTail(pack, reads_history=False).poll()
    assert (found.record.order, found.tables) == ((1, 1), ())
    path = pack.folder / found.record.history[0].name
    path.write_bytes(path.read_bytes()[:-1])
    assert PackTail(pack, reads_history=False).poll().record == found.record
    path.unlink()
    with pytest.raises(StoreError, match="no generation of this pack is whole"):
        PackTail(pack, reads_history=False).poll()
