"""Cost of a plan, estimated from a few steps of one block of each static setting on its device."""

from __future__ import annotations

import math
import resource
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.engine.block import Block
from pipeline.engine.reader import Reader, suitable_readings
from pipeline.planning.packs import Plan
from pipeline.training.evaluation_plan import EvaluationPlan
from pipeline.training.open_pack import block_of, evaluation_plan_of

_TIMED_STEPS = 8
# Compression by Parquet with zstd on the histories of real sweeps, as a share of 8 bytes per number.
_COMPRESSION = 0.8


@dataclass(frozen=True)
class CostEstimate:
    """Cost if every run uses its budget. `memory_mib` is one worker's; `time_s` is with all workers, no start-up."""

    time_s: float
    memory_mib: float
    disk_mib: float


def estimate_cost(plan: Plan, num_workers: int) -> CostEstimate:
    """Estimate the cost by training temporary blocks for some seconds; writes nothing."""
    plans = {budget: evaluation_plan_of(plan.spec, budget) for budget in plan.spec.budgets}
    groups: dict[tuple[str, int], list[int]] = {}
    for index, pack in enumerate(plan.packs):
        key = (plan.runs[pack.run_ids[0]].static_key(), pack.numerics.slots)
        groups.setdefault(key, []).append(index)
    seconds, disk, memory = 0.0, 0.0, 0.0
    for indices in groups.values():
        pack = plan.packs[indices[0]]
        configs = [plan.runs[run_id] for index in indices for run_id in plan.packs[index].run_ids]
        of_runs = [plans[plan.spec.budget_of(config)] for config in configs]
        block = block_of(pack, configs[0])
        seconds += _seconds(block, of_runs)
        disk += _bytes(block, of_runs)
        memory = max(memory, _memory_mib(block.device))
    return CostEstimate(seconds / min(num_workers, len(plan.packs)), memory, disk / 2**20)


def _seconds(block: Block, of_runs: Sequence[EvaluationPlan]) -> float:
    """Seconds of its block's time that these runs take together, evaluations and probes included."""
    common = of_runs[0]
    block.train(2)
    step = _timed(lambda: block.train(_TIMED_STEPS), block.device) / _TIMED_STEPS
    evaluation = _timed(lambda: block.evaluate(common.eval_items), block.device)
    probe = _timed(lambda: block.probe(common.probe_items), block.device)
    read = _timed(lambda: _read(block, common), block.device)
    total = step * sum(plan.budget for plan in of_runs)
    total += evaluation * sum(len(plan.grid.eval_steps_T) for plan in of_runs)
    total += probe * sum(len(plan.grid.probe_steps_T) for plan in of_runs)
    total += read * sum(len(plan.window_steps) for plan in of_runs)
    return total / block.num_slots


def _read(block: Block, evaluation_plan: EvaluationPlan) -> dict[str, Tensor]:
    """The readings of every slot."""
    names = suitable_readings(evaluation_plan.readings, block.template)
    slots, reader = range(block.num_slots), Reader(block.template, names, evaluation_plan.probe_items)
    return reader.read(block.parameters_of(slots), [block.template] * block.num_slots) if names else {}


def _timed(work: Callable[[], object], device: torch.device) -> float:
    started = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - started


def _bytes(block: Block, of_runs: Sequence[EvaluationPlan]) -> float:
    """Bytes that these runs leave together."""
    common, num_runs = of_runs[0], len(of_runs)
    per_weight = block.layout.num_parameters * block.dtype.itemsize
    num_arrays = 2 + len(block.optimiser.moments)
    at_the_end = {"state": num_arrays, "weights": 1, "nothing": 0}[common.last]
    kept = sum(at_the_end + len(plan.state_steps) * num_arrays + len(plan.weight_steps) for plan in of_runs)
    numbers = len(block.probe(common.probe_items)) * sum(len(plan.grid.probe_steps_T) for plan in of_runs)
    numbers += len(_read(block, common)) * sum(len(plan.window_steps) for plan in of_runs)
    numbers += len(block.evaluate(common.eval_items)) * sum(len(plan.grid.eval_steps_T) for plan in of_runs)
    maps = block.attention_maps(common.attention_items)
    num_maps = sum(len(plan.attention_steps) for plan in of_runs) + num_runs / (common.last_maps or math.inf)
    attention = num_maps * sum(array[0].numel() * array.element_size() for array in maps)
    return _COMPRESSION * (kept * per_weight + 8 * numbers + attention)


def _memory_mib(device: torch.device) -> float:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
