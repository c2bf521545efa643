"""Processor time of the sweeps on the landscape: what a run-step costs, times the run-steps that were trained.

    python -m benchmarks.landscape.hours results/landscape    measure, and keep, what each size that was trained costs

A block of 16 runs of each size trains from one evaluation to the next and is evaluated there, as in its sweep, with one
thread. Costs are medians of processor time over repetitions. Starting, compiling and book-keeping come to it.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch

from benchmarks.bench import FOLDER
from benchmarks.landscape.runs import read_runs
from pipeline.launch.machine import machine_of
from pipeline.launch.planned import plan_for
from pipeline.planning.open_sweep import provenance
from pipeline.planning.packs import Pack, Plan
from pipeline.spec.sweep import load_spec
from pipeline.training.open_pack import block_of, evaluation_plan_of
from sweeps.landscape.sizes.study import WIDER
from sweeps.landscape.study import STUDY
from sweeps.papers import PaperSweep

_UNIT = "seconds a run-step: median, least, most"
_PLANNED = "runs of the full profile"
COSTS = FOLDER / "landscape_costs.json"
_NUM_REPETITIONS, _NUM_STEPS, _NUM_SLOTS = 5, 50, 16
_SIZE = ("model.width", "model.head_width")
_FULL = "full"


def main() -> None:
    """Measures every size, and keeps the costs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="what `python -m sweeps.landscape --results` was given")
    folder: Path = parser.parse_args().folder
    torch.set_num_threads(1)
    costs: dict[str, list[float]] = {}
    for sweep in trained_from_the_start():
        spec = load_spec(sweep.path, sweep.overrides(_FULL) or ())
        plan = plan_for(spec, folder / STUDY.name / sweep.name, machine_of(spec.resources, None, is_inline=True))
        for pack in plan.packs:
            config = plan.runs[pack.run_ids[0]]
            key = cost_key(sweep.file, tuple(config.hyperparameters().get(path) for path in _SIZE))
            if key not in costs:
                costs[key] = _cost(plan, pack)
                print(f"{key}: {1e6 * costs[key][0]:.1f} microseconds a run-step", flush=True)
    document = dict(provenance()) | {"load": os.getloadavg()[0], _UNIT: costs, _PLANNED: runs_of_the_full_profile()}
    COSTS.write_text(json.dumps(document, indent=1) + "\n")


def trained_from_the_start() -> list[PaperSweep]:
    """The first sweep of each file, and that of fresh seeds at other widths; without forks."""
    sweeps = [sweep for sweep in STUDY.of_profile(_FULL) if sweep.forks_of is None]
    return [sweep for n, sweep in enumerate(sweeps) if sweep.file not in {other.file for other in sweeps[:n]}] + [
        sweep for sweep in sweeps if sweep.name == WIDER
    ]


def runs_of_the_full_profile() -> dict[str, int]:
    """By sweep file, in all of its sweeps."""
    by_sweep: dict[str, int] = {}
    by_file: dict[str, int] = {}
    for sweep in STUDY.of_profile(_FULL):
        spec = load_spec(sweep.path, sweep.overrides(_FULL) or ())
        if spec.fork is None:
            num = len(spec.runs())
        else:
            assert sweep.forks_of is not None
            num_parents = by_sweep[sweep.forks_of] if spec.fork.runs == "all" else len(spec.fork.runs)
            num_seeds = len(spec.fork.seeds_of("") or (0,))
            num = num_parents * len(spec.fork.steps) * num_seeds * len(spec.fork.each_changes)
        by_sweep[sweep.name] = num
        by_file[sweep.file] = by_file.get(sweep.file, 0) + num
    return by_file


def cost_key(file: str, size: tuple[Any, ...]) -> str:
    """The name of a cost: the sweep file, and the width of the model and of its heads where it has them."""
    return " ".join([file, *("-" if number is None else f"{number:g}" for number in size)])


def _cost(plan: Plan, pack: Pack) -> list[float]:
    """Median, least and most seconds of processor time that a run-step of a pack's first runs takes."""
    configs = [plan.runs[run_id] for run_id in pack.run_ids[:_NUM_SLOTS]]
    block, evaluations = block_of(pack, configs[0], len(configs)), evaluation_plan_of(plan.spec, plan.spec.budget)
    block.load_runs(dict(enumerate(zip(configs, block.starts(configs), strict=True))))
    interval = plan.spec.grid.eval_every or plan.spec.grid.chunk
    rounds, found = max(1, _NUM_STEPS // interval), []
    for _ in range(1 + _NUM_REPETITIONS):
        started = time.process_time()
        for _ in range(rounds):
            block.train(interval)
            block.evaluate(evaluations.eval_items)
        found.append((time.process_time() - started) / (rounds * interval * len(configs)))
    # The first one warms up.
    return [statistics.median(found[1:]), min(found[1:]), max(found[1:])]


def hours_by_file(
    runs: pa.Table, costs: dict[str, list[float]], planned: dict[str, int]
) -> dict[str, dict[str, float]]:
    """By sweep file runs, run-steps and processor hours of what was trained of it, and of what the full profile trains.

    Runs that were not trained count with the mean of those that were. Forks cost what their parents do. Raises KeyError
    for a run of a size that has no cost.
    """
    sweeps = {sweep.name: sweep for sweep in STUDY.of_profile(_FULL)}
    found: dict[str, dict[str, float]] = {}
    for row in runs.to_pylist():
        sweep = sweeps[row["sweep"]]
        costed = sweep if sweep.forks_of is None else sweeps[sweep.forks_of]
        steps = row["ended"] - (row["fork_step"] or 0)
        total = found.setdefault(sweep.file, {"runs": 0, "run-steps": 0, "hours": 0.0})
        total["runs"] += 1
        total["run-steps"] += steps
        total["hours"] += steps * costs[cost_key(costed.file, (row["width"], row["head_width"]))][0] / 3600
    for file, total in found.items():
        total["planned runs"] = planned[file]
        total["planned hours"] = total["hours"] * planned[file] / total["runs"]
    return found


def kept_hours(runs: Path) -> dict[str, dict[str, float]]:
    """`hours_by_file` of the kept runs and costs."""
    document = json.loads(COSTS.read_text())
    return hours_by_file(read_runs(runs), document[_UNIT], document[_PLANNED])


if __name__ == "__main__":
    main()
