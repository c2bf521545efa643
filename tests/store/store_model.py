"""A model of the store in plain dicts: what was acknowledged, and what may be read after crashes and damage.

Training is a stub: the value of a run at a step is a function of both, so training again gives the same.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.store import files
from tests.store.crashes import CrashError

CHUNK = 10


def value_at(run_id: str, step: int) -> float:
    """The loss of a run at a step."""
    return int(hashlib.sha256(f"{run_id}/{step}".encode()).hexdigest()[:6], 16) / 2**20


@dataclass(frozen=True)
class Sweep:
    """What the documents say: runs of each pack, and the budget."""

    packs: tuple[tuple[str, ...], ...] = ()
    budget: int = 2 * CHUNK

    @property
    def pack_ids(self) -> list[str]:
        """A name for each pack."""
        return [f"pack{number}" for number in range(len(self.packs))]

    def with_pack(self, num_runs: int) -> Sweep:
        """This sweep with a pack more."""
        first = sum(map(len, self.packs))
        return Sweep((*self.packs, tuple(f"run{first + n:03d}" for n in range(num_runs))), self.budget)

    def sweep_document(self) -> dict[str, Any]:
        """As `seedbed launch` writes it."""
        return {"sweep_id": "sweep", "name": "s", "spec": {}, "source": "", "launches": [{"git_commit": None}]}

    def plan_document(self) -> dict[str, Any]:
        """As `seedbed launch` writes it."""
        steps = list(range(CHUNK, self.budget + 1, CHUNK))
        runs = [run_id for pack in self.packs for run_id in pack]
        numerics = {"slots": 4, "dtype": "float32", "device": "cpu", "threads": 1, "torch": "0"}
        return {
            "name": "s",
            "budget": self.budget,
            "grid": {"chunk": CHUNK, "eval_steps": steps, "probe_steps": steps},
            "windows": [[0.5, CHUNK]],
            "readings": [],
            "varied": [],
            "settings": {"setting": {"optimiser.lr": 0.1}},
            "runs": [
                {"run_id": run_id, "setting_id": "setting", "init_seed": seed, "data_seed": seed}
                for seed, run_id in enumerate(runs)
            ],
            "packs": [
                {"pack_id": name, "run_ids": list(pack), "numerics": numerics, "reason": ""}
                for name, pack in zip(self.pack_ids, self.packs, strict=True)
            ],
        }


@dataclass(frozen=True)
class State:
    """A pack at one commit: (run, step) -> metrics, run -> (reason, step), run -> step in progress."""

    rows: Mapping[tuple[str, int], Mapping[str, float]] = field(default_factory=dict)
    ends: Mapping[str, tuple[str, int]] = field(default_factory=dict)
    active: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Generation:
    """A commit that was begun: its order, what it says, and the SHA-256 of the files that it names."""

    order: tuple[int, int]
    state: State
    files: Mapping[str, str]
    record: str

    def is_whole(self, folder: Path, records: Mapping[str, str]) -> bool:
        """Whether its record and all its files stand as they were written."""
        named = {**self.files, self.record: records[self.record]}
        return all(digest(folder / name) == sha256 for name, sha256 in named.items())


@dataclass
class Pack:
    """What is known of a pack: every commit that was begun, the newest acknowledged one, and whether it was harmed.

    `num_since_harm` commits were acknowledged since then. `records` are the SHA-256 of record files, taken when they
    were first seen.
    """

    generations: list[Generation] = field(default_factory=list)
    records: dict[str, str] = field(default_factory=dict)
    acknowledged: Generation | None = None
    is_harmed: bool = False
    num_since_harm: int = 0

    def whole(self, folder: Path) -> list[Generation]:
        """The whole commits on the disk, newest first."""
        found = [g for g in self.generations if g.record in self.records and g.is_whole(folder, self.records)]
        return sorted(found, key=lambda generation: generation.order, reverse=True)


def digest(path: Path) -> str | None:
    """The SHA-256 of a file; None where there is none."""
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None


@contextmanager
def crash_at(point: int | None) -> Iterator[None]:
    """In this context the disk is fast, and the `point`-th call of rename or fsync ends the program before or after it.

    Before a file is synced, half of it may be on the disk.
    """
    calls = iter(range(10**9))

    def fsync(descriptor: int) -> None:
        if next(calls) == point:
            if point % 2 == 0 and (size := os.fstat(descriptor).st_size) and not _is_folder(descriptor):
                os.ftruncate(descriptor, size // 2)
            raise CrashError

    rename = os.rename

    def renamed(source: Any, target: Any) -> None:
        number = next(calls)
        if number == point and point % 2 == 0:
            raise CrashError
        rename(source, target)
        if number == point:
            raise CrashError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files.os, "fsync", fsync)
        patch.setattr(files.os, "rename", renamed)
        yield


def _is_folder(descriptor: int) -> bool:
    return os.path.isdir(f"/proc/self/fd/{descriptor}")


def harm(path: Path, chance: random.Random) -> None:
    """Delete a file, cut it, or flip one of its bits, so that it does not say the same."""
    content = path.read_bytes()
    how = chance.choice(("delete", "cut", "flip", "flip"))
    if how == "delete":
        path.unlink()
        return
    harmed = content
    while _same(path, harmed, content):
        if how == "cut":
            harmed = content[: chance.randrange(len(content))]
        else:
            place = chance.randrange(len(content))
            harmed = content[:place] + bytes([content[place] ^ 1 << chance.randrange(8)]) + content[place + 1 :]
    path.write_bytes(harmed)


def _same(path: Path, one: bytes, other: bytes) -> bool:
    """Whether two contents say the same: of JSON, spaces and the writing of numbers do not count."""
    if path.suffix != ".json":
        return one == other
    try:
        return bool(json.loads(one) == json.loads(other))
    except ValueError:
        return False


def rows_of(history: Any) -> dict[tuple[str, int], dict[str, float]]:
    """(run, step) -> the metrics that a history has there."""
    found: dict[tuple[str, int], dict[str, float]] = {}
    for metric, array_RT in history.values.items():
        for row, column in zip(*np.nonzero(~np.isnan(array_RT)), strict=True):
            key = history.runs[row].run_id, int(history.steps_T[column])
            found.setdefault(key, {})[metric] = float(array_RT[row, column])
    return found
