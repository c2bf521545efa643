"""What an interruption costs: work done again, CPU seconds before training goes on, seconds until a signal ends it."""

from __future__ import annotations

import os
import random
import shutil
import signal
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.store.sweep_store import SweepStore
from tests.cluster.processes import KINDS, Started, cpu_s, seedbed, until
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

# A pack that does not end while it is measured.
LONG: dict[str, Any] = {
    "vary": [],
    "seeds": {"together": [0, 1]},
    "budget": 1_000_000,
    "snapshots": {},
    "windows": [0.1],
    "stopping": {"name": "run_to_budget"},
}
SIGNAL_S = 10.0
# Trains the one pack of the folder with the default interval of commits, and prints its run-steps every second.
_PRINTING = """
import sys, time
from pathlib import Path
from pipeline.launch.inline import launch_inline
from pipeline.store.progress import unfinished
from pipeline.store.sweep_store import SweepStore
store = SweepStore(Path("r"))
launch_inline(store, unfinished(store), lambda pack, progress: print(time.time(), progress.run_steps, flush=True))
"""


@dataclass(frozen=True)
class Figure:
    """Several measurements of one thing, in seconds."""

    name: str
    bar_s: float
    values: tuple[float, ...]

    def row(self) -> tuple[object, ...]:
        """Name, bar, number, least, median, most."""
        spread = (min(self.values), statistics.median(self.values), max(self.values))
        return (self.name, f"{self.bar_s:g}", len(self.values), *(f"{value:.1f}" for value in spread))


def work_lost(chance: random.Random, cwd: Path) -> tuple[float, float]:
    """Seconds of training, and steps of each run, that a `kill -9` at a random moment throws away."""
    stopped(cwd, **LONG)
    environment = {"SEEDBED_COMMIT_S": "60", "TMPDIR": str(cwd / "t")}
    command = Started([sys.executable, "-c", _PRINTING], cwd, environment, "printing")
    try:
        until(lambda: command.output or command.process.poll() is not None, DEADLINE_S)
        time.sleep(chance.uniform(0, 120))
        was_running = command.process.poll() is None
        command.kill_all()
        killed = time.time()
    finally:
        command.kill_all()
    if not was_running:
        raise RuntimeError(f"it had ended before it was killed: {command.output[-400:]}")
    told = [(float(when), int(steps)) for when, steps in map(str.split, command.output.splitlines())]
    (record,) = SweepStore(cwd / "r").newest_records().values()
    since = min((when for when, steps in told if steps > record.run_steps), default=killed)
    shutil.rmtree(cwd)
    return killed - since, (told[-1][1] - record.run_steps) / 2


def stopped(cwd: Path, **changes: Any) -> Path:
    """A folder with a sweep that was stopped in the middle of a pack."""
    fresh_folder(cwd, **changes)
    command = launch(cwd, "--inline", SEEDBED_COMMIT_S="0")
    until(lambda: list((cwd / "r" / "packs").glob("*/*.record.json")), DEADLINE_S)
    command.process.send_signal(signal.SIGTERM)
    code = command.wait(DEADLINE_S)
    command.kill_all()
    if code != 3:
        raise RuntimeError(f"not stopped: {command.output[-400:]}")
    return cwd


def cpu_to_first_step(cwd: Path, *options: str) -> tuple[float, float]:
    """CPU seconds from `seedbed resume` to the first new commit, one chunk after the first step.

    Of the command with the worker that trains, and of all processes that they started, Ray's included.
    """
    command = Started(
        seedbed("resume", "r", *options), cwd, {"SEEDBED_COMMIT_S": "0", "TMPDIR": str(cwd / "t")}, "resuming"
    )
    seen: dict[int, tuple[float, str]] = {}
    before = set((cwd / "r" / "packs").glob("*/*.record.json"))
    try:
        while not set((cwd / "r" / "packs").glob("*/*.record.json")) - before and command.process.poll() is None:
            seen |= {pid: (cpu_s(pid), line) for pid, line in command.processes().items()}
            time.sleep(0.2)
        seen |= {pid: (cpu_s(pid), line) for pid, line in command.processes().items()}
    finally:
        command.kill_all()
    ours = sum(
        spent_s
        for pid, (spent_s, line) in seen.items()
        if pid == command.pid or (KINDS["worker"] in line and spent_s > 1)
    )
    return ours, sum(spent_s for spent_s, _ in seen.values())


def signal_under_ray(number: int, chance: random.Random, cwd: Path, expected: Reference) -> tuple[Verdict, float]:
    """Send a signal to the driver at a random moment of training under a local Ray; the verdict, and its seconds."""
    fresh_folder(cwd)
    verdict = Verdict(f"{signal.Signals(number).name} under Ray", "")
    # Only what is committed when asked to stop counts.
    command = launch(cwd, SEEDBED_COMMIT_S="3600")
    try:
        until(lambda: is_training(cwd) or command.process.poll() is not None, DEADLINE_S)
        until(lambda: command.process.poll() is not None, chance.uniform(0, 8))
        was_running = command.process.poll() is None
        sent = time.monotonic()
        os.kill(command.pid, number)
        code = command.wait(DEADLINE_S)
        took_s = time.monotonic() - sent
        judge_end(verdict, command, code, expected, cwd)
        verdict.place = f"{took_s:.1f} s, code {code}"
        if was_running and (code != 3 or took_s > SIGNAL_S or "resume with" not in command.output):
            verdict.problems.append(f"ended with {code} after {took_s:.1f} s: {command.output[-300:]}")
        if not committed(cwd):
            verdict.problems.append("nothing was committed")
        if left := command.left(SIGNAL_S):
            verdict.problems.append(f"left running: {left}")
    finally:
        command.kill_all()
    complete(verdict, cwd, committed(cwd), expected)
    shutil.rmtree(cwd)
    return verdict, took_s


def figures(values: dict[str, tuple[float, Sequence[float]]]) -> list[Figure]:
    """Name -> (bar, measurements), as figures; those without a measurement are left out."""
    return [Figure(name, bar_s, tuple(measured)) for name, (bar_s, measured) in values.items() if measured]
