"""The mirror and a server on loopback: every row arrives once, whatever the server does."""

from __future__ import annotations

import os
import random
import shlex
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline.store.stored_forecast import newest_orders, write_forecast
from pipeline.store.sweep_store import SweepStore
from pipeline.tracking.driven import start_mirror, sync_hint
from tests.store.test_stored_forecast import forecasts_of
from tests.tracking.fake_wandb import Server
from tests.tracking.tracked import STEPS, Sweep, command, run_mirror, service_of, wait_for


@pytest.fixture
def server():
    with Server().serving() as server:
        yield server
        server.shutdown()


def online(folder: Path, num_seeds: int = 1) -> Sweep:
    return Sweep(folder, num_seeds=num_seeds, mode="online", entity="me")


def assert_all_arrived(server: Server, sweep: Sweep) -> None:
    assert {run_id: server.steps(f"{sweep.id}-{run_id}") for run_id in sweep.run_ids} == dict.fromkeys(
        sweep.run_ids, STEPS
    )


def test_online_every_row_reaches_the_server_once_whatever_it_answers(tmp_path: Path, server: Server) -> None:
    sweep = online(tmp_path / "s")
    run_id = sweep.run_ids[0]
    sweep.train(run_id, 150)
    sweep.commit()
    # Two at a time: after each in a row wandb waits twice as long.
    server.faults = [("429", 1), ("500", 0)]
    run_mirror(sweep.folder, **server.variables)
    assert dict(server.num_faults) == {"429": 1, "500": 1}
    assert server.steps(f"{sweep.id}-{run_id}") == [50, 100, 150]
    assert server.num_doubled == 0

    (sweep.folder / "wandb" / "mirrored.json").unlink()  # as if killed before it was written
    sweep.finish()
    server.faults = [("reset", 0), ("hang", 0.5)]
    run_mirror(sweep.folder, **server.variables)
    assert dict(server.num_faults) == {"429": 1, "500": 1, "reset": 1, "hang": 1}
    assert_all_arrived(server, sweep)
    bucket = server.buckets[f"{sweep.id}-{run_id}"]
    assert (bucket["jobType"], bucket["entity"]) == ("run", "me")
    assert (bucket["displayName"], bucket["groupName"]) == ("hw4-s0", "tiny: model.head_width=4")
    assert server.num_doubled == 0
    assert sync_hint(sweep.folder) is None


def test_rows_that_the_server_refused_for_good_are_told_and_written_again(tmp_path: Path, server: Server) -> None:
    sweep = online(tmp_path / "s")
    sweep.finish()
    server.faults = [("403", 0)]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
    done = subprocess.run(command(sweep.folder), env=environment | server.variables, capture_output=True, timeout=60)
    assert done.returncode == 1
    assert b"tracked runs are not written: the server refused rows of" in done.stderr
    run_mirror(sweep.folder, **server.variables)
    assert_all_arrived(server, sweep)


def test_no_server_is_told_in_one_line_and_nothing_is_lost(tmp_path: Path, server: Server) -> None:
    sweep = online(tmp_path / "s")
    sweep.finish()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
    server.faults, server.faults_everything = [("403", 0)] * 100, True
    done = subprocess.run(command(sweep.folder), env=environment | server.variables, capture_output=True, timeout=60)
    assert (done.returncode, done.stderr.count(b"\n")) == (1, 1), done.stderr
    assert b"tracked runs are not written: no run could be begun" in done.stderr
    server.faults = []
    run_mirror(sweep.folder, **server.variables)
    assert_all_arrived(server, sweep)


@pytest.mark.slow
def test_a_mirror_killed_at_any_moment_loses_and_doubles_nothing(tmp_path: Path, server: Server) -> None:
    sweep = online(tmp_path / "s", num_seeds=3)
    draws = random.Random(0)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
    for last_step in (100, 300):
        for run_id in sweep.run_ids:
            sweep.train(run_id, last_step)
        sweep.commit()
        before = sum(map(len, server.lines.values()))
        process = subprocess.Popen(
            command(sweep.folder, "--driven", "--interval-s", "0.1"),
            env=environment | server.variables,
            stdin=subprocess.PIPE,
        )
        wait_for(lambda before=before: sum(map(len, server.lines.values())) > before)
        time.sleep(draws.uniform(0, 0.5))
        process.kill()
        process.wait()
        wait_for(lambda process=process: not service_of(process.pid))
    sweep.finish()
    run_mirror(sweep.folder, **server.variables)
    assert_all_arrived(server, sweep)


def test_rows_arrive_within_seconds_of_their_commit_and_users_are_told(
    tmp_path: Path, server: Server, monkeypatch
) -> None:
    sweep = online(tmp_path / "s")
    done, under_way = sweep.run_ids
    for name, value in server.variables.items():
        monkeypatch.setenv(name, value)
    sweep.train(under_way, 100)
    sweep.finish(done)
    assert write_forecast(sweep.store, newest_orders(sweep.store), 2, forecasts_of(sweep))
    mirror = start_mirror(sweep.folder)
    wait_for(lambda: server.steps(f"{sweep.id}-{under_way}") == [50, 100])
    mirror.tell_failed(["abc"])
    sweep.train(under_way, 200)
    sweep.commit()
    committed = time.time()
    wait_for(lambda: server.steps(f"{sweep.id}-{under_way}") == [50, 100, 150, 200])
    assert time.time() - committed < 20
    sweep.finish()
    assert mirror.close(60) is None
    assert_all_arrived(server, sweep)
    assert {"NotifyScriptableRunAlert"} <= set(server.operations)
    titles = [alert["title"] for alert in server.alerts]
    assert sorted(titles) == ["A pack failed", "A sweep is done", "How many runs will converge"]
    assert "abc" in next(alert["text"] for alert in server.alerts if alert["title"] == "A pack failed")


@pytest.mark.slow
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
    assert_all_arrived(server, sweep)
    assert server.num_doubled == 0


def test_a_folder_without_a_sweep_is_refused_in_one_line(tmp_path: Path) -> None:
    done = subprocess.run(command(tmp_path), capture_output=True)
    assert done.returncode == 1
    assert done.stderr.count(b"\n") == 1
    assert b"holds no sweep" in done.stderr
    assert SweepStore(tmp_path).exists() is False
    assert not list(tmp_path.iterdir())


def test_a_server_that_comes_late_gets_everything_from_the_same_mirror(tmp_path: Path, server: Server) -> None:
    sweep = online(tmp_path / "s")
    sweep.finish()
    server.faults, server.faults_everything = [("403", 0)] * 1000, True
    environment = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
    process = subprocess.Popen(
        command(sweep.folder, "--driven", "--interval-s", "0.1"),
        env=environment | server.variables,
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    wait_for(lambda: server.num_faults["403"])
    # So that wandb has given up by then; if it has not, this run is simply begun later.
    time.sleep(1)
    server.faults = []
    assert process.communicate(timeout=200)[1] == b""
    assert process.returncode == 0
    assert_all_arrived(server, sweep)
