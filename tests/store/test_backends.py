"""What every place of files promises, and packs in one whose calls fail, answer late and race."""

from __future__ import annotations

import contextlib
import random
import threading

import pytest

from pipeline.store.backends.objects import ObjectFiles
from pipeline.store.backends.posix import PosixFiles
from pipeline.store.files import CorruptFileError
from pipeline.store.pack_store import FencedError, PackStore, StoreError
from pipeline.store.records.ends import Ended
from pipeline.store.records.record import FileEntry, Record
from tests.store.shared_files import Bucket, SharedFiles


@pytest.fixture(params=["posix", "memory", "objects"])
def files(request, tmp_path):
    if request.param == "objects":
        store = pytest.importorskip("obstore.store").MemoryStore()
        return ObjectFiles("s3://bucket/sweep", store)
    return PosixFiles(tmp_path / "sweep") if request.param == "posix" else SharedFiles(Bucket())


def test_a_file_is_what_was_put_last(files):
    assert not files.exists("a")
    assert files.put_if_absent("a", b"first")
    sha256 = files.put("a", b"second")
    assert files.exists("a")
    assert files.get("a") == files.get("a", sha256) == b"second"
    with pytest.raises(CorruptFileError, match="checksum"):
        files.get("a", "0" * 64)
    with pytest.raises(CorruptFileError, match="missing"):
        files.get("b")


def test_of_racing_claims_one_is_told_that_it_is_the_first(files):
    files.put_if_absent("made", b"")
    for turn in range(20):
        gate, told = threading.Barrier(4), []

        def claim(number, turn=turn, gate=gate, told=told):
            gate.wait()
            told.append(files.put_if_absent(f"claim-{turn}", b"%d" % number))

        threads = [threading.Thread(target=claim, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(told) == [False, False, False, True]


def test_names_are_those_of_the_folder_alone(files):
    assert files.inside("packs").names() == []
    files.put_if_absent("a", b"")
    files.inside("packs").put_if_absent("b", b"")
    assert files.inside("packs").names() == ["b"]
    assert {*files.names()} - {"packs"} == {"a"}


def test_what_is_deleted_is_gone_and_what_is_not_there_may_be_deleted(files):
    files.put_if_absent("a", b"")
    files.delete(["a", "never"], is_durable=True)
    files.delete(["a"])
    assert not files.exists("a")
    assert files.names() == []


def test_a_claim_whose_reply_was_lost_is_known_again():
    store = PackStore(SharedFiles(Bucket(), random.Random(0), lost=1.0))
    assert [store.claim_attempt() for _ in range(3)] == [1, 2, 3]


def test_of_two_claims_of_one_attempt_one_is_refused():
    """Neither may be taken for the other's repetition: their contents differ."""
    files = SharedFiles(Bucket())
    assert [PackStore(files).claim_after(0) for _ in range(2)] == [True, False]


@pytest.mark.parametrize("number", [0, 1, 2, 3, 4, 7, 8, 100])
def test_the_newest_attempt_is_found_among_any_number(number):
    store = PackStore(SharedFiles(Bucket()))
    assert all(store.claim_after(before) for before in range(number))
    assert store.newest_attempt() == number


def attempt_of(bucket, seed, num_runs, finished):
    """Attempts at a pack until one sees all its runs ended: each goes on from the newest record and ends run by run."""
    chance = random.Random(seed)
    store = PackStore(SharedFiles(bucket, chance, lost=0.03, refused=0.03, prefix="pack/"))
    while not finished.wait(0.002 * chance.random()):
        with contextlib.suppress(OSError, FencedError, StoreError, CorruptFileError):
            attempt = store.claim_attempt()
            newest = store.newest()
            record = newest or Record("sweep", "pack", 0, 0)
            store.remove_unnamed(attempt, [] if newest is None else [newest])
            while len(record.ends) < num_runs:
                run, before = f"run{len(record.ends)}", record
                # What a run computes is a function of the run alone.
                entry = store.write(attempt, record.sequence + 1, "history", run.encode())
                end = Ended("budget", 10, run, is_converged=False)
                record = Record(
                    "sweep", "pack", attempt, record.sequence + 1, history=(*record.history, entry),
                    ends={**record.ends, run: end},
                )  # fmt: skip
                store.commit(record)
                store.remove_unnamed(attempt, [record, before])
            finished.set()


@pytest.mark.parametrize("seed", range(20))
def test_attempts_that_race_on_a_failing_store_leave_each_run_once(seed):
    bucket, finished = Bucket(longest_lag=seed % 4), threading.Event()
    threads = [threading.Thread(target=attempt_of, args=(bucket, 10 * seed + n, 6, finished)) for n in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert finished.is_set()
    # Read once what was on its way has arrived.
    bucket.longest_lag = 0
    bucket.changed()
    whole = PackStore(SharedFiles(bucket, prefix="pack/"))
    newest = whole.newest()
    assert sorted(newest.ends) == [f"run{n}" for n in range(6)]
    assert [whole.files.get(entry.name) for entry in newest.history] == [b"run%d" % n for n in range(6)]


class Latest(random.Random):
    """Draws the oldest listing, and no failure."""

    def choice(self, seq):
        return seq[0]

    def random(self):
        return 1.0


def test_an_early_attempt_is_fenced_however_late_listings_are():
    bucket = Bucket(longest_lag=100)
    early, late = (PackStore(SharedFiles(bucket, Latest())) for _ in range(2))
    first = early.claim_attempt()
    entry = early.write(first, 1, "history", b"rows")
    assert late.claim_attempt() == first + 1
    with pytest.raises(FencedError):
        early.commit(Record("sweep", "pack", first, 1, history=(entry,)))
    with pytest.raises(FencedError):
        early.commit(Record("sweep", "pack", first, 2, history=(FileEntry("gone", "0" * 64),)))
