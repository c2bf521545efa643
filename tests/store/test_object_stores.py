"""Sweeps on object stores: planned, worked on, shown and fetched; here on a store in memory."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.console import Console

from pipeline.store.backends import objects
from pipeline.store.backends.local_copy import fetch, publish, sweep_document, sweep_on_objects
from pipeline.store.backends.objects import ObjectFiles, object_url
from pipeline.store.damage import damages
from pipeline.store.pack_store import StoreError
from pipeline.store.sweep_store import SweepStore
from pipeline.workers.lease import Lease
from sweeps.command.analysing import run_analyse
from sweeps.command.fleet.object_stores import local_sweep, sweep_at
from sweeps.command.fleet.working import run_work
from sweeps.command.status import show_status
from tests.support import opened, rows, tiny, trained, weights

URL = "s3://bucket/sweep"


@pytest.fixture
def bucket(monkeypatch):
    """An object store in memory, in the place of every one that is opened."""
    store = pytest.importorskip("obstore.store").MemoryStore()
    monkeypatch.setattr(objects, "_opened", lambda url: store)
    return store


def spec():
    return tiny(seeds={"together": [0, 1]}, resources={"slots": 2})


def test_a_path_that_was_given_as_a_url_is_one_again():
    assert object_url(Path("s3://bucket/a/b")) == "s3://bucket/a/b"
    assert object_url(Path("gs://bucket")) == "gs://bucket"
    assert [object_url(Path(text)) for text in ("results/a", "/s3:/a", "s3:", "")] == [None] * 4


def test_a_sweep_that_a_worker_trained_there_is_fetched_with_the_bits_of_a_launch(bucket, tmp_path):
    publish(opened(spec(), tmp_path / "planned").folder, URL, None)
    with sweep_at(Path(URL)) as store:
        assert run_work(store, None, False, Console(quiet=True)) == 0
        assert show_status(store, False, False, Console(quiet=True)) == 0
    copy, reference = SweepStore(tmp_path / "copy"), trained(spec(), tmp_path / "launched")
    assert fetch(URL, copy.folder) > 0
    assert (rows(copy), weights(copy)) == (rows(reference), weights(reference))
    assert damages(copy) == []
    assert fetch(URL, copy.folder) == 0, "what is there is not copied again"
    file = next(copy.pack(copy.pack_ids()[0]).folder.glob("*.history.parquet"))
    file.write_bytes(b"flipped")
    assert fetch(URL, copy.folder) == 1
    assert damages(copy) == []


def test_a_sweep_there_is_analysed_in_a_copy_that_is_brought_up_to_date(bucket, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    publish(opened(spec(), tmp_path / "planned").folder, URL, None)
    with pytest.raises(StoreError, match="nothing is committed yet"):
        run_analyse([local_sweep(Path(URL), Console(quiet=True))], None, None, Console(quiet=True))
    with sweep_at(Path(URL)) as store:
        run_work(store, None, False, Console(quiet=True))
    copy = local_sweep(Path(URL), told := Console(record=True, width=200))
    assert "copied to" in told.export_text()
    run_analyse([copy], None, None, Console(quiet=True))
    assert (copy.folder / "analysis.json").is_file()
    assert copy.folder.is_relative_to(tmp_path / "cache")
    # Another sweep under the same URL is not read as the one before.
    for name in ObjectFiles(URL).all_names():
        *folders, last = name.split("/")
        ObjectFiles(URL).inside_of(folders).delete([last])
    publish(opened(tiny(seeds={"together": [2]}), tmp_path / "other").folder, URL, None)
    assert local_sweep(Path(URL), Console(quiet=True)).folder != copy.folder
    assert local_sweep(tmp_path / "other", Console(quiet=True)).folder == tmp_path / "other"


def test_of_two_plans_one_is_written_and_the_other_is_refused(bucket, tmp_path):
    folder = opened(spec(), tmp_path / "planned").folder
    publish(folder, URL, None)
    before = sweep_document(URL)
    publish(folder, URL, None)
    other = opened(tiny(seeds={"together": [2]}), tmp_path / "other").folder
    with pytest.raises(StoreError, match="plan again"):
        publish(other, URL, None)
    publish(other, URL, before)
    with pytest.raises(StoreError, match="plan again"):
        publish(folder, URL, before)
    assert sweep_on_objects(URL, tmp_path / "read").sweep == SweepStore(other).sweep


@pytest.mark.parametrize(("arrives", "is_written"), [(b"theirs", False), (b"ours", True)])
def test_a_document_that_changes_while_it_is_compared_is_not_overwritten(bucket, monkeypatch, arrives, is_written):
    """What arrives in between is another launch's, or this one's first try, whose reply was lost."""
    import obstore

    files, get = ObjectFiles(URL), obstore.get
    files.put("sweep.json", b"before")

    def overtaken(store, name):
        found = get(store, name)
        obstore.put(store, name, arrives)
        return found

    with monkeypatch.context() as patch:
        patch.setattr(obstore, "get", overtaken)
        assert files.put_if_equal("sweep.json", b"ours", b"before") is is_written
    assert files.get("sweep.json") == arrives


def test_a_claim_whose_reply_was_lost_is_known_by_its_content(bucket):
    files = ObjectFiles(URL)
    assert [files.put_if_absent("attempt", content) for content in (b"ours", b"ours", b"theirs")] == [True, True, False]
    assert files.get("attempt") == b"ours"


def test_a_plan_is_not_written_beside_workers(bucket, tmp_path):
    folder = opened(spec(), tmp_path / "planned").folder
    publish(folder, URL, None)
    with sweep_at(Path(URL)) as store, Lease(store) as lease, pytest.raises(StoreError, match=lease.worker):
        publish(folder, URL, sweep_document(URL))


def test_objects_that_would_lead_out_of_the_folder_are_not_copied(bucket, tmp_path):
    publish(opened(spec(), tmp_path / "planned").folder, URL, None)
    files = ObjectFiles(URL)
    real = files.all_names

    def planted(self):
        return real() | {"../outside.json": 0.0, "sources/../../outside.json": 0.0, "a//b": 0.0}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ObjectFiles, "all_names", planted)
        patch.setattr(ObjectFiles, "get", lambda self, name, sha256=None, get=ObjectFiles.get: get_or(self, name, get))
        sweep_on_objects(URL, tmp_path / "copy")
    assert not (tmp_path / "outside.json").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["copy", "planned"]


def get_or(files, name, get):
    """What is there, or something for a planted name."""
    return b"planted" if name in ("outside.json", "b") else get(files, name)


def test_another_sweep_is_not_fetched_over_one(bucket, tmp_path):
    publish(opened(spec(), tmp_path / "planned").folder, URL, None)
    other = opened(tiny(seeds={"together": [2]}), tmp_path / "other").folder
    with pytest.raises(StoreError, match="another sweep"):
        fetch(URL, other)


def test_where_there_is_no_sweep_it_is_said(bucket, tmp_path):
    with pytest.raises(StoreError, match="holds no sweep"), sweep_at(Path(URL)):
        pass
    assert sweep_document(URL) is None
