"""Command lines: every subcommand with good, odd, missing and surplus arguments."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

from tests.fuzz.case import Case
from tests.fuzz.odd_values import ARGUMENTS, PATHS, put_things

# subcommand -> what its arguments are, and its options with theirs ("" for a flag). `inline` comes first: without it
# a command would start a cluster.
INLINE = ("--inline", "")
COMMANDS: dict[str, tuple[tuple[str, ...], tuple[tuple[str, str], ...]]] = {
    "list": (("text",), ()),
    "new": (("kind", "text"), (("--folder", "new"), ("--task", "text"))),
    "check": (("spec",), ()),
    "plan": (("spec", "override"), (INLINE, ("--results", "new"), ("--address", "text"), ("--smoke", ""))),
    "launch": (
        ("spec", "override"),
        (
            INLINE,
            ("--results", "new"),
            ("--address", "text"),
            ("--smoke", ""),
            ("--accept-changed-code", ""),
            ("--scores", ""),
            ("--plan-only", ""),
        ),
    ),
    "work": (("folder",), (("--packs", "number"), ("--wait", ""))),
    "fetch": (("folder", "new"), ()),
    "resume": (("folder",), (INLINE, ("--address", "text"), ("--accept-changed-code", ""), ("--retry-failed", ""))),
    "status": (("folder",), (("--runs", ""), ("--json", ""), ("--watch", ""))),
    "verify": (("folder",), (("--retrain", "number"), ("--seed", "number"))),
    "repair": (("folder",), (INLINE, ("--spec", "spec"), ("--address", "text"))),
    "replay": (
        ("run",),
        (
            ("--from", "number"),
            ("--to", "number"),
            ("--every", "number"),
            ("--probe", "text"),
            ("--weights", ""),
            ("--results", "folder"),
        ),
    ),
    "checkpoint": (("run",), (("--step", "number"), ("--out", "new"), ("--results", "folder"))),
    "reproduce": (("text",), (INLINE, ("--profile", "text"), ("--results", "new"), ("--sweeps", "text"))),
    "analyse": (
        ("folder", "folder"),
        (("--budget", "number"), ("--criterion", "text"), ("--out", "new"), ("--scores", "")),
    ),
    "analyze": (("folder",), (("--budget", "number"), ("--criterion", "text"), ("--out", "new"), ("--scores", ""))),
    "compare": (
        ("folder", "folder"),
        (
            ("--arms", "override"),
            ("--where", "override"),
            ("--metric", "text"),
            ("--effect", "override"),
            ("--criterion", "text"),
            ("--budget", "number"),
            ("--json", ""),
        ),
    ),
    "search": (
        ("spec", "override"),
        (INLINE, ("--results", "new"), ("--address", "text"), ("--accept-changed-code", ""), ("--json", "")),
    ),
    "watch": (("folder", "folder"), (("--port", "number"), ("--criterion", "text"), ("--budget", "number"))),
    "export": (
        ("folder",),
        (("--parquet", ""), ("--criterion", "text"), ("--csv", ""), ("--zarr", ""), ("--out", "new")),
    ),
    "mirror": (("folder",), (("--follow", ""),)),
    "dashboard": (("folder",), (("--out", "new"),)),
    "report": (("folder", "folder"), (("--budget", "number"), ("--criterion", "text"), ("--out", "new"))),
    "read": (("folder",), (("--readings", "text"),)),
    "forecast": (
        ("folder",),
        (
            ("--from", "folder"),
            ("--predictor", "predictor"),
            ("--any-task", ""),
            ("--criterion", "text"),
            ("--budget", "number"),
            ("--json", ""),
            ("--watch", "number"),
        ),
    ),
    "fit": (
        ("folder", "folder"),
        (("--out", "new"), ("--criterion", "text"), ("--metrics", "text"), ("--budget", "number")),
    ),
    "policy": (
        ("folder", "folder"),
        (
            ("--windows", "shares"),
            ("--lose-at-most", "number"),
            ("--expect-at-most", "number"),
            ("--point-estimate", ""),
            ("--ahead-steps", "number"),
            ("--out", "new"),
            ("--budget", "number"),
            ("--json", ""),
        ),
    ),
    "benchmark": (("text",), (INLINE, ("--results", "new"), ("--predictor", "predictor"), ("--json", ""))),
    "ceiling": (
        ("folder",),
        (
            INLINE,
            ("--parents", "number"),
            ("--children", "number"),
            ("--windows", "shares"),
            ("--budget", "number"),
            ("--seed", "number"),
            ("--results", "new"),
            ("--address", "text"),
            ("--json", ""),
        ),
    ),
    "look-ahead": (
        ("folder",),
        (
            INLINE,
            ("--window", "shares"),
            ("--budget", "number"),
            ("--cost", "number"),
            ("--rate", "number"),
            ("--batch", "number"),
            ("--data-seed", "number"),
            ("--readings", "text"),
            ("--results", "new"),
            ("--address", "text"),
        ),
    ),
    "twins": (
        ("spec", "override"),
        (
            INLINE,
            ("--budget", "number"),
            ("--cost", "number"),
            ("--rate", "number"),
            ("--batch", "number"),
            ("--data-seed", "number"),
            ("--readings", "text"),
            ("--from", "folder"),
            ("--predictor", "predictor"),
            ("--results", "new"),
            ("--address", "text"),
            ("--json", ""),
        ),
    ),
}
GOOD = {
    "number": ("0", "1", "2", "10", "20", "0.5"),
    "shares": ("0", "0.5", "0.25,0.5"),
    "text": ("circuits", "label_loss", "huang_2024", "auto", "fast"),
    "override": ("budget=20", "optimiser.lr=1e-3", "seeds.together=[0]"),
    "run": ("0", "a", "3fa2"),
    "kind": ("task", "model", "statistic", "sweep"),
    "spec": ("s.yaml",),
    "new": ("new", "new/below", "results/x"),
    "folder": ("done", "begun"),
    "predictor": ("forecaster.json", "policy.json"),
}
IS_PATH = ("spec", "new", "folder", "predictor")
SURPLUS = ("--unknown", "-x", "--help", "--version", "--json=1", "--seed", "--", "extra", "\udcff", "--res", "-h")


def argument(kind: str, chance: random.Random, odd: float) -> str:
    """A value for an argument of this kind; with the chance `odd`, an odd one."""
    if chance.random() >= odd:
        return chance.choice(GOOD[kind])
    if kind == "override" and chance.random() < 0.7:
        field = chance.choice(("budget", "seeds", "model.width", "vary", "optimiser", "a.b", "", "resources.slots"))
        return f"{field}={chance.choice(ARGUMENTS)}"
    return chance.choice(PATHS if kind in IS_PATH else ARGUMENTS)


def command_line(name: str, chance: random.Random, odd: float) -> tuple[str, ...]:
    """A command line of the subcommand, each part of it odd with this chance."""
    given, options = COMMANDS[name]
    line = [name]
    for kind in given:
        if chance.random() >= odd / 2:
            line.append(argument(kind, chance, odd))
    for option, kind in options:
        if option == "--inline" or chance.random() < 0.3:
            line += [option, *([argument(kind, chance, odd)] if kind and chance.random() >= odd / 4 else [])]
    if chance.random() < odd / 2:
        line.insert(chance.randrange(1, len(line) + 1), chance.choice(SURPLUS))
    return tuple(line)


def draw(chance: random.Random, good: Callable[[Path, tuple[str, ...]], None]) -> Case:
    """A command line beside which all kinds of things stand; `good` puts good files there, by their names."""
    name = chance.choice(tuple(COMMANDS))
    line = command_line(name, chance, chance.choice((0.15, 0.4, 0.8)))
    if chance.random() < 0.06:
        line = (chance.choice((*ARGUMENTS, "lunch", "stat", "Plan", "--help", "--version")), *line[1:])

    def make(work: Path) -> None:
        put_things(work)
        good(work, line)

    return Case(f"command line: {name}", line, make)
