"""`seedbed verify` and `seedbed repair`: what is damaged in a results folder, and computing it again to the bit."""

from __future__ import annotations

import os
import random
from pathlib import Path

from rich.console import Console

from pipeline.counted import counted
from pipeline.planning.packs import stored_spec
from pipeline.spec.sweep import SweepSpec
from pipeline.store.damage import damages, documents, lost_document, set_aside
from pipeline.store.driver_lock import DriverLock
from pipeline.store.left_over import remove_left_over
from pipeline.store.pack_store import StoreError
from pipeline.store.sweep_store import SweepStore
from pipeline.training.abilities import NotHereError
from pipeline.training.replay import ReplayError, replay
from sweeps.command.exit_codes import COMPLETE, FAILED, INCOMPLETE
from sweeps.command.how import How
from sweeps.command.launching import run_resume, train_spec
from sweeps.command.request import Request

# What is left of a results folder whose documents are lost.
_PARTS = ("sweep.json", "copies", "packs")


def run_verify(store: SweepStore, num_retrained: int, seed: int, out: Console) -> int:
    """Check every checksum, and train some finished runs again; prints what differs, and returns the exit code.

    Raises StoreError where the folder holds no sweep.
    """
    if not store.exists():
        raise StoreError(f"{store.folder}: holds no sweep; `seedbed launch SPEC` makes one")
    found = damages(store)
    for damage in found:
        out.print(damage.problem, style="red")
    if any(damage.is_blocking for damage in found):
        out.print(f"damaged: {len(found)} places; `seedbed repair {store.folder}` computes them again")
        return FAILED
    wrong, elsewhere = _retrained(store, num_retrained, seed, out)
    out.print("every checksum fits" if not found else f"{len(found)} places are damaged, and nothing is lost by it")
    return FAILED if found or wrong else INCOMPLETE if elsewhere else COMPLETE


def _retrained(store: SweepStore, number: int, seed: int, out: Console) -> tuple[int, int]:
    """Train `number` finished runs again from their start; how many differ from their record, or are not for here."""
    starts = {row["run_id"]: row.get("fork_step", 0) for row in store.plan["runs"]}
    ends = {run_id: end for record in store.newest_records().values() for run_id, end in record.ends.items()}
    chosen = random.Random(seed).sample(sorted(ends), min(number, len(ends)))
    chunk, num_hashes, num_values, num_wrong = stored_spec(store).grid.chunk, 0, 0, 0
    elsewhere: list[str] = []
    for run_id in chosen:
        try:
            again = replay(store, run_id, starts[run_id], ends[run_id].step, chunk, (), False)
        except ReplayError as error:
            out.print(str(error), style="red")
            num_wrong += 1
            continue
        except NotHereError as error:
            elsewhere.append(error.reason)
            continue
        num_hashes, num_values = num_hashes + again.num_hashes, num_values + again.num_values
    if chosen:
        equal = f"{num_hashes} states and weights and {num_values} numbers equal to the bit"
        out.print(f"trained again: {counted(len(chosen) - len(elsewhere), 'run')}, {num_wrong} differ; {equal}")
    for reason in dict.fromkeys(elsewhere):
        out.print(f"not trained again here: {counted(elsewhere.count(reason), 'run')}, {reason}", markup=False)
    return num_wrong, len(elsewhere)


def run_repair(store: SweepStore, spec: Path | None, how: How, out: Console) -> int:
    """Set aside what is damaged and compute it again; returns the exit code of the launch that does so.

    Raises StoreError where the sweep document and its copy are lost and `spec`, its sweep file, is not given.
    """
    if not store.folder.is_dir():
        raise StoreError(f"{store.folder}: there is no such folder")
    # A lock is left in what is repaired: not in any folder.
    if not store.exists() and not any(os.path.lexists(store.folder / part) for part in _PARTS):
        raise StoreError(f"{store.folder}: holds no sweep and no part of one; `seedbed launch SPEC` makes one")
    with DriverLock(store.folder):
        # What a killed process was writing is no part of what is damaged.
        remove_left_over(store, ())
        found, lost = damages(store), lost_document(store)
        stored = None if lost is None else _spec_of(store, spec)
        if stored is not None:
            found += [document for document in documents(store) if document.path not in {d.path for d in found}]
        for damage in found:
            out.print(damage.problem)
        for path in set_aside(store, found):
            out.print(f"set aside: {path}")
    if stored is not None:
        return train_spec(*stored, how, out)
    return run_resume(store, how, out)


def _spec_of(store: SweepStore, path: Path | None) -> tuple[SweepSpec, Path, str]:
    """What a sweep is to be planned from again: its spec, its folder, and the spec as it was given."""
    try:
        return stored_spec(store), store.folder, store.sweep["source"]
    except StoreError as error:
        if path is None:
            raise StoreError(f"{error}: give the sweep file, with --spec FILE") from None
        request = Request(path, results=store.folder)
        return request.spec(), store.folder, path.read_text(encoding="utf-8")
