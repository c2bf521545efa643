"""Processes of a local Ray killed at random moments, and the sweep completed afterwards."""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from collections.abc import Sequence
from pathlib import Path

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

# What is killed -> how often, and how often in one launch.
TRIES = {"worker": (20, 2), "raylet": (5, 1), "control service (GCS)": (5, 1), "driver": (5, 1), "mirror": (5, 1)}
# Seconds from the first opened pack within which a process is killed.
WITHIN_S = 12.0
# A launch whose Ray has lost its raylet or its control service must have ended by then.
END_S = 60.0
# Within so many seconds after the end, nothing of ours runs.
CLEAN_S = 10.0


def try_kills(kind: str, number: int, chance: random.Random, cwd: Path, expected: Reference) -> list[Verdict]:
    """Launch under a local Ray, kill so many processes of a kind at random moments, complete the sweep, and judge."""
    fresh_folder(cwd, **({"tracking": {"mode": "offline"}} if kind == "mirror" else {}))
    command = launch(cwd)
    try:
        return _tried(command, kind, number, chance, cwd, expected)
    finally:
        command.kill_all()
        shutil.rmtree(cwd, ignore_errors=True)


def _tried(
    command: Started, kind: str, number: int, chance: random.Random, cwd: Path, expected: Reference
) -> list[Verdict]:
    verdict = Verdict(f"kill -9 of {kind}", "")
    if not until(lambda: is_training(cwd) or command.process.poll() is not None, DEADLINE_S):
        verdict.hung += 1
    moments = sorted(chance.uniform(0, WITHIN_S) for _ in range(number))
    killed = [moment for moment in moments if _kill(command, kind, moment, chance)]
    ended = time.monotonic()
    code = command.wait(DEADLINE_S)
    took_s = time.monotonic() - ended
    judge_end(verdict, command, code, expected, cwd)
    _judge_kind(verdict, kind, took_s, command)
    if left := command.left(CLEAN_S):
        verdict.problems.append(f"left running: {left}")
    # A folder for temporary files that the next launch removes.
    verdict.leftovers += len(list((cwd / "t").glob("seedbed*")))
    complete(verdict, cwd, committed(cwd), expected)
    verdict.place = f"{took_s:.1f} s until code {code}: {command.output.strip()[-300:]}"
    return [verdict] * len(killed)


def _kill(command: Started, kind: str, after_s: float, chance: random.Random) -> bool:
    """Kill one process of a kind so many seconds after training began; whether there was one."""
    started = time.monotonic()
    until(lambda: command.process.poll() is not None, after_s)
    victims: Sequence[int] = [command.pid] if kind == "driver" else command.of_kind(kind)
    if command.process.poll() is not None or not victims:
        return False
    # What belongs to it is to be known before its parent is gone.
    command.processes()
    os.kill(chance.choice(list(victims)), signal.SIGKILL)
    return time.monotonic() >= started


def _judge_kind(verdict: Verdict, kind: str, took_s: float, command: Started) -> None:
    """What must hold after a process of this kind was killed."""
    survivors = ("worker", "mirror")
    if kind in survivors and verdict.code != 0:
        verdict.problems.append(f"the launch did not go on without a {kind}: {command.output[-400:]}")
    if kind not in (*survivors, "driver") and (verdict.code in (0, None) or took_s > END_S):
        verdict.problems.append(f"ended with {verdict.code} after {took_s:.0f} s")
