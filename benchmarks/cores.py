"""What a second core brings, and what a launch costs beside its training: by the clock, on a machine that is idle."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.measure import Crew, in_turns, throughput
from benchmarks.throughput import ours
from benchmarks.workloads import WORKLOADS, spec_of

_NUM_PAIRS, _ROUND_S, _BUDGET = 11, 2.0, 2700


def cores(name: str, num_cores: int, folder: Path) -> dict[str, float]:
    """Throughput of a process on each of so many cores over that of one, in turns: median over pairs, 95% interval.

    `folder` is not used. Raises ValueError where there are fewer cores.
    """
    here = sorted(os.sched_getaffinity(0))
    if len(here) < num_cores:
        raise ValueError(f"{num_cores} cores are to be measured, and this process may use {len(here)}")
    side = ours(name)
    with Crew(side, here[:num_cores], _ROUND_S) as several, Crew(side, here[:1], _ROUND_S) as one:
        pairs = in_turns(several.round, one.round, _NUM_PAIRS)
    lower, upper = pairs.interval()
    return {"times_as_fast": pairs.ratio, "lower": lower, "upper": upper, "pairs": float(_NUM_PAIRS)}


def launch(name: str, num_runs: int, folder: Path) -> dict[str, float]:
    """Seconds of `seedbed launch` over those that its run-steps take all cores when nothing else is done."""
    from pipeline.store.progress import progress_by_pack, summed
    from pipeline.store.sweep_store import SweepStore

    folder.mkdir(parents=True)
    path = folder / "sweep.yaml"
    path.write_text(spec_of(WORKLOADS[name], num_runs, budget=_BUDGET).to_yaml())
    # Compiles the program, which is no part of what a launch costs from then on.
    rates = throughput(ours(name), num_rounds=5, round_s=_ROUND_S)
    command = [sys.executable, "-P", "-m", "sweeps.cli", "launch", str(path), "--results", str(folder / "results")]
    began = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    launch_s = time.perf_counter() - began
    run_steps = summed(progress_by_pack(SweepStore(folder / "results")).values()).run_steps
    training_s = run_steps / float(sorted(rates)[len(rates) // 2])
    return {"launch_s": launch_s, "training_s": training_s, "times_as_long": launch_s / training_s}
