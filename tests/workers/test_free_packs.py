"""Leases and claims: one worker for a pack, a vanished one noticed by counts alone, a late one fenced."""

from __future__ import annotations

import threading

import pytest

from pipeline.store.backends.posix import PosixFiles
from pipeline.store.driver_lock import DriverLock
from pipeline.store.pack_store import FencedError, PackStore, StoreError
from pipeline.store.records.ends import Ended
from pipeline.store.records.record import Record
from pipeline.workers.free_packs import FreePacks
from pipeline.workers.lease import BEATS_OF_A_LEASE, Lease, OtherLeases, read_worker


class Store:
    """Packs of one run each, in a folder; all that claims ask of a sweep's store."""

    def __init__(self, folder, num_packs):
        self.folder, self.files = folder, PosixFiles(folder)
        (folder / "packs").mkdir(exist_ok=True)
        ids = [f"pack{index}" for index in range(num_packs)]
        runs = [{"run_id": f"run-{pack_id}", "setting_id": "s"} for pack_id in ids]
        self.plan = {
            "budget": 10,
            "grid": {"eval_steps": [10]},
            "windows": [],
            "varied": [],
            "settings": {"s": {}},
            "runs": runs,
            "packs": [{"pack_id": pack_id, "run_ids": [f"run-{pack_id}"]} for pack_id in ids],
        }

    def pack(self, pack_id):
        return PackStore(self.files.inside("packs").inside(pack_id))


def worker(store, beat_s=1000.0, lacks=lambda pack_id: None):
    """A lease in whose context nothing beats by itself for long, and its claims."""
    lease = Lease(store, beat_s)
    lease.__enter__()
    return lease, FreePacks(store, lease, lacks)


def path_of(lease):
    return lease.files.folder / lease.document


def beats(lease, number):
    for _ in range(number):
        lease.beat()


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path, 1)


def test_a_held_pack_is_left_to_its_worker_until_it_releases_it(store):
    (first, ours), (_, theirs) = worker(store), worker(store)
    claim = ours.next()
    assert (claim.pack_id, claim.take()) == ("pack0", 1)
    assert theirs.next() is None
    assert theirs.num_held == 1
    first.release()
    assert theirs.next().take() == 2


def test_a_worker_that_ends_frees_its_pack_at_once(store):
    (first, ours), (_, theirs) = worker(store), worker(store)
    assert ours.next() is not None
    first.remove()
    assert not path_of(first).exists()
    assert theirs.next().take() == 2


def test_a_lease_ends_even_where_a_beat_of_it_hangs(store, monkeypatch):
    monkeypatch.setattr("pipeline.workers.lease._LONGEST_WRITE_S", 0.01)
    lease, _ = worker(store)
    with lease._lock:
        lease.remove()
    assert not path_of(lease).exists()


def test_a_vanished_worker_is_noticed_by_beats_of_ones_own_and_by_nothing_else(store, monkeypatch):
    (_, ours), (second, theirs) = worker(store), worker(store)
    assert ours.next() is not None
    assert theirs.next() is None
    # Years by any clock, and no beat.
    monkeypatch.setattr("time.time", lambda: 4e9)
    monkeypatch.setattr("time.monotonic", lambda: 4e9)
    assert theirs.next() is None
    beats(second, BEATS_OF_A_LEASE)
    assert theirs.next() is None
    beats(second, 1)
    assert theirs.next().take() == 2


def test_whoever_beats_keeps_its_pack_however_long_it_takes(store):
    (first, ours), (second, theirs) = worker(store), worker(store)
    assert ours.next() is not None
    for _ in range(5):
        assert theirs.next() is None
        beats(second, BEATS_OF_A_LEASE)
        beats(first, 1)
    assert theirs.next() is None


def test_a_worker_that_beats_more_slowly_is_given_as_many_of_its_own_beats(store):
    (_, ours), (second, theirs) = worker(store, 600.0), worker(store, 300.0)
    assert ours.next() is not None
    assert theirs.next() is None
    beats(second, 2 * BEATS_OF_A_LEASE)
    assert theirs.next() is None
    beats(second, 1)
    assert theirs.next() is not None


def test_an_owner_that_was_only_suspended_loses_its_pack_and_learns_it_at_its_next_beat(store):
    (first, ours), (second, theirs) = worker(store), worker(store)
    late = ours.next()
    late.take()
    assert theirs.next() is None
    beats(second, BEATS_OF_A_LEASE + 1)
    taken = theirs.next()
    store.pack("pack0").commit(Record("sweep", "pack0", taken.take(), 1))
    # It goes on.
    assert not first.is_superseded
    first.beat()
    assert first.is_superseded
    with pytest.raises(FencedError):
        store.pack("pack0").commit(Record("sweep", "pack0", late.attempt, 1))
    assert store.pack("pack0").newest().attempt == taken.attempt == 2
    # Its document, which still names the pack, holds nothing against the newer attempt.
    second.remove()
    assert worker(store)[1].next().take() == 3
    with pytest.raises(FencedError):
        late.take()


def test_a_damaged_document_stands_for_what_it_said_until_its_lease_expires(store):
    (first, ours), (second, theirs) = worker(store), worker(store)
    assert ours.next() is not None
    assert theirs.next() is None
    for content in (b"", b"{", path_of(first).read_bytes()[:-9], b"\xff" * 9):
        path_of(first).write_bytes(content)
        assert theirs.next() is None
        beats(second, BEATS_OF_A_LEASE)
    beats(second, 1)
    assert theirs.next() is not None
    assert not path_of(first).exists()


def test_a_document_that_was_never_whole_holds_nothing_and_is_removed_when_it_does_not_change(store):
    lease, claims = worker(store)
    planted = path_of(lease).with_name("planted.json")
    planted.write_bytes(b'{"body": {"pack_id": "../../x"}}')
    others = OtherLeases(lease)
    assert others.look() == []
    assert claims.next() is not None
    beats(lease, BEATS_OF_A_LEASE + 1)
    others.look()
    assert not planted.exists()


def test_of_workers_that_race_each_pack_has_one(tmp_path):
    store, found, gate = Store(tmp_path, 40), [], threading.Barrier(8)

    def take():
        lease, claims = worker(store)
        gate.wait()
        while (claim := claims.next()) is not None:
            found.append(claim.pack_id)
            record = Record("sweep", claim.pack_id, claim.take(), 1, ends=ended(claim.pack_id))
            store.pack(claim.pack_id).commit(record)
        lease.remove()

    threads = [threading.Thread(target=take) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == sorted(pack["pack_id"] for pack in store.plan["packs"])
    assert all(store.pack(pack_id).newest_attempt() == 1 for pack_id in found)


def ended(pack_id):
    return {f"run-{pack_id}": Ended("budget", 10, "0" * 64, is_converged=False)}


def test_packs_that_are_complete_damaged_or_not_for_this_machine_are_left_with_the_reason(tmp_path):
    store = Store(tmp_path, 4)
    for pack_id in ("pack0", "pack1"):
        pack = store.pack(pack_id)
        pack.commit(Record("sweep", pack_id, pack.claim_attempt(), 1, ends=ended(pack_id)))
    store.pack("pack1").record_path((1, 1)).write_bytes(b"x")
    _, claims = worker(store, lacks=lambda pack_id: "planned for a GPU" if pack_id == "pack2" else None)
    last = claims.next()
    assert last.pack_id == "pack3"
    last.pack.commit(Record("sweep", "pack3", last.take(), 1, ends=ended("pack3")))
    assert claims.next() is None
    assert claims.finished == {"pack0": 0, "pack3": 0}
    assert claims.left == {"pack2": "planned for a GPU"}
    assert "seedbed repair" in claims.damaged["pack1"]


def test_a_document_says_who_works_at_what(store):
    lease, claims = worker(store)
    claims.next()
    state = read_worker(path_of(lease))
    assert (state.worker, state.pack_id, state.attempt, state.num_packs) == (lease.worker, "pack0", 1, 0)
    lease.release(is_finished=True)
    assert (read_worker(path_of(lease)).pack_id, read_worker(path_of(lease)).num_packs) == (None, 1)


def test_workers_share_the_lock_and_neither_work_beside_a_launch(store):
    one, other = (DriverLock(store.folder, is_worker=True) for _ in range(2))
    with one, other, pytest.raises(StoreError, match="workers"), DriverLock(store.folder):
        pass
    with DriverLock(store.folder), pytest.raises(StoreError, match="launch"), DriverLock(store.folder, is_worker=True):
        pass


def test_after_its_first_pack_a_worker_takes_packs_in_the_order_of_the_plan(tmp_path):
    store = Store(tmp_path, 12)
    _, packs = worker(store)
    first = packs.next().pack_id
    rest = []
    packs.finished[first] = 0
    while (claim := packs.next()) is not None:
        rest.append(claim.pack_id)
        packs.finished[claim.pack_id] = 0
    assert rest == [pack["pack_id"] for pack in store.plan["packs"] if pack["pack_id"] != first]


def test_first_packs_of_workers_are_spread(tmp_path):
    found = set()
    for number in range(12):
        (folder := tmp_path / str(number)).mkdir()
        found.add(worker(Store(folder, 12))[1].next().pack_id)
    assert len(found) > 1
