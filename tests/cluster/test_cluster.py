"""What strangers get from the ports of a local Ray; a slice of `make cluster-test`, and that its judgement judges."""

from __future__ import annotations

import random
import shutil
import signal
import socket
import sys
import threading

import pytest

from tests.cluster import bars, kills, page, races, two_nodes
from tests.cluster.grpc_probe import UNAUTHENTICATED, Answer, grpc
from tests.cluster.ports import LOOPBACK, is_refused, is_served, listening, local_ray, try_port, unix_sockets
from tests.cluster.ports import reachable_by_nobody as reachable
from tests.cluster.processes import Started, is_alive, until
from tests.cluster.sweeps import fresh_folder, judge_results, reference, spec
from tests.faults.checking import Verdict
from tests.support import opened


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    return reference(tmp_path_factory.mktemp("reference") / "r")


@pytest.mark.slow
@pytest.mark.ray
def test_a_local_ray_listens_on_loopback_alone_and_refuses_whoever_has_no_token():
    with local_ray() as (started, token, folder):
        ports = listening(list(started.processes()))
        found = {port: try_port(port, token) for port in ports}
        sockets = unix_sockets(folder)
        assert sockets
        assert reachable(sockets) == []
    assert {"gcs_server", "raylet", "driver", "worker", "RuntimeEnvAgent"} <= {port.process for port in ports}
    assert {port.address for port in ports} <= LOOPBACK
    # gRPC's own, which says that a server runs.
    served = {call for verdict in found.values() for call in verdict.served}
    assert {call.partition(":")[0] for call in served} <= {"/grpc.health.v1.Health/Check"}
    # Each was reached: it refused the strangers by name, and Ray's services answered to the owner.
    assert all(verdict.num_refused for verdict in found.values())
    assert sum(verdict.num_served_owner > 0 for verdict in found.values()) >= 4


def test_a_port_that_serves_strangers_is_told_from_one_that_refuses_them():
    def answer(server, text):
        link, _ = server.accept()
        with link:
            assert b"authorization" in link.recv(65536) or not text
            link.sendall(b"....\x40\x0bgrpc-status" + text)

    for text, status in ((b"\x0216", UNAUTHENTICATED), (b"\x010", 0), (b"\x0212", 12)):
        with socket.create_server(("127.0.0.1", 0)) as server:
            thread = threading.Thread(target=answer, args=(server, text), daemon=True)
            thread.start()
            assert grpc(server.getsockname()[1], "/a.B/C", "token").status == status
            thread.join()
    said = [Answer(1, "a", status) for status in (UNAUTHENTICATED, 401, 403, 0, 2, 200, 500, None, 12, 404)]
    assert [is_refused(answer) for answer in said] == [True] * 3 + [False] * 7
    assert [is_served(answer) for answer in said] == [False] * 3 + [True] * 4 + [False] * 3


def test_eight_processes_claim_and_commit_attempts_and_none_twice(tmp_path):
    verdict = races.race_claims(tmp_path / "claims", 20)
    assert verdict.survived, verdict


def test_processes_are_found_after_their_parent_has_ended_and_are_killed(tmp_path):
    script = f"{sys.executable} -Sc 'import time; time.sleep(99)' & echo $!; sleep 0.3"
    started = Started(["sh", "-c", script], tmp_path, {})
    assert until(lambda: started.process.poll() is not None, 20)
    orphan = int(started.output)
    assert started.left(0.2) != []
    started.kill_all()
    assert until(lambda: not is_alive(orphan), 5)
    assert started.left(1) == []


def test_a_folder_that_differs_from_the_sweep_without_a_fault_is_judged_so(tmp_path):
    small = {"vary": [], "seeds": {"together": [0]}, "budget": 20}
    expected = reference(tmp_path / "reference", **small)
    whole = fresh_folder(tmp_path / "whole", **small)
    shutil.copytree(tmp_path / "reference", whole / "r")
    verdict = Verdict("a", "b")
    judge_results(verdict, whole, {}, expected)
    assert verdict.survived
    (whole / "mine.txt").write_text("other")
    (whole / "new").mkdir()
    judge_results(verdict, whole, {("run", 10, "loss"): b""}, expected)
    assert (verdict.lost, len(verdict.problems)) == (1, 2)
    empty = fresh_folder(tmp_path / "empty", **small)
    opened(spec(**small), empty / "r")
    missing = Verdict("a", "b")
    judge_results(missing, empty, {}, expected)
    assert missing.lost == len(expected.rows) + len(expected.weights)


def test_the_tables_count_tries_and_show_least_median_and_most(tmp_path):
    tried = [vars(Verdict("kill -9 of x", "a")) | {"survived": True}]
    tried += [{"figure": page.SIGNALLED, "seconds": seconds} for seconds in (3.0, 1.0, 9.0)]
    lines = page.lines(tried)
    assert "| kill -9 of x | 1 | 1 | 0 | 0 | 0 | 0 | 0 | 0 |" in lines
    assert f"| {page.SIGNALLED} | 10 | 3 | 1.0 | 3.0 | 9.0 |" in lines
    assert [page.PAGE.read_text(encoding="utf-8").count(marker) for marker in page.MARKERS] == [1, 1]


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.timeout(900)
@pytest.mark.parametrize("kind", kills.TRIES)
def test_a_sweep_survives_the_death_of_any_process_of_a_local_ray(kind, tmp_path, expected):
    verdicts = kills.try_kills(kind, 1, random.Random(0), tmp_path / "k", expected)
    assert verdicts
    assert all(verdict.survived for verdict in verdicts), verdicts


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", two_nodes.SCENARIOS)
def test_a_sweep_on_two_nodes_survives(name, tmp_path, expected):
    wanted = reference(tmp_path / "c", **two_nodes.COMPILED) if name.startswith("no compiler") else expected
    verdict = two_nodes.try_scenario(name, random.Random(0), tmp_path / "n", wanted)
    assert verdict.survived, verdict


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.timeout(900)
def test_a_signal_at_a_random_moment_under_ray_commits_and_ends_the_launch(tmp_path, expected):
    verdict, _ = bars.signal_under_ray(signal.SIGTERM, random.Random(0), tmp_path / "s", expected)
    assert verdict.survived, verdict
