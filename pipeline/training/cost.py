"""What a plan will cost: measured on one block of each static setting, for a few steps, on its own device."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from pipeline.engine.block import Block
from pipeline.planning.packs import Plan
from pipeline.training.open_pack import block_of, protocol_of
from pipeline.training.pack_loop import Protocol

_TIMED_STEPS = 8
# Parquet with zstd on the histories of real sweeps: about this share of 8 bytes a number stays.
_COMPRESSION = 0.8


@dataclass(frozen=True)
class Estimate:
    """If every run uses its budget. `memory_mib` is one worker's; `time_s` is with all workers busy, start-up apart."""

    time_s: float
    memory_mib: float
    disk_mib: float


def estimate(plan: Plan, num_workers: int) -> Estimate:
    """Trains throw-away blocks for some seconds; writes nothing."""
    protocol = protocol_of(plan.spec)
    groups: dict[tuple[str, int], list[int]] = {}
    for index, pack in enumerate(plan.packs):
        key = (plan.runs[pack.run_ids[0]].static_key(), pack.numerics.width)
        groups.setdefault(key, []).append(index)
    seconds, disk, memory = 0.0, 0.0, 0.0
    for indices in groups.values():
        pack = plan.packs[indices[0]]
        num_runs = sum(len(plan.packs[index].run_ids) for index in indices)
        config = plan.runs[pack.run_ids[0]]
        block = block_of(pack, config)
        seconds += _run_seconds(block, protocol) * num_runs
        disk += _run_bytes(block, protocol) * num_runs
        memory = max(memory, _memory_mib(block.device))
    return Estimate(seconds / min(num_workers, len(plan.packs)), memory, disk / 2**20)


def _run_seconds(block: Block, protocol: Protocol) -> float:
    """Seconds of its block's time that one run takes, evaluations and probes included."""
    grid = protocol.grid
    block.train(2)
    step = _timed(lambda: block.train(_TIMED_STEPS), block.device) / _TIMED_STEPS
    evaluation = _timed(lambda: block.evaluate(protocol.eval_items), block.device)
    probe = _timed(lambda: block.probe(protocol.probe_items), block.device)
    total = protocol.budget * step + len(grid.eval_steps_T) * evaluation + len(grid.probe_steps_T) * probe
    return total / block.width


def _timed(work: Callable[[], object], device: torch.device) -> float:
    started = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - started


def _run_bytes(block: Block, protocol: Protocol) -> float:
    num_arrays = 2 + len(block.optimiser.moments)
    states = (1 + len(protocol.state_steps)) * num_arrays * block.layout.num_parameters * block.dtype.itemsize
    numbers = len(block.probe(protocol.probe_items)) * len(protocol.grid.probe_steps_T)
    numbers += len(block.evaluate(protocol.eval_items)) * len(protocol.grid.eval_steps_T)
    maps = block.attention_maps(protocol.attention_items)
    num_maps = len(protocol.attention_steps) + protocol.keeps_last_attention
    attention = num_maps * sum(array[0].numel() * array.element_size() for array in maps)
    return _COMPRESSION * (states + 8 * numbers + attention)


def _memory_mib(device: torch.device) -> float:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
