"""A computer of a cluster lost, joining late, lost with Ray's control service, or without a compiler."""

from __future__ import annotations

import random
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.cluster.nodes import Cluster, lose
from tests.cluster.processes import Started, until
from tests.cluster.sweeps import (
    DEADLINE_S,
    Reference,
    committed,
    complete,
    fresh_folder,
    is_training,
    judge_end,
    launch,
)
from tests.faults.checking import Verdict

# A driver that has lost Ray's control service must have ended by then.
END_S = 60.0
# Two programs to compile; long enough that both computers are needed.
COMPILED: dict[str, Any] = {
    "vary": [{"batch_size": [4, 8]}],
    "seeds": {"together": {"range": [0, 8]}},
    "resources": {"slots": 2, "engine": "compiled"},
    "budget": 40_000,
}
Scenario = Callable[[Cluster, Started, random.Random, Verdict], None]


def second_killed(cluster: Cluster, driver: Started, chance: random.Random, verdict: Verdict) -> None:
    """The second computer is lost while it trains: its packs go on elsewhere, and the launch ends with 0."""
    _lose_when_training(cluster.nodes[1], driver, chance, verdict)
    _must_end(driver, verdict, {0})


def joins_late(cluster: Cluster, driver: Started, chance: random.Random, verdict: Verdict) -> None:
    """A computer that joins during training is used, and the launch ends with 0."""
    second = cluster.start()
    if not until(lambda: second.of_kind("worker") or driver.process.poll() is not None, DEADLINE_S, 0.5):
        verdict.hung += 1
    elif not second.of_kind("worker"):
        verdict.problems.append("the computer that joined was not used")
    _must_end(driver, verdict, {0})


def first_killed(cluster: Cluster, driver: Started, chance: random.Random, verdict: Verdict) -> None:
    """The computer with Ray's control service is lost: the driver ends within a minute, and says why."""
    _lose_when_training(cluster.nodes[0], driver, chance, verdict)
    started = time.monotonic()
    _must_end(driver, verdict, set(range(1, 128)))
    if (took_s := time.monotonic() - started) > END_S:
        verdict.problems.append(f"ended after {took_s:.0f} s")
    if "Ray" not in driver.output:
        verdict.problems.append(f"did not say why: {driver.output[-400:]}")


def no_compiler(cluster: Cluster, driver: Started, chance: random.Random, verdict: Verdict) -> None:
    """A computer without a compiler: the sweep is finished by the other one, or what could not be done is named."""
    _must_end(driver, verdict, {0, 1, 3})
    if driver.process.poll() and "failed: " not in driver.output and " left; resume with" not in driver.output:
        verdict.problems.append(f"did not name what is left: {driver.output[-400:]}")


SCENARIOS: dict[str, Scenario] = {
    "second computer killed": second_killed,
    "computer joins late": joins_late,
    "computer of the control service killed": first_killed,
    "no compiler on the second computer": no_compiler,
}


def try_scenario(name: str, chance: random.Random, cwd: Path, expected: Reference) -> Verdict:
    """Start the cluster, launch on it, let the scenario happen, complete the sweep, and judge."""
    fresh_folder(cwd, **(COMPILED if name.startswith("no compiler") else {}))
    verdict = Verdict(name, "")
    try:
        with Cluster(cwd) as cluster:
            _try(name, cluster, chance, cwd, expected, verdict)
    finally:
        shutil.rmtree(cwd, ignore_errors=True)
    return verdict


def _try(name: str, cluster: Cluster, chance: random.Random, cwd: Path, expected: Reference, verdict: Verdict) -> None:
    if name.startswith("no compiler"):
        cluster.start(_without_compiler(cwd))
    elif name != "computer joins late":
        cluster.start()
    driver = launch(cwd, "--address", cluster.address, **cluster.environment)
    try:
        if not until(lambda: is_training(cwd) or driver.process.poll() is not None, DEADLINE_S):
            verdict.hung += 1
        started = time.monotonic()
        SCENARIOS[name](cluster, driver, chance, verdict)
        judge_end(verdict, driver, driver.process.poll(), expected, cwd)
        verdict.place = f"{time.monotonic() - started:.0f} s, code {verdict.code}: {driver.output.strip()[-300:]}"
        if left := driver.left(10):
            verdict.problems.append(f"left running: {left}")
    finally:
        driver.kill_all()
    complete(verdict, cwd, committed(cwd), expected)


def _without_compiler(cwd: Path) -> dict[str, str]:
    """Variables of an environment in which no compiler is found, nor what another one has compiled."""
    tools = cwd / "n" / "bin"
    tools.mkdir()
    for name in ("sh", "bash", "env", "uname", "cat", "ls", "ps"):
        if (found := shutil.which(name)) is not None:
            (tools / name).symlink_to(found)
    return {"PATH": str(tools), "CXX": "", "XDG_CACHE_HOME": str(cwd / "n" / "cache")}


def _lose_when_training(node: Started, driver: Started, chance: random.Random, verdict: Verdict) -> None:
    if not until(lambda: node.of_kind("worker") or driver.process.poll() is not None, DEADLINE_S, 0.5):
        verdict.hung += 1
    time.sleep(chance.uniform(0, 3))
    if driver.process.poll() is not None or not node.of_kind("worker"):
        verdict.problems.append("nothing was training there any more: nothing was tried")
    lose(node)


def _must_end(driver: Started, verdict: Verdict, codes: set[int]) -> None:
    code = driver.wait(DEADLINE_S)
    if code is not None and code not in codes:
        verdict.problems.append(f"ended with {code}: {driver.output[-500:]}")
