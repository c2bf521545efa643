"""Sweep files: the real ones with places deleted, doubled and retyped, and texts that are no sweep file at all."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import yaml

from pipeline.spec.yaml_source import read_text
from sweeps.command.shipped import shipped_sweeps
from tests.fuzz.case import Case
from tests.fuzz.odd_values import mutated

ROOT = Path(__file__).resolve().parents[2]
TINY = """\
name: tiny
task: {name: dictionary_lookup, num_keys: 4, num_values: 4, num_pairs: 2}
model: {name: attention_only, width: 8, head_width: 2}
optimiser: {name: adamw, lr: 3e-3, clip: 1.0}
batch_size: 8
budget: 20
vary:
  - model.head_width: [2, 4]
seeds: {together: [0, 1]}
grid: {chunk: 10, eval_items: 8, probe_items: 8}
converged: {metric: label_loss, at_most: 1.7}
snapshots: {states: [0, 10]}
resources: {engine: torch, slots: 2}
tracking: {mode: disabled}
readings: []
"""
# Forks of the finished sweep that every case can read.
FORKING = """\
name: forked
fork:
  sweep: done
  steps: [0, 10]
  data_seed: {fresh: 2}
  changes: {optimiser.lr: {times: 2}}
  alternatives: [{}, {weights: {layer0.query: 0123456789abcdef}}]
budget: 20
grid: {chunk: 10, eval_items: 8, probe_items: 8}
resources: {engine: torch, slots: 2}
tracking: {mode: disabled}
"""
WORDS = (
    *("\t", "\n", "  ", ": ", "- ", "{", "}", "[", "]", "#", "'", '"', "@", "`", "? ", "|\n", "---\n", "...\n"),
    *("&a ", "*a", "<<: *a", "!!python/object/apply:os.system ", "%YAML 9.9\n"),
    *("\ufeff", "\x00", "\x1b[2J", "\x85", "\u2028", "\u202e"),
    *("0x10", "1e-3", ".nan", "1_000", "12:30:00", "yes", "2026-01-01"),
)


@cache
def texts() -> tuple[str, ...]:
    """The sweep files that come with seedbed, the smallest of the tests most often, and one of forks."""
    real = tuple(path.read_text(encoding="utf-8") for path in shipped_sweeps())
    return (TINY,) * len(real) + (FORKING,) * 3 + real


def _data(chance: random.Random) -> Any:
    return read_text(chance.choice(texts())).data


def _other_values(chance: random.Random) -> bytes:
    data = mutated(_data(chance), chance, chance.choice((1, 1, 1, 2, 4)))
    return yaml.safe_dump(data, sort_keys=False, allow_unicode=chance.random() < 0.5).encode("utf-8", "surrogatepass")


def _other_text(chance: random.Random) -> bytes:
    text = chance.choice(texts())
    for _ in range(chance.choice((1, 2, 5))):
        place, cut = chance.randrange(len(text) + 1), chance.choice((0, 0, 1, 5, 40))
        text = text[:place] + chance.choice(WORDS) + text[place + cut :]
    return text.encode("utf-8", "surrogatepass")


def _lines_moved(chance: random.Random) -> bytes:
    lines = chance.choice(texts()).split("\n")
    for _ in range(chance.choice((1, 2))):
        line = chance.choice(lines)
        how = chance.randrange(4)
        if how == 0:
            lines.remove(line)
        elif how == 1:
            lines.insert(chance.randrange(len(lines)), line)
        elif how == 2:
            lines[lines.index(line)] = chance.choice((" ", "\t", "    ")) + line
        else:
            lines[lines.index(line)] = line.replace(":", chance.choice((" :", "", ": :", "::")), 1)
        lines = lines or [""]
    return "\n".join(lines).encode()


def _other_bytes(chance: random.Random) -> bytes:
    content = bytearray(chance.choice(texts()).encode())
    for _ in range(chance.choice((1, 3, 20))):
        content[chance.randrange(len(content))] = chance.randrange(256)
    return bytes(content)


def _explosion(chance: random.Random) -> bytes:
    """Small texts that stand for much: many seeds, factors that multiply, alias bombs, deep nesting, long values."""
    many = chance.choice((10**5, 10**6, 10**9, 2**62))
    made = (
        TINY.replace("together: [0, 1]", f"together: {{range: [0, {many}]}}"),
        TINY.replace("together: [0, 1]", f"init: {{range: [0, {many}]}}, data: {{range: [0, {many}]}}"),
        TINY.replace("[2, 4]", f"{{range: [1, {many}]}}"),
        TINY.replace("- model.head_width: [2, 4]", f"- optimiser.lr: {{range: [0.001, 1], num: {min(many, 10**9)}}}"),
        TINY.replace(
            "- model.head_width: [2, 4]",
            "\n".join(f"  - optimiser.{name}: {list(range(1, 80))}" for name in ("lr", "clip", "beta1", "beta2"))[2:],
        ),
        TINY.replace("budget: 20", f"budget: {many}"),
        TINY.replace("budget: 20", f"budget: {many}\nwindows: {[n / 2000 for n in range(2000)]}"),
        TINY.replace("width: 8", f"width: {many}").replace("[2, 4]", "[2, 2]"),
        TINY.replace("batch_size: 8", f"batch_size: {chance.choice((2**20, 2**30, 2**31, 2**40))}"),
        TINY.replace("eval_items: 8", f"eval_items: {chance.choice((10**6, 10**9, 2**31 - 1))}"),
        TINY.replace("num_keys: 4", f"num_keys: {chance.choice((10**4, 10**6, 10**9))}"),
        TINY.replace("num_pairs: 2", f"num_pairs: {chance.choice((10**4, 10**6, 10**9))}"),
        TINY.replace("slots: 2", f"slots: {chance.choice((10**3, 10**6, 10**9))}"),
        "a: &a [x, x]\n" + "".join(f"b{n}: &b{n} [*a, *a, *a]\n" for n in range(60)),
        "[" * chance.choice((100, 10_000)),
        "{a: " * chance.choice((100, 10_000)),
        TINY + "x: " + "9" * chance.choice((400, 10**5)),
        TINY + f"description: {'x' * 1_000_000}\n",
        TINY + "# " + "x" * chance.choice((10**6, 10**7)) + "\n",
        "".join(f"k{n}: {n}\n" for n in range(60_000)),
        TINY + "a: 1\n" * 100_000,
    )
    return chance.choice(made).encode()


def _other_encoding(chance: random.Random) -> bytes:
    text = chance.choice(texts())
    made = (
        text.encode("utf-16"),
        text.encode("utf-32"),
        b"\xef\xbb\xbf" + text.encode(),
        text.replace("\n", "\r\n").encode(),
        text.replace("\n", "\r").encode(),
        text.replace("  ", "\t").encode(),
        text.encode()[: chance.randrange(len(text))],
        b"",
        b"\0" * chance.choice((1, 1000)),
        chance.randbytes(chance.choice((10, 1000))),
        b"PK\x03\x04" + text.encode(),
        chance.randbytes(10**7) if chance.random() < 0.2 else b"\x1f\x8b",
    )
    return chance.choice(made)


KINDS: dict[str, tuple[Callable[[random.Random], bytes], int]] = {
    "values": (_other_values, 10),
    "text": (_other_text, 5),
    "lines": (_lines_moved, 3),
    "bytes": (_other_bytes, 2),
    "sizes": (_explosion, 3),
    "encoding": (_other_encoding, 2),
}


def draw(chance: random.Random) -> Case:
    """`seedbed plan` or, rarely, `launch` or `twins`, of such a file."""
    kind = chance.choices(tuple(KINDS), [weight for _, weight in KINDS.values()])[0]
    content = KINDS[kind][0](chance)
    command = chance.choice(("plan",) * 6 + ("launch", "twins"))
    arguments = (command, "s.yaml", "--inline", *(("--smoke",) if chance.random() < 0.1 and command != "twins" else ()))
    return Case(
        f"sweep file: {kind}", arguments, partial(_write, content=content), names=("s.yaml", "results/", "tiny")
    )


def _write(work: Path, content: bytes) -> None:
    (work / "s.yaml").write_bytes(content)
