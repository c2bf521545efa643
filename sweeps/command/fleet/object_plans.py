"""Sweeps that are planned from here for workers on an object store."""

from __future__ import annotations

import tempfile
from pathlib import Path

from rich.console import Console

from pipeline.launch.machine import machine_of
from pipeline.launch.planned import plan_for
from pipeline.planning.open_sweep import keep_copies, open_results
from pipeline.store.backends.local_copy import publish, sweep_document, sweep_on_objects
from pipeline.store.driver_lock import DriverLock
from pipeline.store.pack_store import StoreError
from pipeline.training.origin import launch_note
from sweeps.command.exit_codes import COMPLETE
from sweeps.command.planning import describe, tell_planned
from sweeps.command.request import Request
from sweeps.command.terminal.phases import phases


def plan_to_objects(request: Request, url: str, out: Console) -> int:
    """Plan the requested sweep in a temporary folder and publish it at a URL; returns the exit code of the command."""
    spec = request.spec()
    source = request.file.read_text(encoding="utf-8")
    if spec.fork is not None:
        raise StoreError(f"{url}: forks are trained beside their parents, in a folder that all workers share")
    before = sweep_document(url)
    with tempfile.TemporaryDirectory(prefix="seedbed-objects-") as temporary, phases(out) as phase:
        folder = Path(temporary)
        if before is not None:
            phase("reading what is there")
            sweep_on_objects(url, folder)
        plan = plan_for(spec, folder, machine_of(spec.resources, None, is_inline=True), phase)
        with DriverLock(folder):
            note = launch_note(spec, plan.runs.values(), request.how.accepts_changed_code)
            store = open_results(plan, folder, source, note)
            keep_copies(store, spec)
        phase("writing the plan")
        publish(folder, url, before)
    describe(plan, url, out)
    tell_planned(len(plan.packs), url, out)
    return COMPLETE
