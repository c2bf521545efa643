"""Tells what did not go as planned: runs that failed, and packs with fewer slots than planned."""

from __future__ import annotations

import shlex
from collections.abc import Mapping

from rich.console import Console

from pipeline.store.failures import failed_runs, failure_lines, slots_lines
from pipeline.store.pack_store import Record
from pipeline.store.sweep_store import SweepStore
from sweeps.command.exit_codes import COMPLETE, FAILED


def tell_failures(store: SweepStore, records: Mapping[str, Record], out: Console) -> int:
    """Print which runs failed, how to try them again, and which packs ran out of memory; how many runs failed."""
    failed = failed_runs(records)
    for line in failure_lines(failed):
        out.print(line, style="red", markup=False, highlight=False)
    if failed:
        out.print(f"they count as censored; try them again with: {how_to_retry(store)}", highlight=False)
    for line in slots_lines(store, records):
        out.print(line, style="yellow", highlight=False)
    return len(failed)


def tell_complete(store: SweepStore, told: str, out: Console) -> int:
    """Print that a sweep is complete, as `told`, and which of its runs failed; the exit code that says the same."""
    num_failed = tell_failures(store, store.newest_records(), out)
    out.print(f"{told}{f', but for {num_failed} runs that failed' if num_failed else ''}")
    return FAILED if num_failed else COMPLETE


def how_to_retry(store: SweepStore) -> str:
    """The command that lets failed runs go on."""
    return f"seedbed resume {shlex.quote(str(store.folder))} --retry-failed"
