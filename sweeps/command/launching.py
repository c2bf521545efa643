"""What `seedbed plan`, `launch` and `resume` do."""

from __future__ import annotations

import shlex
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType

from rich.console import Console

from pipeline.launch.launch import Launched, launch_inline, launch_ray, machine_of, unfinished
from pipeline.numerics.kernels import compiled_kernels
from pipeline.planning.open_sweep import open_results, plan_for
from pipeline.planning.packs import Plan, stored_spec
from pipeline.spec.sweep import SweepSpec, load_spec
from pipeline.store.files import make_folder
from pipeline.store.pack_store import StoreError
from pipeline.store.sweep_store import DriverLock, SweepStore
from pipeline.training.pack import Progress
from sweeps.command.display import Display, clock
from sweeps.command.smoke import smoke

COMPLETE, FAILED, INCOMPLETE = 0, 1, 3


@dataclass(frozen=True)
class Request:
    """What a user asked to plan or launch."""

    path: Path
    overrides: tuple[str, ...] = ()
    results: Path | None = None
    address: str | None = None
    is_inline: bool = False
    is_smoke: bool = False

    def spec(self) -> SweepSpec:
        if self.address is not None and self.is_inline:
            raise StoreError("--inline trains in this process: it has no use for --address")
        spec = load_spec(self.path, self.overrides)
        if spec.fork is not None:
            # Workers have folders of their own: the parents' must be named in full.
            parents = str(Path(spec.fork.sweep).resolve())
            data = spec.identity()
            spec = SweepSpec.model_validate({**data, "fork": {**data["fork"], "sweep": parents}})
        return smoke(spec) if self.is_smoke else spec

    def folder(self, spec: SweepSpec) -> Path:
        return self.results or Path("results") / spec.name


def show_plan(request: Request, out: Console) -> None:
    from pipeline.training.cost import estimate

    spec = request.spec()
    folder = request.folder(spec)
    machine = machine_of(spec.resources, request.address, request.is_inline)
    plan = plan_for(spec, folder, machine)
    describe(plan, folder, out)
    cost = estimate(plan, machine.num_workers)
    out.print(
        f"  about {clock(cost.time_s)} of training if every run used its whole budget, {machine.num_workers} packs at "
        f"a time on {machine.device}; {cost.memory_mib:,.0f} MiB of memory each, {cost.disk_mib:,.1f} MiB of disk"
    )


def describe(plan: Plan, folder: Path, out: Console) -> None:
    """Runs, settings, what varies, packs, and where results go."""
    spec, packs = plan.spec, plan.packs
    out.print(f"{spec.name}: {len(plan.runs)} runs in {len(plan.settings)} settings, budget {spec.budget} steps")
    for path in plan.varied:
        values = dict.fromkeys(str(setting.get(path)) for setting in plan.settings.values())
        shown = ", ".join(list(values)[:8]) + (f", ... {len(values)} values" if len(values) > 8 else "")
        out.print(f"  varies: {path}: {shown}")
    sizes = sorted({len(pack.run_ids) for pack in packs})
    widths = sorted({pack.numerics.width for pack in packs})
    out.print(
        f"  packs: {len(packs)}, of {_span(sizes)} runs, {_span(widths)} slots wide, "
        f"{packs[0].numerics.dtype} on {packs[0].numerics.device}, {packs[0].numerics.mode}"
    )
    for reason in dict.fromkeys(pack.reason for pack in packs):
        out.print(f"  {reason}")
    out.print(f"  results: {folder}")


def _span(values: list[int]) -> str:
    return str(values[0]) if len(values) == 1 else f"{values[0]} to {values[-1]}"


def run_launch(request: Request, out: Console) -> int:
    spec = request.spec()
    folder = request.folder(spec)
    # Once without the lock, so that a folder that cannot be used is not touched.
    plan = plan_for(spec, folder, machine_of(spec.resources, request.address, request.is_inline))
    describe(plan, folder, out)
    make_folder(folder, spec.resources.share_with_group)
    with DriverLock(folder):
        plan = plan_for(spec, folder, machine_of(spec.resources, request.address, request.is_inline))
        store = open_results(plan, folder, request.path.read_text(encoding="utf-8"))
        return drive(store, spec, request.address, request.is_inline, out)


def run_resume(store: SweepStore, address: str | None, is_inline: bool, out: Console) -> int:
    spec = stored_spec(store)
    with DriverLock(store.folder):
        return drive(store, spec, address, is_inline, out)


def drive(store: SweepStore, spec: SweepSpec, address: str | None, is_inline: bool, out: Console) -> int:
    """Train what is left, show progress, and say what came of it; the exit code of the command. Needs the lock."""
    from pipeline.tracking.mirror import start_mirror, sync_hint

    store.stop_file.unlink(missing_ok=True)
    left = unfinished(store)
    if not left:
        out.print(f"complete already: {store.folder}")
        return COMPLETE
    # Here once, so that workers find them compiled, and where there is no compiler the user is told once.
    compiled_kernels()
    started = time.monotonic()
    mirror = start_mirror(store.folder)
    with _leaving(store, out) as asked, Display(out, progress_by_pack(store)) as display:
        if is_inline:
            launched = launch_inline(store, left, display.update)
        else:
            launched = launch_ray(store, left, spec.resources, address, display.update)
    warning = mirror.close(timeout_s=60) if mirror is not None else None
    if warning:
        out.print(warning, style="yellow")
    elif (hint := sync_hint(store.folder)) is not None:
        out.print(f"dashboards, once you want them online: {hint}")
    store.stop_file.unlink(missing_ok=True)
    return _conclude(store, launched, bool(asked), time.monotonic() - started, out)


def _conclude(store: SweepStore, launched: Launched, was_asked: bool, wall_s: float, out: Console) -> int:
    for pack_id, reason in launched.failures.items():
        out.print(f"pack {pack_id} failed: {reason}", style="red")
    left = unfinished(store)
    if not left:
        out.print(f"complete in {clock(wall_s)}: {store.folder}")
        out.print(f"next: seedbed report {shlex.quote(str(store.folder))}")
        return COMPLETE
    out.print(f"incomplete: {len(left)} packs are left; resume with: seedbed resume {shlex.quote(str(store.folder))}")
    return FAILED if launched.failures and not was_asked else INCOMPLETE


@contextmanager
def _leaving(store: SweepStore, out: Console) -> Iterator[list[int]]:
    """While inside, the first SIGINT or SIGTERM asks all packs to commit and leave; the second ends at once."""
    asked: list[int] = []

    def ask(number: int, frame: FrameType | None) -> None:
        asked.append(number)
        if len(asked) > 1:
            raise KeyboardInterrupt
        store.stop_file.touch(mode=0o600)
        out.print("stopping: packs commit and leave (again: end at once)")

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def progress_by_pack(store: SweepStore) -> dict[str, Progress]:
    """What every pack had done at its newest commit."""
    plan, records = store.plan, store.newest_records()
    found = {}
    for pack in plan["packs"]:
        record = records.get(pack["pack_id"])
        committed = {} if record is None else record.ends
        ends = {run_id: end for run_id, end in committed.items() if not end.is_continued_to(plan["budget"])}
        steps = {run_id: end.step for run_id, end in committed.items()}
        steps |= {} if record is None else {run_id: entry.step for run_id, entry in record.active.items()}
        missing = [run_id for run_id in pack["run_ids"] if run_id not in ends]
        found[pack["pack_id"]] = Progress(
            num_runs=len(pack["run_ids"]),
            num_done=len(ends),
            num_converged=sum(end.is_converged for end in ends.values()),
            num_diverged=sum(end.reason == "diverged" for end in ends.values()),
            run_steps=0 if record is None else record.run_steps,
            steps_left=sum(plan["budget"] - steps.get(run_id, 0) for run_id in missing),
        )
    return found


def summary_of(progress: dict[str, Progress]) -> dict[str, int]:
    """Sums over packs, by field."""
    rows = [asdict(entry) for entry in progress.values()]
    return {name: sum(row[name] for row in rows) for name in rows[0]} if rows else {}
