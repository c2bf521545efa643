"""Two computers of one Ray cluster as two `ray start` on this host: own ports and environment, one private token."""

from __future__ import annotations

import contextlib
import os
import random
import secrets
import signal
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.cluster.processes import Started, until

# Outside 10002-19999, where Ray's workers listen by default, and below the ports that the system gives out.
_PORTS = (20_000, 31_000)
# Ports of one node's workers.
_NUM_WORKER_PORTS = 60
START_S = 300.0
# A `ray start` that gives up by itself on a busy computer is tried again, all of them within START_S.
_TRIES = 3
_STARTED = "Ray runtime started"


class Cluster:
    """A head and nodes that join it, each with one CPU; to be used as a context, which kills what it started.

    With no `head_cpus` the head trains nothing. It starts with these further options of `ray start`.
    """

    def __init__(self, cwd: Path, head_cpus: int = 1, head_options: Sequence[object] = ()) -> None:
        self._head_cpus, self._head_options = head_cpus, head_options
        # Paths of sockets are short, and Ray's are long.
        self.folder = cwd / "n"
        self.folder.mkdir()
        token = self.folder / "token"
        token.write_text(secrets.token_hex(32))
        token.chmod(0o600)
        self.environment = {
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": str(token),
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_worker_register_timeout_seconds": "240",
            "TMPDIR": str(cwd / "t"),
        }
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        self.nodes: list[Started] = []

    def __enter__(self) -> Cluster:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        for node in self.nodes:
            node.kill_all()

    def start(self, environment: Mapping[str, str] | None = None, by: Sequence[object] = ()) -> Started:
        """Start the head, or a node that joins it, with further variables of its environment, by another command."""
        number = len(self.nodes)
        lowest = self.port + 1 + number * _NUM_WORKER_PORTS
        ports = ["--min-worker-port", lowest, "--max-worker-port", lowest + _NUM_WORKER_PORTS - 1]
        where = ["--address", self.address]
        if number == 0:
            where = ["--head", "--port", self.port, "--include-dashboard", "false", "--temp-dir", self.folder / "r"]
            where += self._head_options
        options = ["--num-cpus", 1 if number else self._head_cpus, "--num-gpus", 0, "--object-store-memory", 80_000_000]
        ray = [sys.executable, "-m", "tests.cluster.patient_ray", "start"]
        command = [*by, *ray, *where, *ports, *options, "--dashboard-agent-listen-port", 0, "--block"]
        values = {**self.environment, **(environment or {})}
        deadline = time.monotonic() + START_S
        for _ in range(_TRIES):
            node = Started(command, self.folder.parent, values, f"node-{number}")
            self.nodes.append(node)
            until(lambda node=node: _is_up(node) or _is_over(node), deadline - time.monotonic(), 0.5)
            if _is_up(node):
                return node
            node.kill_all()
            self.nodes.remove(node)
        raise RuntimeError(f"`ray start` did not come up: {node.output[-600:]}")


def _is_over(node: Started) -> bool:
    return node.process.poll() is not None


def _is_up(node: Started) -> bool:
    return _STARTED in node.output and bool(node.of_kind("raylet"))


def lose(node: Started) -> None:
    """Kill every process of a node at once, as the loss of the computer does."""
    victims = list(node.processes())
    for number in (signal.SIGSTOP, signal.SIGKILL):
        for pid in victims:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
    node.process.wait()
    time.sleep(0.1)


def free_port() -> int:
    """A port at which nothing listens, with room for the workers' ports behind it."""
    chance = random.SystemRandom()
    while True:
        port = chance.randrange(*_PORTS)
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)):
                return port
