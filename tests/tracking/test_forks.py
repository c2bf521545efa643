"""Forks in wandb: made from their parents' runs where the server has these, once, and plain runs elsewhere."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
from pathlib import Path

import pytest

from pipeline.tracking.commits import CommitReader
from pipeline.tracking.folder import LEDGER_FILE, tracking_of, wandb_folder
from pipeline.tracking.forks import PLAIN_FORKS, Branches, BranchPoint
from pipeline.tracking.ledger import BEGUN, Entry, Ledger
from pipeline.tracking.live import LiveRuns
from pipeline.tracking.writer import UploadError
from tests.tracking.fake_wandb import Server
from tests.tracking.tracked import STEPS, Sweep, command, expected_rows, mirrored_runs, run_mirror, service_of, wait_for

FORK_STEP = 200


@pytest.fixture
def server():
    with Server().serving() as server:
        yield server
        server.shutdown()


def sweep_of_parents(folder: Path, **tracking: object) -> Sweep:
    return Sweep(folder, **{"num_seeds": 1, "mode": "online", "entity": "me", **tracking})


def mirrored_parents(folder: Path, server: Server) -> Sweep:
    """A finished sweep that the server has, by the ledger too, as if a mirror had been there."""
    sweep = sweep_of_parents(folder)
    sweep.finish()
    ledger = Ledger(wandb_folder(folder) / LEDGER_FILE)
    for run_id in sweep.run_ids:
        key = f"{sweep.id}-{run_id}"
        lines = [{"_step": step, "step": step, **row} for step, row in expected_rows(sweep, run_id)]
        server.buckets[key] = {"name": key}
        server.keep(key, 0, list(map(json.dumps, lines)))
        ledger.entries[key] = Entry(STEPS[-1], "budget", ("run-x",))
    ledger.write()
    return sweep


def sweep_of_forks(folder: Path, parents: Sweep, **tracking: object) -> Sweep:
    """A sweep whose runs are forks of the parents', of the first and second by turns."""
    sweep = Sweep(folder, **{"num_seeds": 2, "mode": "online", "entity": "me", **tracking})
    document, plan = sweep.store.sweep, sweep.store.plan
    for number, row in enumerate(plan["runs"]):
        row |= {"parent": parents.run_ids[number % 2], "fork_step": FORK_STEP, "changes": {}}
        sweep.active[row["run_id"]] = FORK_STEP
    document["spec"]["fork"] = {"sweep": str(parents.folder), "steps": [FORK_STEP]}
    sweep.store.write_documents(document, plan, is_shared=False)
    return sweep


def parent_of(sweep: Sweep, run_id: str, parents: Sweep) -> str:
    row = next(row for row in sweep.store.plan["runs"] if row["run_id"] == run_id)
    return f"{parents.id}-{row['parent']}"


def mirror_and_hear(sweep: Sweep, **variables: str) -> tuple[int, str]:
    """Exit code and standard error of a mirror."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
    done = subprocess.run(command(sweep.folder), env=environment | variables, capture_output=True, timeout=200)
    return done.returncode, done.stderr.decode()


def test_a_fork_begins_with_its_parents_rows_on_the_server_and_is_continued_as_itself(
    tmp_path: Path, server: Server
) -> None:
    parents = mirrored_parents(tmp_path / "p", server)
    sweep = sweep_of_forks(tmp_path / "f", parents)
    assert sweep.id != parents.id
    first = sweep.run_ids[0]
    sweep.train(first, 300)
    sweep.commit()
    run_mirror(sweep.folder, **server.variables)
    assert server.steps(f"{sweep.id}-{first}") == [50, 100, 150, 200, 250, 300]
    assert not server.forks.keys() & set(server.resumed)
    sweep.finish()
    run_mirror(sweep.folder, **server.variables)
    assert server.forks.keys() <= set(server.resumed)
    for run_id in sweep.run_ids:
        key, parent = f"{sweep.id}-{run_id}", parent_of(sweep, run_id, parents)
        assert server.forks[key] == (parent, FORK_STEP)
        assert server.steps(key) == STEPS
        inherited = [line["label/loss"] for _, line in sorted(server.lines[key].items()) if line["_step"] <= FORK_STEP]
        assert inherited == [line["label/loss"] for _, line in sorted(server.lines[parent].items())][: len(inherited)]
    assert server.num_doubled == 0


@pytest.mark.slow
def test_a_fork_whose_mirror_was_killed_is_made_once_and_continued(tmp_path: Path, server: Server) -> None:
    parents = mirrored_parents(tmp_path / "p", server)
    sweep = sweep_of_forks(tmp_path / "f", parents)
    for run_id in sweep.run_ids[:2]:
        sweep.train(run_id, 300)
    sweep.commit()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
    process = subprocess.Popen(
        command(sweep.folder, "--driven", "--interval-s", "0.1"),
        env=environment | server.variables,
        stdin=subprocess.PIPE,
    )
    wait_for(lambda: len(server.forks) == 2)
    wait_for(lambda: any(len(server.lines[key]) > 4 for key in server.forks))
    process.kill()
    process.wait()
    wait_for(lambda: not service_of(process.pid))
    sweep.finish()
    run_mirror(sweep.folder, **server.variables)
    assert {run_id: server.steps(f"{sweep.id}-{run_id}") for run_id in sweep.run_ids} == dict.fromkeys(
        sweep.run_ids, STEPS
    )
    assert len(server.forks) == len(sweep.run_ids)
    assert server.num_doubled == 0


def test_a_fork_that_met_no_server_is_still_made_as_a_fork(tmp_path: Path, server: Server) -> None:
    parents = mirrored_parents(tmp_path / "p", server)
    sweep = sweep_of_forks(tmp_path / "f", parents)
    sweep.finish()
    server.faults, server.faults_everything = [("403", 0)] * 100, True
    assert mirror_and_hear(sweep, **server.variables)[0] == 1
    server.faults = []
    run_mirror(sweep.folder, **server.variables)
    assert sorted(server.forks) == sorted(f"{sweep.id}-{run_id}" for run_id in sweep.run_ids)
    assert all(server.steps(key) == STEPS for key in server.forks)


def test_a_server_that_makes_no_forks_gets_plain_runs_and_says_so_once(tmp_path: Path, server: Server) -> None:
    parents = mirrored_parents(tmp_path / "p", server)
    sweep = sweep_of_forks(tmp_path / "f", parents)
    sweep.finish()
    server.knows_forks = False
    code, heard = mirror_and_hear(sweep, **server.variables)
    assert (code, heard.count("\n")) == (0, 1), heard
    assert heard.startswith(f"{PLAIN_FORKS}: the server refuses to fork {parents.id}-")
    for run_id in sweep.run_ids:
        assert server.steps(f"{sweep.id}-{run_id}") == [step for step in STEPS if step > FORK_STEP]
        config = server.buckets[f"{sweep.id}-{run_id}"]["config"]
        assert f"{parent_of(sweep, run_id, parents).removeprefix(f'{parents.id}-')} at step {FORK_STEP}" in config


def test_offline_forks_are_plain_runs_that_name_their_parents(tmp_path: Path) -> None:
    parents = sweep_of_parents(tmp_path / "p")
    sweep = sweep_of_forks(tmp_path / "f", parents, mode="offline")
    sweep.finish()
    code, heard = mirror_and_hear(sweep)
    assert (code, heard.count("\n")) == (0, 1), heard
    assert heard.startswith(f"{PLAIN_FORKS}: wandb forks runs on its server alone")
    for key, found in mirrored_runs(sweep.folder).items():
        parent = parent_of(sweep, key.removeprefix(f"{sweep.id}-"), parents).removeprefix(f"{parents.id}-")
        assert found.begun[0]["config"]["fork_of"] == f"{parent} at step {FORK_STEP}"
        assert [step for step, _ in found.rows] == [step for step in STEPS if step > FORK_STEP]


@pytest.mark.parametrize(
    ("of_parents", "reason"),
    [
        ({"project": "other"}, "is not mirrored to the project seedbed"),
        ({"entity": "them"}, "is not mirrored to the project seedbed"),
        ({"mode": "offline"}, "is not mirrored to the project seedbed"),
        ({}, "not all of their parents are mirrored so far"),
    ],
)
def test_forks_of_runs_that_the_project_lacks_begin_nowhere(tmp_path: Path, of_parents, reason: str) -> None:
    parents = sweep_of_parents(tmp_path / "p", **of_parents)
    sweep = sweep_of_forks(tmp_path / "f", parents)
    found = Branches.of(sweep.store, tracking_of(sweep.store))
    assert not found.points
    assert reason in found.problem
    assert Branches.of(parents.store, tracking_of(parents.store)) == Branches({})


def test_forks_of_a_sweep_that_is_gone_begin_nowhere(tmp_path: Path) -> None:
    parents = sweep_of_parents(tmp_path / "p")
    sweep = sweep_of_forks(tmp_path / "f", parents)
    parents.folder.rename(tmp_path / "elsewhere")
    found = Branches.of(sweep.store, tracking_of(sweep.store))
    assert (found.points, "the sweep of their parents cannot be read" in found.problem) == ({}, True)


def test_a_fork_that_could_not_be_begun_is_asked_for_before_it_is_made(tmp_path: Path) -> None:
    parents = sweep_of_parents(tmp_path / "p")
    sweep = sweep_of_forks(tmp_path / "f", parents)
    first = sweep.run_ids[0]
    sweep.train(first, 300)
    sweep.commit()
    asked = []

    class NoServer:
        most_open = 10

        def open(self, tracked, config, tags, step, branch=None, may_exist=True):
            asked.append((tracked.tracked_id, branch, may_exist))
            raise UploadError("no server")

    point = BranchPoint(parent_of(sweep, first, parents), FORK_STEP)
    key, ledger = f"{sweep.id}-{first}", Ledger(tmp_path / "mirrored.json")
    passes = itertools.count(step=1000)
    live = LiveRuns(
        CommitReader(sweep.store), NoServer(), ledger, is_online=True, clock=lambda: next(passes), branches={key: point}
    )
    live.write_new()
    live.write_new()
    assert [one for one in asked if one[0] == key] == [(key, point, False), (key, point, True)]
    ledger.write()
    assert Ledger.read(ledger.path).entries[key] == Entry(-1, BEGUN)
