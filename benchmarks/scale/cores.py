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

_NUM_PAIRS, _ROUND_S, _BUDGET = 11, 1.0, 2700


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
    """Seconds of `seedbed launch` over those that its run-steps take all cores when nothing else is done.

    Of these seconds, those before the first pack was opened, those up to the last commit, and those after it.
    """
    from pipeline.store.progress import progress_by_pack, summed
    from pipeline.store.sweep_store import SweepStore

    folder.mkdir(parents=True)
    path = folder / "sweep.yaml"
    path.write_text(spec_of(WORKLOADS[name], num_runs, budget=_BUDGET).to_yaml())
    # Compiles the program, which is no part of what a launch costs from then on.
    rates = throughput(ours(name), num_rounds=5, round_s=_ROUND_S)
    command = [sys.executable, "-P", "-m", "sweeps.cli", "launch", str(path), "--results", str(folder / "results")]
    # By the clock of the records.
    began = time.time()
    subprocess.run(command, check=True, capture_output=True)
    ended = time.time()
    store = SweepStore(folder / "results")
    training_s = summed(progress_by_pack(store).values()).run_steps / float(sorted(rates)[len(rates) // 2])
    times = [times for record in store.newest_records().values() for _, times in record.times_of_history() if times]
    first, last = min(opened for opened, _ in times), max(committed for _, committed in times)
    return {
        "launch_s": ended - began,
        "training_s": training_s,
        "times_as_long": (ended - began) / training_s,
        "until_first_pack_s": first - began,
        "packs_s": last - first,
        "after_last_commit_s": ended - last,
    }
