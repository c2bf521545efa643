"""What a launch says at its end: failures, the newest forecast, and the commands to go on."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from pipeline.counted import counted
from pipeline.launch.launched import Launched
from pipeline.store.failures import failed_runs, failure_lines
from pipeline.store.left_over import remove_left_over
from pipeline.store.progress import runs_left, unfinished
from pipeline.store.records.record import Record
from pipeline.store.stored_forecast import orders_of, read_forecast
from pipeline.store.sweep_store import SweepStore
from sweeps.command.exit_codes import COMPLETE, FAILED, INCOMPLETE
from sweeps.command.forecasts.newest_forecast import ForecastNow, how_to_forecast
from sweeps.command.terminal.clock import clock
from sweeps.command.terminal.wrapped import print_wrapped

_SHOWN_PACKS = 5


def conclude(
    store: SweepStore, launched: Launched, was_asked: bool, forecast_problem: str | None, wall_s: float, out: Console
) -> int:
    """Print how a launch ended and the commands to go on; returns its exit code."""
    for pack_id, reason in launched.failures.items():
        print_wrapped(out, f"pack {pack_id} failed: {reason}", style="red")
    for line in not_computed(launched, store.folder):
        print_wrapped(out, line, style="yellow")
    left, folder = unfinished(store), shlex.quote(str(store.folder))
    remove_left_over(store, set(store.pack_ids()).difference(left))
    if not left:
        code = tell_complete(store, f"complete in {clock(wall_s)}: {store.folder}", out)
        out.print(f"next: seedbed report {folder}")
        out.print(f"  or: seedbed watch {folder} (its page, live)")
        out.print(f"  or: seedbed analyse {folder} --scores")
        return code
    _print_failures(store, store.newest_records(), out)
    if forecast_problem is not None:
        print_wrapped(out, _forecast_sentence(store, forecast_problem))
    print_wrapped(out, f"incomplete: {counted(len(left), 'pack')} left; resume with: seedbed resume {folder}")
    return FAILED if launched.failures and not was_asked else INCOMPLETE


@contextmanager
def telling_if_complete(store: SweepStore, out: Console) -> Iterator[None]:
    """In this context an interruption says so where all runs have ended and only their summary is missing."""
    try:
        yield
    except KeyboardInterrupt:
        if not unfinished(store):
            folder = shlex.quote(str(store.folder))
            print_wrapped(out, f"the sweep is complete: {store.folder}; its summary: seedbed analyse {folder}")
        raise


def tell_complete(store: SweepStore, told: str, out: Console) -> int:
    """Print that a sweep is complete, as `told`, and which of its runs failed; the exit code that says the same."""
    records = store.newest_records()
    num_failed = len(failed_runs(records))
    _print_failures(store, records, out)
    out.print(f"{told}, but for {counted(num_failed, 'run')} that failed" if num_failed else told)
    return FAILED if num_failed else COMPLETE


def _print_failures(store: SweepStore, records: Mapping[str, Record], out: Console) -> None:
    for line in failure_lines(store, records):
        print_wrapped(out, line, style="yellow")


def conclude_damaged(store: SweepStore, launched: Launched, damaged: Mapping[str, str], out: Console) -> int:
    """The same of a launch that left damaged packs, by id, as they are: what reads all packs is not done."""
    for pack_id, reason in launched.failures.items():
        print_wrapped(out, f"pack {pack_id} failed: {reason}", style="red")
    for line in not_computed(launched, store.folder):
        print_wrapped(out, line, style="yellow")
    for pack_id, problem in damaged.items():
        print_wrapped(out, f"pack {pack_id} was left as it is: {problem}", style="red")
    print_wrapped(
        out, f"damaged: {counted(len(damaged), 'pack')}; repair with: seedbed repair {shlex.quote(str(store.folder))}"
    )
    return FAILED


def not_computed(launched: Launched, folder: Path) -> Iterator[str]:
    """The packs that no machine here can compute, by reason, what would help, and the machines that were idle."""
    by_reason: dict[str, list[str]] = {}
    for pack_id, reason in launched.elsewhere.items():
        by_reason.setdefault(reason, []).append(pack_id)
    for reason, pack_ids in by_reason.items():
        shown = ", ".join(pack_ids[:_SHOWN_PACKS]) + (", ..." if len(pack_ids) > _SHOWN_PACKS else "")
        yield f"not computed here: {counted(len(pack_ids), 'pack')} ({shown}), {reason}"
    if by_reason:
        yield f"on a machine that can compute them: seedbed resume {shlex.quote(str(folder))}"
    for host, reason in launched.idle.items():
        hint = (
            "; a new sweep can use it that names the smallest instruction set of all machines "
            "(resources.instruction_set)"
        )
        yield f"{host} could compute none of the packs, {reason}" + (
            hint if "planned for programs of" in reason else ""
        )


def _forecast_sentence(store: SweepStore, problem: str) -> str:
    """How many runs are not finished, and how many of them are expected to converge, or why that is not known."""
    records = store.newest_records()
    run_ids = runs_left(store.plan, records)
    now = ForecastNow.of(read_forecast(store), run_ids, orders_of(records))
    if now is None or (problem and now.num_commits):
        told = f"no forecast of them: {problem or 'too little is known'}"
    else:
        told = now.expectation()
    return f"{len(run_ids)} runs are not finished; {told}; each of them: {how_to_forecast(store.folder)}"
