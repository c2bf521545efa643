"""What a command computes from the installation alone, computed once for all forks: nothing of a results folder.

A launch takes half the time with it. Kept are the subcommands as typer declares them, versions of packages and of the
source tree, entry points, the model of the processor, and the hashes of source files. The forecast with which an
interrupted launch ends is left out: it is a process of its own, of seconds, and `seedbed forecast` meets faults too.
"""

from __future__ import annotations

import importlib.metadata
import json
from collections.abc import Callable, Collection
from functools import cache
from typing import Any

import lightning.fabric.utilities.registry as registry
import typer.main

import pipeline.launch.machine as machine
import pipeline.planning.open_sweep as open_sweep
import pipeline.store.pack_store as pack_store
import pipeline.training.open_pack as open_pack
import pipeline.training.origin as origin
import pipeline.training.sources as sources
import sweeps.command.forecasts.refreshing as refreshing
from sweeps.cli.__main__ import app


def keep_what_is_common() -> None:
    """From now on, forks of this process find what their commands would otherwise compute again."""
    command = typer.main.get_command(app)
    typer.main.get_command = lambda _: command
    # Lightning asks for them at every trainer.
    registry.entry_points = cache(importlib.metadata.entry_points)
    machine.version = cache(importlib.metadata.version)
    open_sweep._version = cache(open_sweep._version)
    open_sweep._git_commit = cache(open_sweep._git_commit)
    refreshing.ForecastRefresher.finish = lambda refresher, timeout_s: "none is made here"
    pack_store.decode_table = _by_content(pack_store.decode_table)
    open_pack.source_hashes = origin.source_hashes = _by_identity(sources.source_hashes)


def _by_content(decode_table: Callable[..., Any]) -> Callable[..., Any]:
    """Tables that were decoded before from the same bytes, which have been read from the disk and checked again."""
    known: dict[Any, Any] = {}

    def found(content: bytes, path: Any, columns: Collection[str] | None = None) -> Any:
        key = content, None if columns is None else frozenset(columns)
        if key not in known:
            known[key] = decode_table(content, path, columns)
        return known[key]

    return found


def _by_identity(source_hashes: Callable[..., dict[str, str]]) -> Callable[..., dict[str, str]]:
    """The hashes of a sweep's sources, read from the disk once for each spec."""
    known: dict[str, dict[str, str]] = {}

    def found(spec: Any, configs: Any) -> dict[str, str]:
        key = json.dumps(spec.identity(), sort_keys=True)
        if key not in known:
            known[key] = source_hashes(spec, configs)
        return known[key]

    return found
