"""The sweeps that the runs of a sweep were forked from."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pipeline.store.formats.sealed import NewerFormatError
from pipeline.store.pack_store import StoreError
from pipeline.store.sweep_store import SweepStore


def plans_of_parents(stores: Iterable[SweepStore]) -> list[dict[str, Any]]:
    """The plans of the sweeps that these were forked from, and of theirs in turn, each once.

    Those that are not there, or cannot be read, are left out.
    """
    found, seen, waiting = list[dict[str, Any]](), set[str](), list(stores)
    while waiting:
        fork = waiting.pop().sweep["spec"].get("fork")
        if not isinstance(fork, Mapping) or not isinstance(fork.get("sweep"), str):
            continue
        parents = SweepStore(Path(fork["sweep"]))
        try:
            place = os.path.realpath(parents.folder)
            if place not in seen:
                seen.add(place)
                found.append(parents.plan)
                waiting.append(parents)
        except (StoreError, NewerFormatError, OSError, ValueError):
            continue
    return found
