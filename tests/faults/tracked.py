"""Faults in launches that are tracked: in the driver or in the process that mirrors commits to a stand-in for wandb."""

from __future__ import annotations

import json
import os
import random
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from pipeline.store.pack_store import StoreError
from pipeline.tracking.ledger import Ledger
from tests.faults.calls import plan_calls
from tests.faults.cases import LAUNCH, RESUME, Case, Cases, fresh_folder, make_case, spec_of
from tests.faults.checking import Verdict, judge
from tests.faults.commands import seedbed
from tests.faults.shim import COUNT, Fault

# As much of wandb as the mirror calls: a new folder for each run, with its rows, and with the file that wandb's service
# would write, which goes on where it cannot.
STAND_IN = """
import contextlib, json, os, pathlib, struct

number = 0

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
    def __init__(self, folder, id):
        (folder / "files").mkdir(parents=True)
        self.dir, self.summary = str(folder / "files"), {}
        self._log, self._path = open(folder / "rows.jsonl", "w"), folder / f"run-{id}.wandb"
        self._write(b":W&B123")
    def _write(self, content):
        with contextlib.suppress(OSError), open(self._path, "ab", 0) as file:
            file.write(content)
    def _write_record(self, content):
        self._write(struct.pack("<IHB", 0, len(content), 1) + content)
    def log(self, row, step, commit):
        self._log.write(json.dumps(row, default=lambda picture: "a picture") + chr(10))
        self._log.flush()
        # Field 2, a row, of no bytes.
        self._write_record(bytes([2 << 3 | 2, 0]))
    def finish(self):
        self._log.close()
        # Field 18, the end.
        self._write_record(bytes([(18 << 3 | 2) % 128 + 128, 1, 0]))

def init(id, settings, **_):
    global number
    number += 1
    return Run(pathlib.Path(settings["root_dir"]) / "wandb" / f"offline-run-{os.getpid()}_{number}-{id}", id)

def __getattr__(name):
    if name.startswith("__"):
        raise AttributeError(name)
    return Nothing()
"""
# Longer than the mirror of a killed driver needs to see that, and to write what is missing.
_END_S = 60.0
MIRROR = ("mirror", "r")
# What a command says that leaves the mirror behind.
TOLD = "`seedbed mirror "
# tracked run -> (step, reason) of its entry in the ledger, and its rows without times.
Mirrored = dict[str, tuple[int, str, list[dict[str, object]]]]


@dataclass(frozen=True)
class Tracked:
    """The launch that is tracked, the calls of its mirror, and what has been mirrored in the end."""

    case: Case
    mirror_calls: tuple[str, ...]
    mirrored: Mirrored


def tracked_launch(cases: Cases, base: Path) -> Tracked:
    """The case, with the stand-in on the path of this process's forks and of every process that is started from now on.

    Raises AssertionError where this process has imported wandb itself.
    """
    (base / "stand-in" / "wandb").mkdir(parents=True)
    (base / "stand-in" / "wandb" / "__init__.py").write_text(STAND_IN)
    os.environ["PYTHONPATH"] = f"{base / 'stand-in'}{os.pathsep}{os.environ['PYTHONPATH']}"
    assert "wandb" not in sys.modules
    sys.path.insert(0, str(base / "stand-in"))
    start = fresh_folder(base / "new-tracked", spec_of(cases.engines[0], tracking={"mode": "offline"}))
    case = make_case("launch (tracked)", LAUNCH, start, base, trains=True)
    found = mirrored(base / f"{case.name}-1")
    assert len(found) > len(case.weights)
    assert all(rows for _, _, rows in found.values())
    calls, of_mirror = _calls_of_both(case, base)
    return Tracked(replace(case, calls=calls), of_mirror, found)


def _calls_of_both(case: Case, base: Path) -> list[tuple[str, ...]]:
    """The calls of a launch and those of its mirror."""
    cwd, logs = case.begun(base / "counted"), [base / "counted.calls", base / "mirror.calls"]
    inherited = COUNT.environment(cwd / "r", logs[1])
    assert seedbed(case.command, cwd, cwd / "r", log=logs[0], inherited=inherited).code == 0
    return [tuple(line.partition(" ")[0] for line in log.read_text().splitlines()) for log in logs]


def mirrored(cwd: Path) -> Mirrored:
    """What has been mirrored of the results in `cwd`, by the ledger; nothing where that cannot be read.

    Rows of a sweep's own run are left out but for the last, since there is one for each look at the commits.
    """
    folder = cwd / "r" / "wandb"
    try:
        found = Ledger.read(folder / "mirrored.json").entries
    except StoreError:
        return {}
    rows = {key: [row for name in entry.folders for row in _rows(folder / name)] for key, entry in found.items()}
    return {
        key: (entry.step, entry.reason, rows[key][-1:] if key.endswith("-sweep") else rows[key])
        for key, entry in found.items()
    }


def _rows(folder: Path) -> list[dict[str, object]]:
    path = folder / "rows.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []
    return [{name: value for name, value in row.items() if "time" not in name} for row in rows]


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


def try_tracked(tracked: Tracked, fault: Fault, is_in_launch: bool, cwd: Path) -> Verdict:
    """The fault in the launch or in its mirror: everything reaches wandb, or what does not is told.

    No fault of a mirror ends its launch. What a launch that ends well leaves out it must say, and so must `seedbed
    resume`; `seedbed mirror` then writes it.
    """
    case = tracked.case
    whose, calls = ("", case.calls) if is_in_launch else ("the mirror's ", tracked.mirror_calls)
    faults = (fault, COUNT) if is_in_launch else (COUNT, fault)
    inherited = faults[1].environment(cwd / "r")
    ended = seedbed(case.command, case.begun(cwd), cwd / "r", faults[0], inherited=inherited)
    place = f"{case.name}, {whose}call {fault.call} ({calls[fault.call - 1]})"
    verdict = Verdict(f"tracked: {fault.kind}", place)
    if ended.code and not is_in_launch:
        verdict.problems.append(f"a fault of the mirror ended the launch ({ended.code}): {ended.output[-400:]}")
    verdict.silent += ended.code == 0 and mirrored(cwd) != tracked.mirrored and TOLD not in ended.output
    judge(verdict, cwd, ended, case)
    deadline = time.monotonic() + _END_S
    while at_work_in(cwd) and time.monotonic() < deadline:
        time.sleep(0.02)
    if at_work_in(cwd):
        verdict.problems.append("a process was left behind")
    elif not verdict.problems and mirrored(cwd) != tracked.mirrored:
        _judge_next_mirror(verdict, tracked, cwd)
    return verdict


def _judge_next_mirror(verdict: Verdict, tracked: Tracked, cwd: Path) -> None:
    verdict.silent += TOLD not in seedbed(RESUME, cwd, cwd / "r").output
    ended, expected = seedbed(MIRROR, cwd, cwd / "r"), tracked.mirrored
    found = mirrored(cwd)
    if ended.code or found != expected:
        wrong = sorted(key for key in {*expected, *found} if expected.get(key) != found.get(key))
        verdict.problems.append(f"mirrored ({ended.code}), but not as it should be: {wrong}; {ended.output[-400:]}")
    if TOLD in (told := seedbed(RESUME, cwd, cwd / "r").output):
        verdict.problems.append(f"all is mirrored, but: {told}")


def plan_tracked(tracked: Tracked, chance: random.Random) -> Iterator[partial[Verdict]]:
    """The faults of single calls, as in launches that are not tracked: of the launch and of its mirror in turn."""
    plans = [plan_calls(calls, chance) for calls in (tracked.case.calls, tracked.mirror_calls)]
    while True:
        for is_in_launch, plan in zip((True, False), plans, strict=True):
            yield partial(try_tracked, tracked, next(plan), is_in_launch)
