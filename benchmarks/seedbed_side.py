"""Seedbed as a side of a comparison: the block that a worker trains, with the slots and the engine of a real plan."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch

from benchmarks.workloads import Workload, configs_of, spec_of
from pipeline.engine.block import Block
from pipeline.launch.planned import plan_on
from pipeline.planning.packs import Machine

# Those of seedbed's own workers.
ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "MALLOC_MMAP_THRESHOLD_": str(2**30),
    "MALLOC_TRIM_THRESHOLD_": str(2**32),
}
_WARM_UP_STEPS = 20


@dataclass(frozen=True)
class SeedbedSide:
    """`width` runs at a time on `device`. `engine` is that of the numerics: "torch", or the name of a toolchain."""

    workload: Workload
    width: int
    engine: str = "torch"
    device: str = "cpu"

    @property
    def environment(self) -> Mapping[str, str]:
        """Variables that its process must have from the start."""
        return ENVIRONMENT

    def start(self) -> SeedbedRuns:
        """A block of `width` runs, ready to train."""
        torch.set_num_threads(1)
        return SeedbedRuns(self)

    def planned(self, num_runs: int = 1024) -> SeedbedSide:
        """With the numerics that planning gives a sweep of `num_runs` runs on this machine."""
        workers = len(os.sched_getaffinity(0)) if self.device == "cpu" else torch.cuda.device_count()
        machine = Machine(self.device, workers, torch.__version__.partition("+")[0])
        plan = plan_on(spec_of(self.workload, num_runs), machine)
        numerics = plan.packs[0].numerics
        return replace(self, width=numerics.slots, engine=numerics.engine)


class SeedbedRuns:
    """A block whose slots hold the runs of different seeds."""

    steps_per_call = 1

    def __init__(self, side: SeedbedSide) -> None:
        self.width = side.width
        configs = configs_of(side.workload, side.width)
        self.block = Block(configs[0], side.width, torch.device(side.device), side.engine)
        for slot, config in enumerate(configs):
            self.block.load_run(slot, config, self.block.start(config))

    def warm_up(self) -> None:
        """Compile and allocate; not timed."""
        self.run(_WARM_UP_STEPS)

    def run(self, num_steps: int) -> None:
        """Train every run for `num_steps` more steps."""
        self.block.train(num_steps)
        if self.block.device.type == "cuda":
            torch.cuda.synchronize()
