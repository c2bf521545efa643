"""`seedbed work`, as a command and as a fleet: each run once, bits equal to a launch, and leaving when told."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from pipeline.store.progress import unfinished
from pipeline.store.sweep_store import SweepStore
from pipeline.training import abilities
from pipeline.training.pack_loop import PackLoop
from pipeline.workers.draining import AskedToLeaveError, Drain, draining
from pipeline.workers.lease import Lease
from sweeps.command.fleet.working import run_work
from tests.support import opened, rows, tiny, trained, weights
from tests.sweeps.test_cli import run

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """A sweep of two packs that a launch trained."""
    return trained(spec(), tmp_path_factory.mktemp("launched") / "r")


def spec():
    return tiny(vary=[{"batch_size": [8, 16]}], seeds={"together": [0, 1]}, resources={"slots": 2})


def assert_equal(store, reference):
    assert unfinished(store) == []
    assert weights(store) == weights(reference)
    assert rows(store) == rows(reference)


def test_eight_workers_that_are_killed_suspended_and_asked_to_leave_train_each_run_once():
    command = [sys.executable, "-m", "tests.workers.fleet", "--kills", "2", "--packs", "2", "--between", "0.5"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "each run once, bits equal" in done.stdout


def test_a_planned_folder_is_worked_on_pack_by_pack_to_the_bits_of_a_launch(tmp_path, monkeypatch, capsys, reference):
    monkeypatch.chdir(tmp_path)
    Path("spec.yaml").write_text(spec().to_yaml())
    code, printed = run(monkeypatch, capsys, "launch", "spec.yaml", "--results", "r", "--inline", "--plan-only")
    assert code == 0, printed
    assert "2 packs to train" in printed
    store = SweepStore(Path("r"))
    assert store.newest_records() == {}
    code, printed = run(monkeypatch, capsys, "work", "r", "--packs", "1")
    assert code == 3, printed
    assert "incomplete: 1 pack left; go on with: seedbed work r" in printed
    code, printed = run(monkeypatch, capsys, "work", "r")
    assert code == 0, printed
    assert "complete: r" in printed
    assert_equal(store, reference)
    assert not list((store.folder / "workers").iterdir())


def test_asked_to_leave_a_worker_commits_what_it_has_and_another_goes_on(tmp_path, monkeypatch, reference):
    monkeypatch.setattr("pipeline.training.worker.COMMIT_INTERVAL_S", 1e9)
    store = opened(spec(), tmp_path / "r")
    step, asked = PackLoop.step, []

    def step_and_ask(loop):
        step(loop)
        if not asked:
            asked.append(True)
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(PackLoop, "step", step_and_ask)
    started = time.monotonic()
    assert run_work(store, None, True, Console(quiet=True)) == 3
    assert time.monotonic() - started < 30
    (record,) = store.newest_records().values()
    assert {entry.step for entry in record.active.values()} == {10}
    assert run_work(store, None, False, Console(quiet=True)) == 0
    assert store.pack(record.pack_id).newest_attempt() == 2
    assert_equal(store, reference)


def test_packs_that_this_machine_cannot_compute_are_left_and_named(tmp_path, monkeypatch, capsys):
    store = opened(spec(), tmp_path / "r")
    here = abilities.Abilities.here()
    monkeypatch.setattr(abilities.Abilities, "here", staticmethod(lambda: replace(here, torch="0.1")))
    code, printed = run(monkeypatch, capsys, "work", store.folder, "--wait")
    assert code == 3, printed
    assert "not computed here: 2 packs" in " ".join(printed.split())
    assert store.newest_records() == {}
    assert not any((store.folder / "packs").iterdir()), "nothing was claimed"


def test_the_stop_file_stops_all_workers(tmp_path, monkeypatch, capsys):
    store = opened(spec(), tmp_path / "r")
    store.stop_file.touch()
    code, printed = run(monkeypatch, capsys, "work", store.folder, "--wait")
    assert code == 3
    assert f"remove{store.stop_file}" in "".join(printed.split())


def test_status_shows_the_workers(tmp_path, monkeypatch, capsys):
    store = opened(spec(), tmp_path / "r")
    with Lease(store) as lease:
        lease.hold(store.pack_ids()[0], 1)
        (lease.files.folder / "damaged.json").write_bytes(b"x")
        _, printed = run(monkeypatch, capsys, "status", store.folder)
        told = f"worker {lease.worker}: pack {store.pack_ids()[0]}, attempt 1; 0 finished; last beat"
        assert re.search(rf"{told} \d s ago", printed)
        _, printed = run(monkeypatch, capsys, "status", store.folder, "--json")
    (shown,) = json.loads(printed)["workers"]
    assert (shown["worker"], shown["pack_id"], shown["attempt"]) == (lease.worker, store.pack_ids()[0], 1)
    _, printed = run(monkeypatch, capsys, "status", store.folder, "--json")
    assert "workers" not in json.loads(printed)


def test_while_a_pack_is_opened_a_request_is_followed_at_once_and_else_at_the_next_chunk():
    drain = Drain()
    with draining(drain, lambda: None, lambda: None, 3):
        os.kill(os.getpid(), signal.SIGUSR1)
        assert drain.is_asked
        drain.is_opening = True
        with pytest.raises(AskedToLeaveError):
            os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGTERM)


def test_a_worker_that_does_not_come_to_a_commit_ends_all_the_same(monkeypatch):
    ended, told = threading.Event(), []
    monkeypatch.setattr("pipeline.workers.draining.LONGEST_DRAIN_S", 0.05)
    monkeypatch.setattr("pipeline.workers.draining.os._exit", lambda code: (told.append(code), ended.set()))
    with draining(Drain(), lambda: None, lambda: told.append("late"), 3):
        os.kill(os.getpid(), signal.SIGTERM)
        assert ended.wait(10)
    assert told == ["late", 3]
