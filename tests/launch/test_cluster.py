"""A cluster of unlike machines: two nodes here, one of which has no AVX-512 as far as its processes can tell."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from pipeline.store.progress import unfinished
from tests.launch.test_launch import answers, finish, is_alive, ours, seedbed, until
from tests.launch.test_unlike_machines import V3, V4, compiled, engines, needs_avx512
from tests.support import opened, rows, trained

ENVIRONMENT = os.environ | {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0" * 64, "RAY_USAGE_STATS_ENABLED": "0"}


class Cluster:
    """Two nodes: the head without AVX-512, and a whole one, each with its own processes."""

    def __init__(self, scratch):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.address = f"127.0.0.1:{(port := probe.getsockname()[1])}"
        options = f"--head --port {port} --num-cpus 2 --include-dashboard false --temp-dir {scratch}/a"
        self.head = self._node(options, ENVIRONMENT | {"SEEDBED_INSTRUCTION_SET": V3})
        until(lambda: answers(port))
        self.whole = self._node(f"--address {self.address} --num-cpus 1 --temp-dir {scratch}/b", ENVIRONMENT)
        until(lambda: "2 node_" in self.status())

    def _node(self, options, environment):
        command = [str(Path(sys.executable).parent / "ray"), "start", *options.split(), "--block"]
        return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def status(self):
        command = [str(Path(sys.executable).parent / "ray"), "status", "--address", self.address]
        text = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True).stdout
        return f"{text.count(' node_')} node_"

    def close(self):
        children = [pid for node in (self.head, self.whole) for pid in ours(node.pid)]
        for node in (self.whole, self.head):
            node.terminate()
            node.wait(30)
        for pid in children:
            if is_alive(pid):
                os.kill(pid, signal.SIGKILL)


@pytest.fixture
def cluster():
    # Ray's sockets lie below its folder, and their paths must be short.
    scratch = tempfile.mkdtemp(prefix="ray", dir="/tmp")
    found = Cluster(scratch)
    yield found
    found.close()
    shutil.rmtree(scratch, ignore_errors=True)


@needs_avx512
@pytest.mark.slow
@pytest.mark.ray
def test_every_pack_is_trained_once_on_a_node_that_can_compute_it_and_the_rest_is_listed(cluster, tmp_path):
    def mixed(name):
        opened(compiled(V3, 4), tmp_path / name)
        return opened(compiled(V4, 8), tmp_path / name, 2)

    resume = ("resume", "--address", cluster.address)
    store = mixed("r")
    assert engines(store) == ["-64-v3", "-64-v4", "-64-v4"]
    code, output = finish(seedbed(*resume, "r", cwd=tmp_path, env=ENVIRONMENT), 300)
    assert code == 0, output
    assert not unfinished(store)
    assert [store.pack(pack_id).newest_attempt() for pack_id in store.pack_ids()] == [1, 1, 1]
    mixed_rows = rows(store)
    alone = rows(trained(compiled(V3, 4), tmp_path / "alone"))
    assert alone.items() <= mixed_rows.items()

    cluster.whole.terminate()
    cluster.whole.wait(30)
    until(lambda: "1 node_" in cluster.status())
    store = mixed("s")
    code, output = finish(seedbed(*resume, "s", cwd=tmp_path, env=ENVIRONMENT), 300)
    assert code == 3, output
    assert unfinished(store) == store.pack_ids()[1:]
    assert "not computed here: 2 packs" in output
    assert f"and this machine ({store.newest_records()[store.pack_ids()[0]].processor}) has" in output
