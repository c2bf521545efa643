"""Forecaster and policy files, the folders that are learned from, and sweep files that name them."""

from __future__ import annotations

import random
import shutil
from functools import partial
from pathlib import Path
from typing import Any

from pipeline.store.formats.sealed import unseal
from tests.fuzz.case import Case
from tests.fuzz.odd_values import PATHS, THINGS, json_value, mutated, put_things
from tests.fuzz.results_folders import copied, sealed
from tests.fuzz.sweep_files import TINY


def draw(chance: random.Random, base: Path) -> Case:
    """A command that reads a file which another wrote, altered."""
    seed, how = chance.randrange(2**32), chance.choice(("forged", "forged", "damaged", "thing"))
    if chance.random() < 0.4:
        name = "policy.json"
        command = chance.choice(("plan", "launch"))
        arguments: tuple[str, ...] = (command, "s.yaml", "--inline")
    elif chance.random() < 0.7:
        name = "forecaster.json"
        arguments = chance.choice(
            (("forecast", "begun", "--predictor", name), ("twins", "s.yaml", "--predictor", name, "--inline"))
        )
    else:
        name = chance.choice(PATHS)
        arguments = chance.choice(
            (("forecast", "begun", "--from", name), ("twins", "s.yaml", "--from", name, "--inline"))
        )
        how = "path"
    make = partial(_make, base=base, name=name, how=how, seed=seed)
    return Case(
        f"file that is learned from: {how}",
        arguments,
        make,
        names=(name, "s.yaml", "begun") if name.isprintable() else (),
    )


def _make(work: Path, base: Path, name: str, how: str, seed: int) -> None:
    chance = random.Random(seed)
    put_things(work)
    copied(base / "begun", work, "begun")
    text = TINY if name != "policy.json" else TINY + f"stopping: {{name: forecast, policy: {name}}}\n"
    (work / "s.yaml").write_text(text)
    for each in ("policy.json", "forecaster.json"):
        shutil.copy(base / each, work / each)
    path = work / name
    if how == "forged":
        body: Any = unseal(path.read_bytes(), path)
        path.write_bytes(sealed(mutated(body, chance, chance.choice((1, 1, 3)))))
    elif how == "damaged":
        content = bytearray(path.read_bytes())
        content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
        path.write_bytes(
            bytes(content) if chance.random() < 0.7 else repr(json_value(chance)).encode("utf-8", "replace")
        )
    elif how == "thing":
        path.unlink()
        chance.choice(tuple(THINGS.values()))(path)
