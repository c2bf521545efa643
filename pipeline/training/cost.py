"""Cost of a plan, estimated from a few steps of one block of each static setting on its device."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.engine.block import Block
from pipeline.engine.reader import Reader, suitable_readings
from pipeline.planning.packs import Plan
from pipeline.training.open_pack import block_of, evaluation_plan_of
from pipeline.training.pack_loop import EvaluationPlan

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
    evaluation_plan = evaluation_plan_of(plan.spec)
    groups: dict[tuple[str, int], list[int]] = {}
    for index, pack in enumerate(plan.packs):
        key = (plan.runs[pack.run_ids[0]].static_key(), pack.numerics.slots)
        groups.setdefault(key, []).append(index)
    seconds, disk, memory = 0.0, 0.0, 0.0
    for indices in groups.values():
        pack = plan.packs[indices[0]]
        num_runs = sum(len(plan.packs[index].run_ids) for index in indices)
        config = plan.runs[pack.run_ids[0]]
        block = block_of(pack, config)
        seconds += _run_seconds(block, evaluation_plan) * num_runs
        disk += _run_bytes(block, evaluation_plan) * num_runs
        memory = max(memory, _memory_mib(block.device))
    return CostEstimate(seconds / min(num_workers, len(plan.packs)), memory, disk / 2**20)


def _run_seconds(block: Block, evaluation_plan: EvaluationPlan) -> float:
    """Seconds of its block's time that one run takes, evaluations and probes included."""
    grid = evaluation_plan.grid
    block.train(2)
    step = _timed(lambda: block.train(_TIMED_STEPS), block.device) / _TIMED_STEPS
    evaluation = _timed(lambda: block.evaluate(evaluation_plan.eval_items), block.device)
    probe = _timed(lambda: block.probe(evaluation_plan.probe_items), block.device)
    read = _timed(lambda: _read(block, evaluation_plan), block.device)
    total = evaluation_plan.budget * step + len(grid.eval_steps_T) * evaluation + len(grid.probe_steps_T) * probe
    total += len(evaluation_plan.window_steps) * read
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


def _run_bytes(block: Block, evaluation_plan: EvaluationPlan) -> float:
    num_arrays = 2 + len(block.optimiser.moments)
    states = (1 + len(evaluation_plan.state_steps)) * num_arrays * block.layout.num_parameters * block.dtype.itemsize
    states += len(evaluation_plan.weight_steps) * block.layout.num_parameters * block.dtype.itemsize
    numbers = len(block.probe(evaluation_plan.probe_items)) * len(evaluation_plan.grid.probe_steps_T)
    numbers += len(_read(block, evaluation_plan)) * len(evaluation_plan.window_steps)
    numbers += len(block.evaluate(evaluation_plan.eval_items)) * len(evaluation_plan.grid.eval_steps_T)
    maps = block.attention_maps(evaluation_plan.attention_items)
    num_maps = len(evaluation_plan.attention_steps) + evaluation_plan.keeps_last_attention
    attention = num_maps * sum(array[0].numel() * array.element_size() for array in maps)
    return _COMPRESSION * (states + 8 * numbers + attention)


def _memory_mib(device: torch.device) -> float:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
