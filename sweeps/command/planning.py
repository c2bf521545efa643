"""`seedbed plan`: runs, packs, varied hyperparameters, and estimated cost of a launch."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from pipeline.counted import counted
from pipeline.launch.machine import machine_of
from pipeline.launch.planned import plan_for
from pipeline.planning.packs import Plan
from pipeline.readings.base import READINGS
from pipeline.spec.forks.weights import WEIGHTS
from pipeline.spec.sweep import SweepSpec
from pipeline.store.pack_store import StoreError
from pipeline.training.cost import estimate_cost
from sweeps.command.request import Request
from sweeps.command.terminal.clock import clock
from sweeps.command.terminal.phases import phases
from sweeps.command.terminal.wrapped import print_wrapped

_SHOWN_STEPS, _SHOWN_VALUES = 8, 8


def show_plan(request: Request, out: Console) -> None:
    """Prints the plan of a launch and an estimate of its cost, measured on temporary blocks; writes nothing.

    Where this computer lacks what the packs need, such as a GPU of the cluster, the cost is not estimated.
    """
    spec = request.spec()
    folder = request.folder(spec)
    machine = machine_of(spec.resources, request.how.address, request.how.is_inline)
    with phases(out, is_quiet=True) as phase:
        plan = plan_for(spec, folder, machine, phase)
    machine = machine.on(plan.packs[0].numerics.device)
    describe(plan, folder, out)
    try:
        with phases(out, is_quiet=True) as phase:
            phase("measuring what it costs")
            cost = estimate_cost(plan, machine.num_workers)
    except StoreError as error:
        out.print(f"  cost not measured: {error}")
        return
    at_a_time = f"{counted(machine.num_workers, 'pack')} at a time"
    print_wrapped(
        out,
        f"  about {clock(cost.time_s)} of training if every run used its whole budget, {at_a_time} "
        f"on {machine.device}; {cost.memory_mib:,.0f} MiB of memory each, {cost.disk_mib:,.1f} MiB of disk",
    )


def describe(plan: Plan, folder: Path | str, out: Console) -> None:
    """Print runs, settings, varied hyperparameters, packs, and the results folder."""
    spec, packs = plan.spec, plan.packs
    budgets = " or ".join(map(str, spec.budgets))
    runs, settings = counted(len(plan.runs), "run"), counted(len(plan.settings), "setting")
    print_wrapped(out, f"{spec.name}: {runs} in {settings}, budget {budgets} steps")
    for path in plan.varied:
        print_wrapped(
            out, f"  varies: {path}: {varied_text([setting.get(path) for setting in plan.settings.values()])}"
        )
    sizes = sorted({len(pack.run_ids) for pack in packs})
    slots = sorted({pack.numerics.slots for pack in packs})
    engines = " or ".join(dict.fromkeys(pack.numerics.engine for pack in packs))
    print_wrapped(
        out,
        f"  packs: {len(packs)}, of {_span(sizes, 'run')}, {_span(slots, 'slot')}, "
        f"{packs[0].numerics.dtype} on {packs[0].numerics.device}, {engines}",
    )
    for reason in dict.fromkeys(pack.reason for pack in packs):
        print_wrapped(out, f"  {reason}")
    if spec.fork is not None:
        all_changes = spec.fork.each_changes
        if len(all_changes) > 1:
            print_wrapped(out, f"  forks are made once with each of {len(all_changes)} alternatives")
        # The parameters of many alternatives would fill a screen.
        for name, run_id in all_changes[0].get(WEIGHTS, {}).items() if len(all_changes) == 1 else ():
            print_wrapped(out, f"  takes {name} and its moments from run {run_id}, at each fork's step")
    for line in _recorded(plan):
        print_wrapped(out, f"  {line}")
    print_wrapped(out, f"  stopping: {spec.stopping.in_words()}")
    for doubt in spec.stopping.doubts(frozenset(plan.settings)):
        print_wrapped(out, f"  stopping: {doubt}", style="yellow")
    print_wrapped(out, f"  results: {folder}")


def varied_text(values: Sequence[Any]) -> str:
    """The different ones, of 4 digits as in the names of settings where that tells them apart."""
    exact = {str(value): value for value in values}
    short = dict.fromkeys(f"{value:.4g}" if isinstance(value, float) else text for text, value in exact.items())
    told = list(short if len(short) == len(exact) else exact)
    return ", ".join(told[:_SHOWN_VALUES]) + (f", ... {len(told)} values" if len(told) > _SHOWN_VALUES else "")


def _recorded(plan: Plan) -> Iterator[str]:
    """What is read and kept of the runs, and at which steps."""
    spec = plan.spec
    by_budget = {steps.budget: steps for steps in map(spec.steps, spec.budgets)}
    for budget, steps in by_budget.items():
        if steps.windows:
            windows = ", ".join(f"{share:g} (step {step})" for share, step in steps.windows)
            yield f"windows{_of(budget, spec)}: {windows}"
    # Runs of one setting share the object.
    settings = {id(run.setting): run.setting for run in plan.runs.values()}.values()
    yield from dict.fromkeys(remark for setting in settings if (remark := setting.model.remark()) is not None)
    pairs = {(setting.task, setting.model): None for setting in settings}
    for name in spec.reading_names:
        reasons = dict.fromkeys(READINGS[name].unsuitable(task, model) for task, model in pairs)
        unread = [reason for reason in reasons if reason is not None]
        yield f"reads at the windows: {name}" + (f"; some models cannot be read: {'; '.join(unread)}" if unread else "")
    for budget, steps in by_budget.items():
        kept = [f"{kind} at {_steps(kept)}" for kind, kept in steps.snapshots.items() if kept]
        if kept:
            yield f"keeps{_of(budget, spec)} {'; '.join(kept)}"
    yield f"keeps at the end of each run: {_at_the_end(spec, len(plan.runs))}"


def _at_the_end(spec: SweepSpec, num_runs: int) -> str:
    """What is kept of a run's last step."""
    last = {"state": "its state", "weights": "its weights"}.get(spec.snapshots.at_the_end(num_runs))
    share = spec.snapshots.maps_at_the_end(num_runs)
    maps = {0: None, 1: "attention maps, if it has any"}.get(share, f"attention maps of one run in {share:,}")
    return ", ".join(what for what in (last, maps) if what is not None) or "nothing"


def _of(budget: int, spec: SweepSpec) -> str:
    return f" of a budget of {budget}" if len(spec.budgets) > 1 else ""


def _steps(steps: tuple[int, ...]) -> str:
    shown = [str(step) for step in steps]
    return ", ".join(shown if len(shown) <= _SHOWN_STEPS else [*shown[: _SHOWN_STEPS - 2], "...", shown[-1]])


def _span(values: list[int], what: str) -> str:
    """ "1 slot", "3 to 8 slots"."""
    return ("" if len(values) == 1 else f"{values[0]} to ") + counted(values[-1], what)


def tell_planned(num_left: int, place: Path | str, out: Console) -> None:
    """Say how workers train the packs that are left of what was planned at this place, and how to plan for more."""
    print_wrapped(
        out,
        f"planned: {counted(num_left, 'pack')} to train, each by one worker at a time (resources.workers=N, in a new "
        f"folder, plans for N of them); start each with: seedbed work {shlex.quote(str(place))}",
    )
