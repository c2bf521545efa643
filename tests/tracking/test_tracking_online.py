"""The mirror and a server on loopback: every row arrives once."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from pipeline.store.sweep_store import SweepStore
from pipeline.tracking.driven import sync_hint
from tests.tracking.fake_wandb import Server
from tests.tracking.tracked import STEPS, Sweep, command, run_mirror


@pytest.fixture
def server():
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()
        assert server.num_doubled == 0


def test_online_every_row_reaches_the_server_once_in_spite_of_a_429(tmp_path: Path, server: Server) -> None:
    sweep = Sweep(tmp_path / "s", num_seeds=1, mode="online", entity="me")
    run_id = sweep.run_ids[0]
    sweep.train(run_id, 150)
    sweep.commit()
    server.refusals = 1
    run_mirror(sweep.folder, **server.variables)
    assert server.num_refused == 1
    assert server.steps(f"{sweep.id}-{run_id}") == [50, 100, 150]

    (sweep.folder / "wandb" / "mirrored.json").unlink()  # as if killed before it was written
    sweep.finish()
    run_mirror(sweep.folder, **server.variables)
    for run_id in sweep.run_ids:
        assert server.steps(f"{sweep.id}-{run_id}") == STEPS
    bucket = server.buckets[f"{sweep.id}-{run_id}"]
    assert (bucket["jobType"], bucket["entity"]) == ("run", "me")
    assert bucket["groupName"].startswith("tiny: model.head_width=3")
    assert sync_hint(sweep.folder) is None


def test_the_hinted_command_uploads_folders_of_one_id_as_one_run_however_often(tmp_path: Path, server: Server) -> None:
    sweep = Sweep(tmp_path / "s", num_seeds=1)
    environment = os.environ | server.variables | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}

    def sync() -> None:
        hint = sync_hint(sweep.folder)
        assert hint == f"wandb sync {shlex.quote(str(sweep.folder / 'wandb'))}/offline-run-*"
        done = subprocess.run(["sh", "-c", hint], env=environment, capture_output=True, timeout=60)
        assert done.returncode == 0, done.stderr.decode()

    for last_step in (100, 250):
        sweep.train(sweep.run_ids[0], last_step)
        sweep.commit()
        run_mirror(sweep.folder)
    sync()
    assert server.steps(f"{sweep.id}-{sweep.run_ids[0]}") == [50, 100, 150, 200, 250]
    sweep.finish()
    run_mirror(sweep.folder)
    sync()
    for run_id in sweep.run_ids:
        assert server.steps(f"{sweep.id}-{run_id}") == STEPS


def test_a_folder_without_a_sweep_is_refused_in_one_line(tmp_path: Path) -> None:
    done = subprocess.run(command(tmp_path), capture_output=True)
    assert done.returncode == 1
    assert done.stderr.count(b"\n") == 1
    assert b"holds no sweep" in done.stderr
    assert SweepStore(tmp_path).exists() is False
    assert not list(tmp_path.iterdir())
