"""Results folders: documents, records, tables and side files that were altered, with seals that fit and without."""

from __future__ import annotations

import hashlib
import io
import json
import os
import random
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.store.formats.sealed import DOCUMENT_FORMAT, seal, unseal
from pipeline.store.formats.tables import encode_table
from tests.fuzz.case import Case
from tests.fuzz.odd_values import THINGS, json_value, mutated

COMMANDS: tuple[tuple[str, ...], ...] = (
    ("status", "r"),
    ("status", "r", "--runs"),
    ("status", "r", "--json", "--runs"),
    ("verify", "r"),
    ("verify", "r", "--retrain", "1"),
    ("repair", "r", "--inline"),
    ("resume", "r", "--inline"),
    ("launch", "s.yaml", "--results", "r", "--inline"),
    ("plan", "s.yaml", "--results", "r", "--inline"),
    ("forecast", "r"),
    ("forecast", "done", "--from", "r"),
    ("fit", "r", "--out", "f.json"),
    ("policy", "r"),
    ("analyse", "r"),
    ("read", "r"),
    ("replay", "0", "--from", "0", "--to", "10", "--results", "r"),
    ("ceiling", "r", "--parents", "1", "--children", "2", "--inline"),
    ("look-ahead", "r", "--window", "0.5", "--inline"),
    ("report", "r"),
)
# Reports draw figures, which takes a second: one command in forty.
_WEIGHTS = [1 if command[0] in ("report", "ceiling", "look-ahead") else 5 for command in COMMANDS]


def copied(base: Path, work: Path, name: str = "r") -> Path:
    """A copy of a good results folder, in which this case's is to stand."""
    target = work / name
    shutil.copytree(base, target, symlinks=True)
    return target


def documents(folder: Path) -> list[Path]:
    """Everything sealed in a results folder."""
    return [path for path in sorted(folder.rglob("*.json")) if path.is_file()]


def sealed(body: Any) -> bytes:
    """A document whose seal fits, where a body can have one; else as much of one as can be written."""
    try:
        return seal(body)
    except (ValueError, TypeError, RecursionError):
        return json.dumps({"format": DOCUMENT_FORMAT, "sha256": "0" * 64, "body": repr(body)[:10_000]}).encode()


def forge(folder: Path, chance: random.Random) -> None:
    """Alter the body of one to three documents and seal them again; the copies likewise, half the time."""
    for path in chance.sample(documents(folder), 1 + (chance.random() < 0.2)):
        body = mutated(unseal(path.read_bytes(), path), chance, chance.choice((1, 1, 1, 3)))
        path.write_bytes(sealed(body))
        copy = folder / "copies" / path.name
        if copy.is_file() and chance.random() < 0.7:
            copy.write_bytes(sealed(body))


def raw(folder: Path, chance: random.Random) -> None:
    """Write a document that nobody sealed: other JSON, NaN, deep nesting, another format, text."""
    made = (
        lambda: json.dumps(json_value(chance, 3)).encode(),
        lambda: b'{"format": 2, "sha256": "x", "body": {"a": NaN}}',
        lambda: b"[" * 100_000,
        lambda: b'{"a":' * 2000 + b"1" + b"}" * 2000,
        lambda: b'{"body": ' + b"9" * 5000 + b"}",
        lambda: json.dumps({"format": json_value(chance, 0), "sha256": "x", "body": {}}).encode(),
        lambda: json.dumps({"format": 99, "sha256": "x", "body": json_value(chance)}).encode(),
        lambda: b"",
        lambda: chance.randbytes(1000),
        lambda: b"\xff\xfe{}",
        lambda: b'{"x": "' + b"y" * 2_000_000 + b'"}',
    )
    path = chance.choice(documents(folder))
    content = chance.choice(made)()
    path.write_bytes(content)
    copy = folder / "copies" / path.name
    if copy.is_file() and chance.random() < 0.7:
        copy.write_bytes(content)


def flip(folder: Path, chance: random.Random) -> None:
    """Flip bits of a file, cut it, or delete it."""
    for _ in range(chance.choice((1, 1, 3))):
        path = chance.choice([path for path in sorted(folder.rglob("*")) if path.is_file()] or [folder / "x"])
        content = bytearray(path.read_bytes()) if path.exists() else bytearray()
        how = chance.randrange(3)
        if how == 0 and path.exists():
            path.unlink()
        elif how == 1 or not content:
            path.write_bytes(bytes(content[: chance.randrange(len(content) + 1)]))
        else:
            content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
            path.write_bytes(bytes(content))


def replace(folder: Path, chance: random.Random) -> None:
    """Put another thing in the place of a file or folder: a pipe, a link, a device, one that cannot be read."""
    paths = sorted(folder.rglob("*"))
    path, make = chance.choice(paths), chance.choice(tuple(THINGS.values()))
    shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    make(path)


def foreign(folder: Path, chance: random.Random) -> None:
    """Put files there that seedbed did not write, under odd names and under names of its own."""
    names = (
        *("a b", "[red]", "\x1b[31m", "ümlaut", "x" * 200, ".x.tmp", "sweep.json.bak", "plan-x.json"),
        *("0009-000001.record.json", "attempt-0009", "attempt-x", "driver.lock", "stop"),
        *("forecast.json", "ceiling.json", "analysis.json"),
    )
    for _ in range(chance.choice((1, 5))):
        folders = [folder, *(path for path in sorted(folder.rglob("*")) if path.is_dir() and not path.is_symlink())]
        path = chance.choice(folders) / chance.choice(names)
        if not os.path.lexists(path):
            chance.choice(tuple(THINGS.values()))(path)


def closed(folder: Path, chance: random.Random) -> None:
    """Take permissions away from a file or folder."""
    for path in chance.sample([folder, *sorted(folder.rglob("*"))], 1 + (chance.random() < 0.3)):
        path.chmod(chance.choice((0, 0o200, 0o400, 0o500)))


def tables(folder: Path, chance: random.Random) -> None:
    """Alter a table and what names it, so that every checksum fits: other columns, types, rows, lengths, numbers."""
    named = [path for path in documents(folder) if path.name.endswith("record.json") or path.parent.name == "added"]
    path = chance.choice(named)
    body = unseal(path.read_bytes(), path)
    entries = [body] if "file" in body else [*body["history"], *(entry for entry, _ in body["snapshots"])]
    if body.get("checkpoint"):
        entries.append(body["checkpoint"])
    entry = chance.choice([entry for entry in entries if entry])
    key = "file" if "file" in entry else "name"
    file = path.parent / entry[key]
    content = encode_table(_altered(pq.read_table(io.BytesIO(file.read_bytes()), use_threads=False), chance))
    file.write_bytes(content)
    entry["sha256"] = hashlib.sha256(content).hexdigest()
    path.write_bytes(seal(body))


def _altered(table: pa.Table, chance: random.Random) -> pa.Table:
    how, column = chance.randrange(9), chance.randrange(max(table.num_columns, 1))
    number = table.num_rows
    if how == 0 and table.num_columns:
        return table.remove_column(column)
    if how == 1 and table.num_columns:
        return table.rename_columns([*table.column_names[:column], "[/x]", *table.column_names[column + 1 :]])
    if how == 2:
        return table.slice(0, 0)
    if how == 3:
        return pa.concat_tables([table, table])
    values: tuple[Any, ...] = (
        pa.array(["x"] * number),
        pa.array([None] * number),
        pa.array([2**62] * number),
        pa.array([-1] * number),
        pa.array([float("nan")] * number),
        pa.array([b"x"] * number),
        pa.array([[1, -5]] * number, pa.list_(pa.int64())),
        pa.array(["object"] * number),
        pa.array(np.full(number, 2**40)),
    )
    if how < 8 and table.num_columns:
        return table.set_column(column, table.column_names[column], chance.choice(values))
    return table.append_column(chance.choice(("step", "extra", "\x1b[31m", "")), chance.choice(values))


def emptied(folder: Path, chance: random.Random) -> None:
    """Leave nothing, or one part of it."""
    for path in sorted(folder.iterdir()):
        if chance.random() < 0.6:
            shutil.rmtree(path) if path.is_dir() else path.unlink()


KINDS: dict[str, tuple[Callable[[Path, random.Random], None], int]] = {
    "forged": (forge, 8),
    "not sealed": (raw, 3),
    "tables": (tables, 4),
    "damaged": (flip, 4),
    "other things": (replace, 3),
    "foreign files": (foreign, 2),
    "permissions": (closed, 3),
    "parts": (emptied, 2),
}


def draw(chance: random.Random, base: Path) -> Case:
    """A command on an altered copy of `base`/done or `base`/begun."""
    kind = chance.choices(tuple(KINDS), [weight for _, weight in KINDS.values()])[0]
    state = chance.choice(("done", "begun"))
    arguments = chance.choices(COMMANDS, _WEIGHTS)[0]
    seed = chance.randrange(2**32)
    make = partial(_make, base=base, state=state, kind=kind, seed=seed, with_done="done" in arguments)
    return Case(f"results folder: {kind}", arguments, make, names=("r", "s.yaml"))


def _make(work: Path, base: Path, state: str, kind: str, seed: int, with_done: bool) -> None:
    shutil.copy(base / "s.yaml", work / "s.yaml")
    if with_done:
        copied(base / "done", work, "done")
    KINDS[kind][0](copied(base / state, work), random.Random(seed))
