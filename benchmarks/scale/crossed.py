"""What runs gain that see the same batches: a crossed sweep beside one whose runs have data of their own."""

from __future__ import annotations

import statistics
import time
from dataclasses import replace
from pathlib import Path

import torch

from benchmarks.workloads import WORKLOADS, spec_of
from pipeline.engine.block import Block
from pipeline.launch.planned import plan_on
from pipeline.planning.packs import Machine
from pipeline.spec.run_config import RunConfig

_NUM_DATA_SEEDS, _NUM_PAIRS, _PAIR_S = 12, 15, 0.5
# Where a plan gives larger models fewer slots, so that there is something to share.
_LEAST_SLOTS = 24


def crossed(name: str, num_runs: int, folder: Path) -> dict[str, float]:
    """Processor time of a step in the first block that a plan makes of initialisations crossed with 12 data seeds.

    `times_as_fast` is the ratio to a block of as many runs with data seeds of their own, trained in turns with it, at
    the median over pairs. `folder` is not used.
    """
    torch.set_num_threads(1)
    inits = {"range": [0, num_runs // _NUM_DATA_SEEDS]}
    seeds = {"crossed": {"init_seed": inits, "data_seed": {"range": [0, _NUM_DATA_SEEDS]}}}
    plan = plan_on(spec_of(WORKLOADS[name], num_runs, seeds=seeds), Machine.cpu(1))
    numerics = plan.packs[0].numerics
    slots = max(numerics.slots, _LEAST_SLOTS)
    together = list(plan.configs(plan.packs[0]).values())[:slots]
    own_seeds = [replace(run, data_seed=place) for place, run in enumerate(together)]
    shared, own = _block(together, numerics.engine), _block(own_seeds, numerics.engine)
    steps = max(1, min(50, int(_PAIR_S / _spent_s(own, 1))))
    times = []
    for number in range(_NUM_PAIRS):
        # Whichever begins has what the caches keep of the other.
        blocks = (own, shared) if number % 2 else (shared, own)
        spent = {id(block): _spent_s(block, steps) for block in blocks}
        times.append((spent[id(own)], spent[id(shared)]))
    ratios = sorted(apart_s / shared_s for apart_s, shared_s in times)
    per_step = 1e6 / (steps * slots)
    return {
        "times_as_fast": statistics.median(ratios),
        "lower_quartile": ratios[_NUM_PAIRS // 4],
        "upper_quartile": ratios[-1 - _NUM_PAIRS // 4],
        "own_us": per_step * min(apart_s for apart_s, _ in times),
        "shared_us": per_step * min(shared_s for _, shared_s in times),
        "slots": float(slots),
        "steps": float(steps),
        "pairs": float(_NUM_PAIRS),
    }


def _block(runs: list[RunConfig], engine: str) -> Block:
    block = Block(runs[0], len(runs), torch.device("cpu"), engine)
    block.load_runs({slot: (run, block.start(run)) for slot, run in enumerate(runs)})
    block.train(1)
    return block


def _spent_s(block: Block, steps: int) -> float:
    began_s = time.thread_time()
    block.train(steps)
    return time.thread_time() - began_s
