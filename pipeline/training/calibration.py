"""Compiles the program of a static setting, or times the torch engine on it, on this machine; chooses GPUs or CPUs.

Speeds are measured once for a setting, a torch version and a processor, and remembered in the user's cache folder.
"""

from __future__ import annotations

import gc
import hashlib
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence

import torch

from pipeline.engine.block import Block
from pipeline.engine.known_answer import WrongProgramError, known_answer
from pipeline.engine.program import COST_OF_TORCH, compiled_engine_of, is_written_from_own_code, why_torch, written
from pipeline.numerics.compiler import HOW_TO_INSTALL, instruction_sets, notice, toolchain
from pipeline.numerics.processor import processor
from pipeline.numerics.program_cache import cache_folder
from pipeline.planning.device_choice import Throughput, faster_device
from pipeline.planning.engine_choice import CANDIDATE_SLOTS, Calibration, may_be_compiled, needs_timing, usable_speeds
from pipeline.planning.packs import PROGRAM, Group, Machine, Pack, grouped
from pipeline.spec.identity import canonical_json
from pipeline.spec.run_config import RunConfig
from pipeline.spec.sections import Resources
from pipeline.spec.sweep import SweepSpec
from pipeline.store.pack_store import StoreError

_TIMED_S = 0.3
# Runs that torch trains in less are not worth the compiling of a program that was written for them.
_LEAST_S = 30.0
# Share of a device's free memory that a block may take, extrapolated from one with fewer slots.
_MEMORY_SHARE = 0.7


def calibrate(
    groups: Mapping[str, Group],
    resources: Resources,
    machine: Machine,
    budget: int,
    on_phase: Callable[[str], None] = lambda phase: None,
) -> dict[str, Calibration]:
    """Static key -> engine and speeds on this computer. Compiles programs and trains temporary blocks where needed.

    A program that is written from code of the user's own is compiled if the runs, of `budget` steps at most, take
    torch long enough, and used if it is faster.

    `speeds` are empty if packs need none, and if `machine` has a kind of device that this computer lacks. Raises
    StoreError where this computer lacks the instruction set that the spec names. `on_phase` is told what is done, and
    for which of them: "timing torch on 1 of 2", "compiling 1 of 2".
    """
    found = {}
    for number, (key, group) in enumerate(groups.items(), 1):

        def tell(what: str, place: str = f"{number} of {len(groups)}") -> None:
            on_phase(f"{what} {place}")

        found[key] = _calibrated(group, resources, machine, budget, tell)
    return found


def instruction_set_of(resources: Resources) -> str | None:
    """The instruction set that programs are to be compiled for; None: the largest of this machine.

    Raises StoreError where this machine lacks the one that the spec names.
    """
    wanted = resources.instruction_set
    if wanted == "auto":
        return None
    if wanted not in instruction_sets():
        raise StoreError(
            f"resources.instruction_set is {wanted}, and this machine has {', '.join(instruction_sets())}: name "
            "one that all machines have"
        )
    return wanted


def _calibrated(
    group: Group,
    resources: Resources,
    machine: Machine,
    budget: int,
    tell: Callable[[str], None] = lambda what: None,
) -> Calibration:
    if group.config.model.own_engine() is not None:
        return Calibration()
    why = None
    if may_be_compiled(resources, machine.device):
        is_chosen = resources.engine == "auto" and toolchain() is not None and is_written_from_own_code(group.config)
        why = _why_not_written(group, resources, budget, tell) if is_chosen else None
        engine = None
        if why is None:
            tell("compiling")
            engine = compiled_engine_of(group.config, instruction_set_of(resources))
        if engine is not None:
            return Calibration(engine, why_drawn=written(group.config).why_drawn)
    why = why or _why_torch(group.config, resources, machine.device)
    if not needs_timing(group.most_runs, resources, machine.device):
        return Calibration(None, why)
    tell("timing")
    return Calibration(None, why, _remembered(group.config, resources, machine))


def _why_not_written(group: Group, resources: Resources, budget: int, tell: Callable[[str], None]) -> str | None:
    """Why runs of which C++ is written from torch code are left to torch; None if they are not."""
    tell("timing torch on")
    by_torch = _speed(group.config, resources, "torch")
    seconds = len(group.run_ids) * budget / by_torch
    if seconds < _LEAST_S:
        return f"its runs take torch {seconds:.0f} s on a core at most, less than compiling them may"
    tell("compiling")
    engine = compiled_engine_of(group.config, instruction_set_of(resources))
    if engine is None:
        return None
    tell("timing the program of")
    if (difference := _difference(group.config, resources, engine)) is not None:
        return f"its program and torch differ by more than rounding: {difference}"
    by_program = _speed(group.config, resources, engine)
    if by_program >= by_torch:
        return None
    return f"torch takes {by_torch:,.0f} run-steps per second here, the program {by_program:,.0f}"


def _difference(config: RunConfig, resources: Resources, engine: str) -> str | None:
    """What differs between a program and torch by more than rounding in the first steps of a run; None if nothing."""
    try:
        known_answer(config, Block(config, 1, torch.device("cpu"), engine, threads=resources.threads))
    except WrongProgramError as error:
        return str(error)
    return None


def _speed(config: RunConfig, resources: Resources, engine: str) -> float:
    """Run-steps per second of one slot on this computer."""
    block = Block(config, 1, torch.device("cpu"), engine, threads=resources.threads)
    block.train(2)
    started, num_steps = time.perf_counter(), 0
    while time.perf_counter() - started < _TIMED_S:
        block.train(1)
        num_steps += 1
    return num_steps / (time.perf_counter() - started)


def _why_torch(config: RunConfig, resources: Resources, device: str) -> str:
    """The reason in words why runs were not compiled."""
    if device != "cpu":
        return "compiled programs are for CPUs"
    if resources.engine == "torch":
        return "the sweep file asks for it"
    if resources.matmul_precision != "float32":
        return f"no compiled program multiplies in {resources.matmul_precision}"
    if toolchain() is None:
        if os.environ.get("SEEDBED_NATIVE") == "0":
            return f"SEEDBED_NATIVE=0 forbids compiled programs; {COST_OF_TORCH}"
        return f"there is no g++ here that works; {COST_OF_TORCH}; {HOW_TO_INSTALL}"
    # Last, since it traces the model, which takes seconds.
    if (why := why_torch(config)) is not None:
        return why
    return f"its program does not compile here; {COST_OF_TORCH}"


def chosen_machine(
    spec: SweepSpec,
    runs: Mapping[str, RunConfig],
    machine: Machine,
    kept: Sequence[Pack],
    on_phase: Callable[[str], None] = lambda phase: None,
) -> tuple[Machine, str]:
    """A machine with GPUs, or its CPUs where those are sooner done with `runs`, and why; itself if it has no choice.

    Times the torch engine on one GPU, and on one core what would train the runs there. A folder goes on with the kind
    of device that its packs in `kept` have. What asks for torch, or for products that CPUs have no use for, takes GPUs.
    """
    resources = spec.resources
    if machine.cpus is None or kept or not runs:
        return machine.on(kept[0].numerics.device) if kept else machine, ""
    if resources.engine == "compiled":
        return machine.cpus, "device auto: its CPUs, since compiled programs are for them"
    has_trainers = any(config.model.own_engine() is not None for config in runs.values())
    if resources.engine == "torch" or resources.matmul_precision != "float32" or has_trainers:
        return machine, ""
    on_phase("timing GPUs and CPUs")
    most_steps = max(spec.budgets)
    on_gpus, on_cpus = (grouped(runs, part.num_workers) for part in (machine, machine.cpus))
    choice = faster_device(
        [
            Throughput(
                len(group.run_ids) * most_steps,
                _by_gpus(group, resources, machine),
                _by_cpus(on_cpus[key], resources, machine.cpus, most_steps),
            )
            for key, group in on_gpus.items()
        ]
    )
    return machine.on(choice.device), choice.reason


def _by_gpus(group: Group, resources: Resources, machine: Machine) -> float | None:
    """Run-steps per second of all GPUs; packs that share one share its speed. None without a GPU here."""
    if needs_timing(group.most_runs, resources, machine.device):
        speeds = _remembered(group.config, resources, machine)
    else:
        slots = min(resources.slots or group.most_runs, group.most_runs)
        speeds = _measured(group.config, resources, machine.device, (slots,))
    fitting = usable_speeds(group.most_runs, speeds)
    num_gpus = max(1.0, machine.num_workers * min(1.0, resources.gpus_per_pack or 1.0))
    return max(fitting.values()) * num_gpus if fitting else None


def _by_cpus(group: Group, resources: Resources, machine: Machine, budget: int) -> float:
    """Run-steps per second of all workers, as many as there are runs at most."""
    found = _calibrated(group, resources, machine, budget)
    speeds = usable_speeds(group.most_runs, found.speeds)
    by_one = max(speeds.values()) if speeds else _speed(group.config, resources, found.engine or "torch")
    return by_one * min(machine.num_workers, len(group.run_ids))


def _remembered(config: RunConfig, resources: Resources, machine: Machine) -> dict[int, float]:
    """Slots -> run-steps per second, from the user's cache folder or measured now; empty where it cannot be."""
    arithmetic = [resources.threads, resources.matmul_precision, machine.device, machine.torch, PROGRAM]
    setting = json.dumps([config.static_key(), *arithmetic, processor()])
    folder = cache_folder()
    path = folder / f"slots-{hashlib.sha256(setting.encode()).hexdigest()[:20]}.json"
    try:
        known = {int(num_slots): float(speed) for num_slots, speed in json.loads(path.read_text()).items()}
        return dict(sorted(known.items()))
    except (OSError, ValueError):
        pass
    notice("timing a setting on this computer, once for all")
    speeds = _measured(config, resources, machine.device)
    if speeds:
        scratch = path.with_suffix(f".{os.getpid()}")
        scratch.write_text(canonical_json({str(num_slots): speed for num_slots, speed in speeds.items()}))
        scratch.rename(path)
    return speeds


def _measured(
    config: RunConfig, resources: Resources, device: str, candidates: Sequence[int] | None = None
) -> dict[int, float]:
    if device == "cuda" and not torch.cuda.is_available():
        return {}
    return _speeds(config, torch.device(device), resources, candidates or CANDIDATE_SLOTS[device])


def _speeds(
    config: RunConfig, device: torch.device, resources: Resources, candidates: Sequence[int]
) -> dict[int, float]:
    speeds: dict[int, float] = {}
    for num_slots in candidates:
        if device.type == "cuda" and speeds and _would_not_fit(num_slots, list(speeds)[-1]):
            break
        block = Block(config, num_slots, device, threads=resources.threads, matmul_precision=resources.matmul_precision)
        block.train(2)
        _wait(device)
        started, num_steps = time.perf_counter(), 0
        while time.perf_counter() - started < _TIMED_S:
            block.train(1)
            num_steps += 1
            _wait(device)
        speeds[num_slots] = num_slots * num_steps / (time.perf_counter() - started)
        del block
        if device.type == "cuda":
            # Blocks are in cycles of references, and their recorded steps hold memory.
            gc.collect()
            torch.cuda.empty_cache()
    return speeds


def _would_not_fit(num_slots: int, measured_slots: int) -> bool:
    free, _ = torch.cuda.mem_get_info()
    return torch.cuda.max_memory_allocated() / measured_slots * num_slots > _MEMORY_SHARE * free


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()
