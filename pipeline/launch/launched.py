"""Types shared by the launchers: the progress callback and the result of a launch.

A launcher only schedules. Progress is what the packs have committed, so the unfinished packs are read from the store
before a launch and again after it.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from pipeline.store.progress import Progress

# Signals that announce an end and may come more than once: of a terminal, of a Slurm job, of CPU time.
NOTICES = (signal.SIGHUP, signal.SIGUSR1, signal.SIGXCPU)
# Of a pack that failed, except in ways that would fail again.
MOST_RETRIES = 2


@dataclass(frozen=True)
class Failed:
    """A pack has failed after all retries, for this reason."""

    reason: str


# Called with a pack's id and its newest progress, or that it has failed.
OnProgress = Callable[[str, Progress | Failed], None]


@dataclass(frozen=True)
class Launched:
    """Result of a launch. `failures` maps pack_id to the reason of its failure after all retries.

    `elsewhere` maps the packs that no machine here can compute to what they need and what is here, as a clause; these
    are no failures. `idle` names the machines of a cluster that can compute none of the packs, with the reason.
    """

    failures: Mapping[str, str]
    elsewhere: Mapping[str, str] = field(default_factory=dict)
    idle: Mapping[str, str] = field(default_factory=dict)
