"""Faults in launches that are tracked: in the driver or in the process that mirrors commits to a stand-in for wandb."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from pipeline.store.pack_store import StoreError
from pipeline.tracking.ledger import Ledger
from tests.faults.calls import plan_calls, try_call
from tests.faults.cases import LAUNCH, Case, Cases, fresh_folder, make_case, spec_of
from tests.faults.checking import Verdict
from tests.faults.shim import Fault

# As much of wandb as the mirror calls, writing what it is given into a folder that is named as wandb names it.
STAND_IN = """
import json, pathlib

class Error(Exception):
    pass

class Settings(dict):
    model_fields = {"root_dir": None}
    def __init__(self, **given):
        super().__init__(given)

class Nothing:
    def __init__(self, *_, **__):
        pass
    def __call__(self, *_, **__):
        return Nothing()
    def __getattr__(self, name):
        return Nothing()

class Run(Nothing):
    def __init__(self, folder):
        (folder / "files").mkdir(parents=True, exist_ok=True)
        self.dir, self.summary = str(folder / "files"), {}
        self._log = open(folder / "rows.jsonl", "a")
    def log(self, row, step, commit):
        self._log.write(json.dumps(row, default=repr) + chr(10))
        self._log.flush()
    def finish(self):
        self._log.close()

def init(id, settings, **_):
    return Run(pathlib.Path(settings["root_dir"]) / "wandb" / f"offline-run-20200101_000000-{id}")

def __getattr__(name):
    if name.startswith("__"):
        raise AttributeError(name)
    return Nothing()
"""
# Longer than the mirror of a killed driver needs to see that, and to write what is missing.
_END_S = 60.0


@dataclass(frozen=True)
class Tracked:
    """The launch that is tracked, and what its ledger holds in the end: tracked run -> (step, reason)."""

    case: Case
    entries: dict[str, tuple[int, str]]


def tracked_launch(cases: Cases, base: Path) -> Tracked:
    """The case, with the stand-in on the path of every process that is started from now on."""
    (base / "stand-in" / "wandb").mkdir(parents=True)
    (base / "stand-in" / "wandb" / "__init__.py").write_text(STAND_IN)
    os.environ["PYTHONPATH"] = f"{base / 'stand-in'}{os.pathsep}{os.environ['PYTHONPATH']}"
    start = fresh_folder(base / "new-tracked", spec_of(cases.engines[0], tracking={"mode": "offline"}))
    case = make_case("launch (tracked)", LAUNCH, start, base, trains=True)
    entries = ledger_entries(base / f"{case.name}-1")
    assert len(entries) >= len(case.weights)
    return Tracked(case, entries)


def ledger_entries(cwd: Path) -> dict[str, tuple[int, str]]:
    """What the ledger of the results in `cwd` holds; nothing where it cannot be read."""
    try:
        found = Ledger.read(cwd / "r" / "wandb" / "mirrored.json").entries
    except StoreError:
        return {}
    return {name: (entry.step, entry.reason) for name, entry in found.items()}


def at_work_in(cwd: Path) -> list[int]:
    """The processes whose current folder is `cwd`."""
    found = []
    for link in Path("/proc").glob("[0-9]*/cwd"):
        try:
            if link.readlink() == cwd:
                found.append(int(link.parent.name))
        except OSError:
            continue
    return found


def try_tracked(tracked: Tracked, fault: Fault, cwd: Path) -> Verdict:
    """The fault in both processes, whichever makes so many calls; the ledger is as it should be in the end."""
    verdict = try_call(tracked.case, fault, cwd)
    verdict.kind = f"tracked: {fault.kind}"
    deadline = time.monotonic() + _END_S
    while at_work_in(cwd) and time.monotonic() < deadline:
        time.sleep(0.02)
    if at_work_in(cwd):
        verdict.problems.append("a process was left behind")
    elif not verdict.problems and ledger_entries(cwd) != tracked.entries:
        verdict.problems.append(f"the ledger holds {ledger_entries(cwd)}")
    return verdict


def plan_tracked(tracked: Tracked, chance: random.Random) -> Iterator[partial[Verdict]]:
    """The faults of single calls, as in launches that are not tracked."""
    for fault in plan_calls(tracked.case.calls, chance):
        yield partial(try_tracked, tracked, fault)
