"""Two launches of one sweep started at once, and processes that claim and commit attempts of the same packs."""

from __future__ import annotations

import importlib
import json
import os
import random
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.store.pack_store import FencedError, PackStore
from pipeline.store.records.record import Record
from tests.cluster.sweeps import Reference, fresh_folder, judge_results
from tests.faults.checking import Verdict

# A launch that finds another one at work is refused within so many seconds.
REFUSED_S = 2.0
DELAYS_S = 0.05
NUM_PROCESSES = 8
_REFUSAL = "another `seedbed launch` or `resume` is working on it"


@dataclass(frozen=True)
class Forked:
    """How a function that ran in a child ended: its exit code, after how many seconds and CPU seconds, its text."""

    code: int
    took_s: float
    cpu_s: float
    text: str


def forked(*calls: Callable[[Path], int], folder: Path) -> list[Forked]:
    """Run each call in a child of its own, at once; each gets a file for its text and gives its exit code."""
    started, pids = time.monotonic(), {}
    for number, call in enumerate(calls):
        text = folder / f"printed-{number}.txt"
        if (pid := os.fork()) == 0:
            code = 70
            try:
                code = call(text)
            finally:
                os._exit(code)
        pids[pid] = number
    found: dict[int, Forked] = {}
    while len(found) < len(calls):
        pid, status, used = os.wait3(0)
        if pid in pids:
            text = folder / f"printed-{pids[pid]}.txt"
            code = os.waitstatus_to_exitcode(status)
            cpu_s = used.ru_utime + used.ru_stime
            said = text.read_text() if text.exists() else ""
            found[pids[pid]] = Forked(code, time.monotonic() - started, cpu_s, said)
    return [found[number] for number in range(len(calls))]


def _launching(cwd: Path, delay_s: float) -> Callable[[Path], int]:
    def call(text: Path) -> int:
        os.chdir(cwd)
        descriptor = os.open(text, os.O_WRONLY | os.O_CREAT, 0o600)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        sys.argv = ["seedbed", "launch", "s.yaml", "--results", "r", "--inline"]
        time.sleep(delay_s)
        from sweeps.cli.__main__ import main

        try:
            main()
        except SystemExit as left:
            sys.stdout.flush()
            return left.code if isinstance(left.code, int) else int(left.code is not None)
        sys.stdout.flush()
        return 0

    return call


def prepare() -> None:
    """Import what a launch imports, so that children start within milliseconds."""
    for name in ("sweeps.cli.__main__", "sweeps.command.launching", "pipeline.training.lightning_module"):
        importlib.import_module(name)


def race_launches(chance: random.Random, cwd: Path, expected: Reference, **changes: Any) -> tuple[Verdict, float]:
    """Two inline launches within milliseconds of one another; the verdict, and how soon the one was refused.

    It waits for nothing, so what is judged is its CPU seconds, which other work on this machine does not lengthen.
    """
    fresh_folder(cwd, **changes)
    delay_s = chance.uniform(-DELAYS_S, DELAYS_S)
    ended = forked(_launching(cwd, max(delay_s, 0)), _launching(cwd, max(-delay_s, 0)), folder=cwd)
    verdict = Verdict("two launches at once", f"{delay_s:.3f} s, codes {[end.code for end in ended]}")
    refused = [end for end in ended if end.code]
    if len(refused) != 1 or _REFUSAL not in " ".join(refused[0].text.split()):
        verdict.problems.append(f"not one refused in a sentence: {[end.text[-300:] for end in ended]}")
    took_s = max((end.took_s - abs(delay_s) for end in refused), default=0.0)
    if any(end.cpu_s > REFUSED_S for end in refused):
        verdict.problems.append(f"refused after {took_s:.1f} s, {[end.cpu_s for end in refused]} of them computing")
    judge_results(verdict, cwd, {}, expected)
    shutil.rmtree(cwd)
    return verdict, took_s


def race_claims(cwd: Path, num_packs: int) -> Verdict:
    """Processes that each claim one attempt at each of many packs, in another order, and commit it at once."""
    cwd.mkdir()
    packs = [cwd / f"pack-{number:04d}" for number in range(num_packs)]
    ended = forked(*[_claiming(packs, seed) for seed in range(NUM_PROCESSES)], folder=cwd)
    verdict = Verdict("claims of attempts", f"{NUM_PROCESSES} x {num_packs}")
    found = [json.loads(end.text) for end in ended if end.text]
    for pack in packs:
        claimed = sorted(attempts[pack.name][0] for attempts in found)
        committed = [attempts[pack.name][0] for attempts in found if attempts[pack.name][1]]
        newest = PackStore(pack).newest()
        verdict.twice += len(claimed) - len(set(claimed))
        verdict.lost += claimed != list(range(1, NUM_PROCESSES + 1)) or NUM_PROCESSES not in committed
        verdict.wrong += newest is None or newest.attempt != NUM_PROCESSES
    if any(end.code for end in ended):
        verdict.problems.append(f"exit codes {[end.code for end in ended]}")
    shutil.rmtree(cwd)
    return verdict


def _claiming(packs: Sequence[Path], seed: int) -> Callable[[Path], int]:
    def call(text: Path) -> int:
        found = {}
        for pack in random.Random(seed).sample(packs, len(packs)):
            store = PackStore(pack)
            attempt = store.claim_attempt()
            try:
                store.commit(Record("sweep", pack.name, attempt, 1))
                found[pack.name] = (attempt, True)
            except FencedError:
                found[pack.name] = (attempt, False)
        text.write_text(json.dumps(found))
        return 0

    return call
