"""Workers on one results folder, killed, suspended and asked to leave at drawn moments: each run once, bits equal.

`python -m tests.workers.fleet --kills 200` imports everything once and forks the workers, which run the real command.
With `--bucket s3://BUCKET` the sweeps are on an object store; its client does not outlive a fork, so only forks use it.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

# Read when the worker is imported.
os.environ["SEEDBED_COMMIT_S"] = "0.05"
os.environ["OMP_NUM_THREADS"] = "1"

import torch
from rich.console import Console

from pipeline.spec.sweep import SweepSpec
from pipeline.store.backends.local_copy import fetch, publish
from pipeline.store.damage import damages
from pipeline.store.progress import unfinished
from pipeline.store.sweep_store import SweepStore
from pipeline.workers.lease import beat_interval_s
from sweeps.command.fleet.object_stores import sweep_at
from sweeps.command.fleet.working import run_work
from tests.support import opened, rows, tiny, trained, weights

# Seconds between two beats in a folder and on an object store, and the longest that a worker may take to leave.
BEAT_S, OBJECTS_BEAT_S, LONGEST_LEAVING_S = 0.2, 1.0, 30.0
COMPLETE, INCOMPLETE = 0, 3


def sweep_of(num_packs: int) -> SweepSpec:
    """A sweep of so many packs of two runs, each of ten chunks."""
    sizes = [8 + index for index in range(num_packs)]
    return tiny(vary=[{"batch_size": sizes}], budget=100, seeds={"together": [0, 1]}, resources={"slots": 2})


def recorded_rows(store: SweepStore) -> Counter[tuple[str, int]]:
    """How often each (run, step) is in the history files that the newest records name."""
    found: Counter[tuple[str, int]] = Counter()
    for pack_id, record in store.newest_records().items():
        for entry in record.history:
            table = store.pack(pack_id).table(entry)
            found.update(zip(table["run_id"].to_pylist(), table["step"].to_pylist(), strict=True))
    return found


def problems(store: SweepStore, reference: SweepStore) -> Iterator[str]:
    """What is wrong with a sweep that workers have completed, beside one that a launch trained."""
    if left := unfinished(store):
        yield f"{len(left)} packs are not finished"
    if doubled := [key for key, count in recorded_rows(store).items() if count > 1]:
        yield f"rows are recorded twice: {doubled[:3]}"
    if weights(store) != weights(reference):
        yield "the last weights differ"
    if rows(store) != rows(reference):
        yield "the histories differ"
    yield from (damage.problem for damage in damages(store))


class Fleet:
    """Worker processes on a folder or URL. `took_s` are the seconds that asked workers took to leave."""

    def __init__(self, place: Path, log: Path, size: int, chance: random.Random) -> None:
        self.place, self.chance = place, chance
        self.counts: Counter[str] = Counter()
        self.problems: list[str] = []
        self.took_s: list[float] = []
        self._log = log
        self._asked: dict[int, float] = {}
        self._stopped: dict[int, float] = {}
        self._killed: set[int] = set()
        self.alive = {self._start() for _ in range(size)}

    def _start(self) -> int:
        process = os.fork()
        if process:
            return process
        code = 70
        try:
            with self._log.open("a") as log, sweep_at(self.place) as store:
                code = run_work(store, None, True, Console(file=log, width=200))
        except BaseException as error:
            with self._log.open("a") as log:
                log.write(f"{type(error).__name__}: {error}\n")
        finally:
            os._exit(code)

    def reap(self) -> None:
        """Take in the workers that have ended; one that was killed or asked to leave is replaced by another."""
        for process in list(self.alive):
            ended, status = os.waitpid(process, os.WNOHANG)
            if not ended:
                continue
            self.alive.discard(process)
            code = os.waitstatus_to_exitcode(status)
            if (asked := self._asked.pop(process, None)) is not None:
                self.took_s.append(time.monotonic() - asked)
                expected = {COMPLETE, INCOMPLETE}
            else:
                expected = {-signal.SIGKILL} if process in self._killed else {COMPLETE}
            if code not in expected and code != COMPLETE:
                self.problems.append(f"a worker ended with {code} instead of {expected}")
            if code != COMPLETE:
                self.alive.add(self._start())
        for process, until in list(self._stopped.items()):
            if time.monotonic() > until:
                del self._stopped[process]
                with suppress(ProcessLookupError):
                    os.kill(process, signal.SIGCONT)

    def strike(self) -> None:
        """Kill a worker; or, one time in four each, suspend it for three leases, or ask it to leave."""
        free = sorted(self.alive - self._stopped.keys() - self._asked.keys() - self._killed)
        if not free:
            return
        process = self.chance.choice(free)
        kind = self.chance.choice(["kill", "kill", "stop", "ask"])
        # Before it has a handler, a signal ends a process that has not begun.
        if kind == "ask" and not catches(process, signal.SIGTERM):
            return
        self.counts[kind] += 1
        if kind == "kill":
            self._killed.add(process)
            os.kill(process, signal.SIGKILL)
        elif kind == "stop":
            self._stopped[process] = time.monotonic() + 18 * beat_interval_s()
            os.kill(process, signal.SIGSTOP)
        else:
            self._asked[process] = time.monotonic()
            os.kill(process, self.chance.choice([signal.SIGTERM, signal.SIGUSR1, signal.SIGINT]))

    def end(self) -> None:
        """Kill what is left."""
        for process in self.alive:
            os.kill(process, signal.SIGKILL)
            os.waitpid(process, 0)


def catches(process: int, number: int) -> bool:
    """Whether a process has a handler for a signal."""
    with suppress(OSError):
        caught = Path(f"/proc/{process}/status").read_text().partition("SigCgt:")[2].split()[0]
        return bool(int(caught, 16) >> (number - 1) & 1)
    return False


def in_a_fork(call: Callable[[], bool]) -> bool:
    """What `call` returns in a process of its own; False where it raises."""
    process = os.fork()
    if not process:
        is_true = False
        try:
            is_true = call()
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(0 if is_true else 1)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 0


def begun(planned: Path, base: Path, bucket: str | None, seed: int) -> Path:
    """A folder or URL with a copy of what was planned."""
    if bucket is None:
        return Path(shutil.copytree(planned, base / f"round-{seed}"))
    url = f"{bucket}/{base.name}-{seed}"

    def write() -> bool:
        publish(planned, url, None)
        return True

    if not in_a_fork(write):
        sys.exit(f"{url}: cannot be written")
    return Path(url)


def ended(place: Path, base: Path, bucket: str | None, seed: int) -> tuple[SweepStore, int]:
    """The sweep that workers have completed, or a copy of it, and how many attempts were made."""
    copy = place if bucket is None else base / f"round-{seed}"

    def look() -> bool:
        with sweep_at(place) as store:
            number = sum(store.pack(pack).newest_attempt() for pack in store.pack_ids())
        (base / "attempts.json").write_text(json.dumps(number))
        if bucket is not None:
            fetch(f"{bucket}/{base.name}-{seed}", copy)
        return True

    if not in_a_fork(look):
        sys.exit(f"{place}: cannot be read")
    return SweepStore(copy), json.loads((base / "attempts.json").read_text())


def one_round(
    planned: Path, reference: SweepStore, base: Path, given: argparse.Namespace, seed: int, num_kills: int
) -> Counter[str]:
    """Complete a copy of a planned folder by workers that are struck until so many were killed.

    Returns what was done to them. Exits on a problem.
    """
    started, log = time.monotonic(), base / "workers.log"
    place = begun(planned, base, given.bucket, seed)
    chance = random.Random(seed)
    fleet = Fleet(place, log, given.workers, chance)
    try:
        while fleet.alive and time.monotonic() < started + given.seconds:
            until = time.monotonic() + chance.expovariate(1 / given.between)
            while time.monotonic() < until and fleet.alive:
                fleet.reap()
                time.sleep(0.02)
            if fleet.counts["kill"] < num_kills and in_a_fork(lambda: unfinished_quickly(place)):
                fleet.strike()
        is_late = bool(fleet.alive)
    finally:
        fleet.end()
    store, attempts = ended(place, base, given.bucket, seed)
    found = [*fleet.problems, *(["the time is over"] if is_late else problems(store, reference))]
    late = [took for took in fleet.took_s if took > LONGEST_LEAVING_S]
    found += [f"a worker took {took:.0f} s to leave" for took in late]
    if found:
        sys.exit(f"round {seed}: {'; '.join(found)}; see {store.folder} and {log}")
    shutil.rmtree(store.folder)
    longest = max(fleet.took_s, default=0.0)
    print(f"round {seed}: {dict(fleet.counts)}, {attempts} attempts, {time.monotonic() - started:.0f} s,", end=" ")
    print(f"asked workers left within {longest:.1f} s", flush=True)
    return fleet.counts


def unfinished_quickly(place: Path) -> bool:
    """Whether a pack has no record yet that names all of its runs; nothing is checked."""
    with sweep_at(place) as store:
        return any(len(getattr(next(iter(store.pack(p).records()), None), "ends", ())) < 2 for p in store.pack_ids())


def main() -> None:
    """Rounds, each on a copy of a planned folder, until so many workers were killed; exits with 1 on a problem."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--packs", type=int, default=12)
    parser.add_argument("--between", type=float, default=0.5, help="mean seconds between two strikes")
    parser.add_argument("--seconds", type=float, default=600.0, help="the longest that a round may take")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--bucket", help="the URL under which sweeps are put on an object store")
    given = parser.parse_args()
    os.environ["SEEDBED_BEAT_S"] = str(BEAT_S if given.bucket is None else OBJECTS_BEAT_S)
    torch.set_num_threads(1)
    base = Path(tempfile.mkdtemp(prefix="seedbed-fleet-", dir="/dev/shm" if Path("/dev/shm").is_dir() else None))
    # Of workers that are killed, too.
    tempfile.tempdir = str(base)
    spec = sweep_of(given.packs)
    reference = trained(spec, base / "reference")
    opened(spec, base / "planned")
    gc.freeze()
    done: Counter[str] = Counter()
    seed = given.seed
    while done["kill"] < given.kills:
        done += one_round(base / "planned", reference, base, given, seed, given.kills - done["kill"])
        seed += 1
    shutil.rmtree(base)
    print(f"{seed - given.seed} rounds, {dict(done)}: each run once, bits equal")


if __name__ == "__main__":
    main()
