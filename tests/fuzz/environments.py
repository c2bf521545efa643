"""Environments: variables that are unset or odd, and standard streams that are closed or full."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

from tests.fuzz.case import Case
from tests.fuzz.results_folders import copied

VARIABLES: dict[str, tuple[str | None, ...]] = {
    "HOME": (None, "", "/nonexistent", "relative", "/proc", "\udcff"),
    "TMPDIR": (None, "/nonexistent", "", "relative"),
    "XDG_CACHE_HOME": (None, "", "/nonexistent/x", "relative", "/dev/null", "[/x]"),
    "LANG": (None, "C", "POSIX", "de_DE.ISO-8859-1", "x" * 300),
    "LC_ALL": (None, "C", "tr_TR.UTF-8", "nonsense"),
    "PYTHONIOENCODING": ("ascii", "latin-1"),
    "COLUMNS": ("1", "0", "80", "-5", "x", "99999999"),
    "LINES": ("0", "x"),
    "NO_COLOR": ("1", ""),
    "TERM": (None, "", "dumb", "xterm-256color", "unknown", "\x1b"),
    "TZ": ("", "Nowhere/Nothing", "UTC+99", ":/dev/null", "\udcff"),
    "PYTHONHASHSEED": ("0", "12345"),
    "PATH": (None, "", "/nonexistent"),
    "CXX": ("", "/bin/true", "/bin/false", "a b"),
    "SEEDBED_COMMIT_S": ("", "x", "-1", "nan", "inf", "1e400"),
    "OMP_NUM_THREADS": ("", "0", "-1", "x", "999999"),
    "WANDB_MODE": ("offline", "x"),
    "USER": (None, "\n"),
}
STREAMS = (("stdin", "closed"), ("stdout", "closed"), ("stdout", "full"), ("stderr", "closed"), ("stderr", "full"))
COMMANDS: tuple[tuple[str, ...], ...] = (
    ("list",),
    ("--help",),
    ("--version",),
    ("status", "r"),
    ("status", "r", "--runs"),
    ("status", "r", "--json"),
    ("status", "absent"),
    ("verify", "r"),
    ("plan", "absent.yaml"),
    ("plan", "s.yaml", "--inline"),
    ("launch", "s.yaml", "--results", "r", "--inline"),
    ("resume", "r", "--inline"),
    ("repair", "r", "--inline"),
    ("forecast", "r"),
    ("forecast", "r", "--json"),
    ("analyse", "r"),
    ("lunch",),
)


def altered(case: Case, chance: random.Random) -> Case:
    """The case in another environment, with one to four things changed."""
    changes: dict[str, str | None] = {}
    for name in chance.sample(tuple(VARIABLES), chance.choice((0, 1, 1, 2, 4))):
        changes[name] = chance.choice(VARIABLES[name])
    streams = dict(chance.sample(STREAMS, 1)) if not changes or chance.random() < 0.4 else {}
    return replace(case, environment=changes, **streams)


def draw(chance: random.Random, base: Path) -> Case:
    """A plain command in an odd environment."""

    def make(work: Path) -> None:
        (work / "s.yaml").write_bytes((base / "s.yaml").read_bytes())
        copied(base / state, work)

    state = chance.choice(("done", "begun"))
    return altered(Case("environment", chance.choice(COMMANDS), make), chance)
