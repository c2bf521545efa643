"""`seedbed launch` and `seedbed resume`: plan, open the results folder, train, report."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from analysis.outcomes.least import MIN_FINISHED
from pipeline.imports import quick_imports
from pipeline.launch.inline import launch_inline
from pipeline.launch.launched import Failed
from pipeline.launch.machine import machine_of
from pipeline.launch.planned import plan_for
from pipeline.launch.ray import launch_ray
from pipeline.numerics.kernels import compiled_kernels
from pipeline.planning.open_sweep import keep_copies, open_results, provenance
from pipeline.planning.own_data import refuse_missing_data
from pipeline.planning.packs import expand, stored_spec
from pipeline.spec.sweep import SweepSpec
from pipeline.store.driver_lock import DriverLock
from pipeline.store.failures import retry_failed
from pipeline.store.files import make_folder
from pipeline.store.left_over import remove_left_over
from pipeline.store.pack_store import StoreError
from pipeline.store.progress import Progress, packs_left, progress_by_pack, readable_records, summed, unfinished
from pipeline.store.sweep_store import SweepStore
from pipeline.tracking.driven import not_mirrored, start_mirror, sync_hint
from pipeline.training.origin import launch_note, refuse_changed_code
from pipeline.training.sources import sources_digest
from sweeps.command.exit_codes import COMPLETE
from sweeps.command.forecasts.refreshing import ForecastRefresher
from sweeps.command.how import How
from sweeps.command.leaving import leaving, must_hurry
from sweeps.command.planning import describe, tell_planned
from sweeps.command.request import Request
from sweeps.command.terminal.concluding import conclude, conclude_damaged, tell_complete, telling_if_complete
from sweeps.command.terminal.display import Display
from sweeps.command.terminal.phases import phases

# Between two forecasts while training, at least; and the longest that the end of a launch waits for the last one.
_FORECAST_INTERVAL_S, _FORECAST_S = 300.0, 20.0


def run_launch(request: Request, out: Console) -> int:
    """Train the unfinished runs of the requested sweep and print its outcomes; returns the exit code of the command."""
    spec = request.spec()
    source = request.file.read_text(encoding="utf-8")
    with opened_spec(spec, request.folder(spec), source, request.how, out) as store, telling_if_complete(store, out):
        return drive(store, spec, request.how, out, lambda: _print_outcomes(store, out))


def run_plan_only(request: Request, out: Console) -> int:
    """Plan the requested sweep into its results folder, for workers to train; returns the exit code of the command."""
    spec = request.spec()
    source = request.file.read_text(encoding="utf-8")
    with opened_spec(spec, request.folder(spec), source, request.how, out) as store:
        store.stop_file.unlink(missing_ok=True)
        keep_copies(store, spec)
        num_left = len(unfinished(store))
    tell_planned(num_left, store.folder, out)
    return COMPLETE


def train_spec(
    spec: SweepSpec, folder: Path, source: str, how: How, out: Console, wanted: Collection[str] | None = None
) -> int:
    """Train the unfinished runs of `spec`, given as `source`, in `folder`; returns the exit code of the command.

    With `wanted`, run ids of the spec, no others are trained beside those that the folder has.
    """
    with opened_spec(spec, folder, source, how, out, wanted) as store, telling_if_complete(store, out):
        return drive(store, spec, how, out)


@contextmanager
def opened_spec(
    spec: SweepSpec, folder: Path, source: str, how: How, out: Console, wanted: Collection[str] | None = None
) -> Iterator[SweepStore]:
    """In this context `folder` is opened for `spec`, given as `source`, planned for this machine, and locked.

    With `wanted`, run ids of the spec, no others are planned beside those that the folder has.
    """
    # Planned without the lock, which creates a file: a folder that cannot be used stays unchanged. Opening it under
    # the lock refuses a plan that another launch has made stale.
    with phases(out) as phase:
        plan = plan_for(spec, folder, machine_of(spec.resources, how.address, how.is_inline, phase), phase, wanted)
    describe(plan, folder, out)
    make_folder(folder, spec.resources.share_with_group)
    with DriverLock(folder):
        yield open_results(plan, folder, source, launch_note(spec, plan.runs.values(), how.accepts_changed_code))


def run_resume(store: SweepStore, how: How, out: Console) -> int:
    """Continue the sweep of a results folder; returns the exit code of the command."""
    spec = stored_spec(store)
    runs = expand(spec)
    refuse_missing_data(spec.name, runs)
    note = launch_note(spec, runs, how.accepts_changed_code)
    with DriverLock(store.folder), telling_if_complete(store, out):
        store.add_launch({**provenance(), **note})
        if how.retries_failed:
            out.print(f"runs that failed and are tried again: {retry_failed(store)}")
        return drive(store, spec, how, out, lambda: _print_outcomes(store, out))


def drive(store: SweepStore, spec: SweepSpec, how: How, out: Console, sum_up: Callable[[], None] = lambda: None) -> int:
    """Train the unfinished packs, show progress and report the result; returns the exit code. Needs the lock.

    Packs that are damaged are left as they are and named at the end; StoreError is raised where no other is left.
    `sum_up` prints what came of it, before the commands to go on, unless the launch was asked to end at once, or was
    interrupted before a run was done.
    """
    store.stop_file.unlink(missing_ok=True)
    records, damaged = readable_records(store)
    progress = progress_by_pack(store, records)
    left = [pack_id for pack_id in packs_left(progress) if pack_id not in damaged]
    if damaged and not left:
        raise StoreError(next(iter(damaged.values())))
    remove_left_over(store, set(store.pack_ids()).difference(left, damaged))
    if not left:
        code = tell_complete(store, f"complete already: {store.folder}", out)
        if (missing := not_mirrored(store.folder)) is not None:
            out.print(missing, style="yellow")
        return code
    refuse_changed_code(store, store.pack_ids(), sources_digest(store.sweep["launches"][-1]["code"]))
    keep_copies(store, spec)
    # Compiled here first, so that workers find the programs and a missing compiler is reported once.
    compiled_kernels()
    started = time.monotonic()
    mirror = start_mirror(store.folder)
    warning = None
    try:
        with ForecastRefresher(store, _interval_s(spec)) as refresher:
            with leaving(store, out) as asked, Display(out, store.plan, progress) as display:

                def show(pack_id: str, report: Progress | Failed) -> None:
                    if isinstance(report, Failed):
                        display.fail(pack_id, report.reason)
                    else:
                        display.phase("stopping" if asked else "training")
                        display.update(pack_id, report)
                    refresher.tick()

                display.phase("opening the first pack" if how.is_inline else "starting Ray")
                if how.is_inline:
                    launched = launch_inline(store, left, show)
                else:
                    launched = launch_ray(store, left, spec.resources, how.address, show)
            if mirror is not None:
                mirror.tell_failed(launched.failures)
            # Before the mirror's last pass, which writes the newest forecast.
            problem = None if damaged else _last_forecast(store, spec, refresher, asked, out)
    finally:
        if mirror is not None:
            with phases(out, is_quiet=True) as phase:
                phase("writing the dashboards")
                warning = mirror.close(timeout_s=60)
    if warning:
        out.print(warning, style="yellow")
    elif (hint := sync_hint(store.folder)) is not None:
        out.print(f"to upload the dashboards: {hint}")
    store.stop_file.unlink(missing_ok=True)
    wall_s = time.monotonic() - started
    if damaged:
        return conclude_damaged(store, launched, damaged, out)
    if not must_hurry(asked) and not (asked and _none_is_done(store)):
        sum_up()
    return conclude(store, launched, bool(asked), problem, wall_s, out)


def _print_outcomes(store: SweepStore, out: Console) -> None:
    # Here, since the analyses take as long to import as torch, and training need not wait for them.
    with quick_imports():
        from sweeps.command.terminal.outcomes import print_outcomes
    print_outcomes(store, out)


def _interval_s(spec: SweepSpec) -> float:
    """Seconds between two forecasts. Forks are not forecast: their windows began before they did."""
    return math.inf if spec.fork is not None else _FORECAST_INTERVAL_S


def _none_is_done(store: SweepStore) -> bool:
    return not summed(progress_by_pack(store).values()).num_done


def _last_forecast(
    store: SweepStore, spec: SweepSpec, refresher: ForecastRefresher, asked: Sequence[int], out: Console
) -> str | None:
    """Forecast the runs that are not finished; why that failed, in a clause. None where nothing is to be forecast."""
    progress = summed(progress_by_pack(store).values())
    if progress.num_done == progress.num_runs or spec.fork is not None:
        return None
    if progress.num_done < MIN_FINISHED:
        return f"it takes {MIN_FINISHED} finished runs to learn from, and {progress.num_done or 'none'} of these are"
    if must_hurry(asked):
        return "the launch was asked to end at once"
    with phases(out) as phase:
        phase(f"forecasting the runs that are not finished (at most {_FORECAST_S:g} s)")
        return refresher.finish(_FORECAST_S)
