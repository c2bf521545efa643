"""What every way to launch is given and gives back.

Launching only schedules. What is done is what the packs have committed, so a launch asks the store which packs are
left, and again afterwards whether any is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pipeline.store.progress import Progress

# Told a pack's id and its newest progress.
OnProgress = Callable[[str, Progress], None]


@dataclass(frozen=True)
class Launched:
    """`failures` maps pack_id to why it failed after all retries."""

    failures: Mapping[str, str]
