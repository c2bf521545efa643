"""`seedbed work`: one of any number of processes that train the packs of a planned results folder."""

from __future__ import annotations

import os
import shlex
from contextlib import suppress

from rich.console import Console

from pipeline.counted import counted
from pipeline.launch.launched import Launched
from pipeline.own_code.copies import work_from_copies
from pipeline.planning.own_data import refuse_missing_data
from pipeline.planning.packs import expand, stored_spec
from pipeline.store.driver_lock import DriverLock
from pipeline.store.pack_store import StoreError
from pipeline.store.sweep_store import SweepStore
from pipeline.tracking.driven import not_mirrored
from pipeline.workers.draining import LONGEST_DRAIN_S, Drain, draining
from pipeline.workers.lease import Lease
from pipeline.workers.work import Worked, Worker
from sweeps.command.exit_codes import COMPLETE, FAILED, INCOMPLETE
from sweeps.command.terminal.concluding import not_computed
from sweeps.command.terminal.wrapped import print_wrapped


def run_work(store: SweepStore, max_packs: int | None, waits: bool, out: Console) -> int:
    """Train packs that no other worker holds until none is left, or `max_packs` are done; returns the exit code.

    Raises StoreError where the folder holds no sweep, and while a launch trains it.
    """
    if not store.exists():
        raise StoreError(f"{store.files.address}: holds no sweep; `seedbed launch SPEC --plan-only` makes one")
    lease, drain = Lease(store), Drain()

    def too_late() -> None:
        lease.remove()
        _say(f"no commit within {LONGEST_DRAIN_S:g} s: leaving without one")

    def asked() -> None:
        _say(f"leaving: the pack commits, within {LONGEST_DRAIN_S:g} s (repeat to end at once)")

    def tell(pack_id: str, event: str, attempt: int) -> None:
        out.print(f"{lease.worker}: pack {pack_id} {event} (attempt {attempt})", markup=False, highlight=False)

    with draining(drain, asked, too_late, INCOMPLETE), DriverLock(store.folder, is_worker=True):
        if store.is_stopped():
            out.print(f"all workers were asked to stop: remove {store.files.address}/stop to go on", markup=False)
            return INCOMPLETE
        work_from_copies()
        spec = stored_spec(store)
        refuse_missing_data(spec.name, expand(spec))
        with lease:
            worked = Worker(store, lease, drain, max_packs, waits, tell).run()
    return _conclude(store, worked, drain.is_asked, out)


def _say(text: str) -> None:
    """Write a line to standard error, as a handler of signals may: what it interrupts may be printing, or importing."""
    with suppress(OSError):
        os.write(2, f"{text}\n".encode())


def _conclude(store: SweepStore, worked: Worked, was_asked: bool, out: Console) -> int:
    """Print how a worker ended; returns its exit code."""
    folder, num_left = shlex.quote(store.files.address), worked.num_packs - worked.num_finished
    for pack_id, reason in worked.failures.items():
        print_wrapped(out, f"pack {pack_id} failed: {reason}", style="red")
    for pack_id, problem in worked.damaged.items():
        print_wrapped(out, f"pack {pack_id} was left as it is: {problem}", style="red")
    for line in not_computed(Launched(worked.failures, worked.elsewhere), store.folder):
        print_wrapped(out, line, style="yellow")
    print_wrapped(out, f"packs: {len(worked.finished)} finished here, {len(worked.taken_over)} taken over by others")
    if not num_left:
        told = f", but for {counted(worked.num_failed_runs, 'run')} that failed" if worked.num_failed_runs else ""
        following = f"report {folder}" if store.is_local else f"fetch {folder} FOLDER"
        print_wrapped(out, f"complete: {store.files.address}{told}; next: seedbed {following}")
        if store.is_local and (missing := not_mirrored(store.folder)) is not None:
            print_wrapped(out, missing, style="yellow")
        return FAILED if worked.num_failed_runs else COMPLETE
    held = f", {worked.num_held} of them held by other workers" if worked.num_held else ""
    print_wrapped(out, f"incomplete: {counted(num_left, 'pack')} left{held}; go on with: seedbed work {folder}")
    if worked.damaged and store.is_local:
        print_wrapped(out, f"damaged: {counted(len(worked.damaged), 'pack')}; repair with: seedbed repair {folder}")
    return FAILED if worked.damaged or (worked.failures and not was_asked) else INCOMPLETE
