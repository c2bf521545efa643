"""One input of the command: its arguments, environment and files, and what it may write."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

Make = Callable[[Path], None]


def _nothing(work: Path) -> None:
    """No file at all."""


@dataclass(frozen=True)
class Case:
    """`seedbed ARGUMENTS` in a folder that `make` fills, after all arguments are known.

    `kind` is what it is counted as. A refusal must contain one of `names`, if there are any. Standard streams are
    "null" or "file", "closed", or "full". `is_training`: the input may be good, and its command trains, or times
    blocks for a plan, which takes as long as it takes: it has answered once it has printed something.
    """

    kind: str
    arguments: tuple[str, ...]
    make: Make = _nothing
    environment: Mapping[str, str | None] = field(default_factory=dict)
    names: tuple[str, ...] = ()
    stdin: str = "null"
    stdout: str = "file"
    stderr: str = "file"

    @property
    def is_training(self) -> bool:
        """Whether its command trains where the input is good."""
        return any(name in self.arguments[:1] for name in _TRAINING) or "--retrain" in self.arguments

    @property
    def is_long(self) -> bool:
        """Whether its command takes as long as it takes where the input is good: training, drawing, or watching."""
        return self.is_training or self.arguments[:1] == ("report",) or self.is_watching

    @property
    def is_watching(self) -> bool:
        """Whether its command goes on until it is interrupted."""
        return self.arguments[:1] == ("watch",) or not {"--watch", "--follow"}.isdisjoint(self.arguments)

    @property
    def reads_only(self) -> bool:
        """Whether its command writes nothing to any results folder."""
        is_replay = "--retrain" in self.arguments
        return not is_replay and any(name in self.arguments[:1] for name in ("list", "plan", "status", "verify"))


_TRAINING = (
    "plan",
    "launch",
    "resume",
    "repair",
    "replay",
    "reproduce",
    "benchmark",
    "ceiling",
    "look-ahead",
    "twins",
)
# What gives cases: of a source of chance.
Draw = Callable[[random.Random], Case]
