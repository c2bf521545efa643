"""`seedbed launch` and `seedbed resume`: plan, open the results folder, train, report."""

from __future__ import annotations

import math
import shlex
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from pipeline.launch.inline import launch_inline
from pipeline.launch.launched import Launched
from pipeline.launch.machine import machine_of
from pipeline.launch.planned import plan_for
from pipeline.launch.ray import launch_ray
from pipeline.numerics.kernels import compiled_kernels
from pipeline.planning.open_sweep import open_results, provenance
from pipeline.planning.packs import expand, stored_spec
from pipeline.spec.sweep import SweepSpec
from pipeline.store.files import make_folder
from pipeline.store.progress import Progress, progress_by_pack, runs_left, summed, unfinished
from pipeline.store.stored_forecast import orders_of, read_forecast
from pipeline.store.sweep_store import DriverLock, SweepStore
from pipeline.tracking.mirror import start_mirror, sync_hint
from pipeline.training.origin import launch_note, refuse_changed_code
from pipeline.training.sources import sources_digest
from sweeps.command.display import Display, clock
from sweeps.command.exit_codes import COMPLETE, FAILED, INCOMPLETE
from sweeps.command.forecasts.newest_forecast import ForecastNow, how_to_forecast
from sweeps.command.forecasts.refreshing import ForecastRefresher
from sweeps.command.how import How
from sweeps.command.leaving import leaving
from sweeps.command.planning import describe
from sweeps.command.request import Request

# Between two forecasts while training, at least; and the longest that the end of a launch waits for the last one.
_FORECAST_INTERVAL_S, _FORECAST_S = 300.0, 20.0
_SHOWN_PACKS = 5


def run_launch(request: Request, out: Console) -> int:
    """Train the unfinished runs of the requested sweep; returns the exit code of the command."""
    spec = request.spec()
    source = request.path.read_text(encoding="utf-8")
    return train_spec(spec, request.folder(spec), source, request.how, out)


def train_spec(spec: SweepSpec, folder: Path, source: str, how: How, out: Console) -> int:
    """Train the unfinished runs of `spec`, given as `source`, in `folder`; returns the exit code of the command."""
    with opened_spec(spec, folder, source, how, out) as store:
        return drive(store, spec, how, out)


@contextmanager
def opened_spec(spec: SweepSpec, folder: Path, source: str, how: How, out: Console) -> Iterator[SweepStore]:
    """In this context `folder` is opened for `spec`, given as `source`, planned for this machine, and locked."""
    # Planned without the lock, which creates a file: a folder that cannot be used stays unchanged. Opening it under
    # the lock refuses a plan that another launch has made stale.
    plan = plan_for(spec, folder, machine_of(spec.resources, how.address, how.is_inline))
    describe(plan, folder, out)
    make_folder(folder, spec.resources.share_with_group)
    with DriverLock(folder):
        yield open_results(plan, folder, source, launch_note(spec, plan.runs.values(), how.accepts_changed_code))


def run_resume(store: SweepStore, how: How, out: Console) -> int:
    """Continue the sweep of a results folder; returns the exit code of the command."""
    spec = stored_spec(store)
    note = launch_note(spec, expand(spec), how.accepts_changed_code)
    with DriverLock(store.folder):
        store.add_launch({**provenance(), **note})
        return drive(store, spec, how, out)


def drive(store: SweepStore, spec: SweepSpec, how: How, out: Console) -> int:
    """Train the unfinished packs, show progress and report the result; returns the exit code. Needs the lock."""
    store.stop_file.unlink(missing_ok=True)
    left = unfinished(store)
    if not left:
        out.print(f"complete already: {store.folder}")
        return COMPLETE
    refuse_changed_code(store, store.pack_ids(), sources_digest(store.sweep["launches"][-1]["code"]))
    # Compiled here first, so that workers find the programs and a missing compiler is reported once.
    compiled_kernels()
    started = time.monotonic()
    mirror = start_mirror(store.folder)
    warning = None
    try:
        with ForecastRefresher(store, _interval_s(spec)) as refresher:
            with leaving(store, out) as asked, Display(out, progress_by_pack(store)) as display:

                def show(pack_id: str, progress: Progress) -> None:
                    display.update(pack_id, progress)
                    refresher.tick()

                if how.is_inline:
                    launched = launch_inline(store, left, show)
                else:
                    launched = launch_ray(store, left, spec.resources, how.address, show)
            # Before the mirror's last pass, which writes the newest forecast.
            problem = _last_forecast(store, spec, refresher, asked, out)
    finally:
        if mirror is not None:
            warning = mirror.close(timeout_s=60)
    if warning:
        out.print(warning, style="yellow")
    elif (hint := sync_hint(store.folder)) is not None:
        out.print(f"to upload the dashboards: {hint}")
    store.stop_file.unlink(missing_ok=True)
    return _conclude(store, launched, bool(asked), problem, time.monotonic() - started, out)


def _interval_s(spec: SweepSpec) -> float:
    """Seconds between two forecasts. Forks are not forecast: their windows began before they did."""
    return math.inf if spec.fork is not None else _FORECAST_INTERVAL_S


def _last_forecast(
    store: SweepStore, spec: SweepSpec, refresher: ForecastRefresher, asked: Sequence[int], out: Console
) -> str | None:
    """Forecast the runs that are not finished; why that failed, in a clause. None where nothing is to be forecast."""
    progress = summed(progress_by_pack(store).values())
    if progress.num_done == progress.num_runs or spec.fork is not None:
        return None
    if not progress.num_done:
        return "no run has finished, so there is nothing to learn from"
    if set(asked) - {signal.SIGINT}:
        return "the launch was asked to end at once"
    out.print(f"forecasting the runs that are not finished (at most {_FORECAST_S:g} s)")
    return refresher.finish(_FORECAST_S)


def _conclude(
    store: SweepStore, launched: Launched, was_asked: bool, forecast_problem: str | None, wall_s: float, out: Console
) -> int:
    for pack_id, reason in launched.failures.items():
        out.print(f"pack {pack_id} failed: {reason}", style="red")
    for line in not_computed(launched, store.folder):
        out.print(line, style="yellow", markup=False)
    left = unfinished(store)
    if not left:
        out.print(f"complete in {clock(wall_s)}: {store.folder}")
        out.print(f"next: seedbed report {shlex.quote(str(store.folder))}")
        return COMPLETE
    if forecast_problem is not None:
        out.print(_forecast_sentence(store, forecast_problem))
    out.print(f"incomplete: {len(left)} packs are left; resume with: seedbed resume {shlex.quote(str(store.folder))}")
    return FAILED if launched.failures and not was_asked else INCOMPLETE


def not_computed(launched: Launched, folder: Path) -> Iterator[str]:
    """The packs that no machine here can compute, by reason, what would help, and the machines that were idle."""
    by_reason: dict[str, list[str]] = {}
    for pack_id, reason in launched.elsewhere.items():
        by_reason.setdefault(reason, []).append(pack_id)
    for reason, pack_ids in by_reason.items():
        shown = ", ".join(pack_ids[:_SHOWN_PACKS]) + (", ..." if len(pack_ids) > _SHOWN_PACKS else "")
        yield f"not computed here: {len(pack_ids)} pack(s) ({shown}), {reason}"
    if by_reason:
        yield f"on a machine that can compute them: seedbed resume {shlex.quote(str(folder))}"
    for host, reason in launched.idle.items():
        yield (
            f"{host} could compute none of the packs, {reason}; a new sweep can use it that names the smallest "
            "instruction set of all machines (resources.instruction_set)"
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
