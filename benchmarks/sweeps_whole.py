"""Whole sweeps: S6 against Ray Tune with a trial per seed, S7 the overhead around the step, S8 and S9 scaling."""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.measure import alone
from benchmarks.rows import Row
from benchmarks.seedbed_side import ENVIRONMENT
from benchmarks.throughput import eager
from benchmarks.workloads import WORKLOADS, converged_loss, spec_of

_LOOKUP = WORKLOADS["lookup_a"]
_NUM_RUNS, _BUDGET = 500, 2700
_PEER_SEEDS = {True: 48, False: 12}
_CORE = min(os.sched_getaffinity(0))
_PROBE_STEPS = [0, 1, 2, 5, 10, 20, *range(50, 2151, 50)]


def _spec(num_runs: int, **changes: Any) -> Any:
    return spec_of(_LOOKUP, num_runs, **({"budget": _BUDGET} | changes))


def s6() -> Iterator[Row]:
    """A launch against Ray Tune with a trial for each seed."""
    from benchmarks.peers.ray_tune import TuneSweep, run_sweep

    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "sweep.yaml"
        path.write_text(_spec(_NUM_RUNS).to_yaml())
        command = [sys.executable, "-P", "-m", "sweeps.cli", "launch", str(path), "--results", f"{scratch}/results"]
        begin = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        wall_s = time.perf_counter() - begin
    choice = eager("lookup_a").choice
    for reuses, target in ((True, 4), (False, 7)):
        seeds = _PEER_SEEDS[reuses]
        sweep = TuneSweep(
            _LOOKUP, seeds, _BUDGET, converged_loss(_LOOKUP), reuses, len(os.sched_getaffinity(0)), choice=choice
        )
        times = alone(partial(run_sweep, sweep))
        start_s = times.ray_s + times.first_trial_s
        expected_s = start_s + (times.wall_s - start_s) * _NUM_RUNS / seeds
        kind = "reused actors" if reuses else "a new actor per trial"
        yield Row(
            "S6",
            f"launch of {_NUM_RUNS} lookup_a runs, against Ray Tune with a Lightning trial per seed ({kind})",
            target,
            expected_s / wall_s,
            note=f"peer measured on {seeds} seeds and scaled to {_NUM_RUNS}",
            details={
                "ours_wall_s": wall_s,
                "theirs_wall_s_scaled": expected_s,
                "theirs_wall_s": times.wall_s,
                "theirs_start_s": start_s,
                "theirs_mean_steps": times.run_steps / seeds,
                "theirs_converged": sum(trial.has_converged for trial in times.trials),
            },
        )


def s7() -> Iterator[Row]:
    """Shares of the time that training steps take, in one process with nothing else to do."""
    found = [alone(partial(_around_the_step, 192), _CORE, ENVIRONMENT) for _ in range(5)]
    limits = {"probes": 0.03, "evaluations": 0.03, "everything else": 0.02}
    notes = {
        "probes": f"{len(_PROBE_STEPS)} probe steps on 128 sequences in {_BUDGET} steps",
        "evaluations": f"every 100 of {_BUDGET} steps on 512 sequences",
        "everything else": "Lightning, recorder, store, first states; Ray and imports apart",
    }
    for part, limit in limits.items():
        shares = [shares_of[part] for shares_of in found]
        yield Row(
            "S7",
            f"lookup_a, {part}, as a share of the steps",
            limit,
            statistics.median(shares),
            min(shares),
            max(shares),
            is_limit=True,
            unit="%",
            note=notes[part],
            details={"us_per_run_step": statistics.median(shares_of["us_per_run_step"] for shares_of in found)},
        )


def _around_the_step(num_runs: int) -> Mapping[str, float]:
    from pipeline.engine.compiled_engine import CompiledEngine

    spent = dict.fromkeys(("train", "evaluate", "probe", "attention_maps"), 0.0)
    for name in spent:
        setattr(CompiledEngine, name, _timed(getattr(CompiledEngine, name), spent, name))
    grid = {"chunk": 50, "eval_every": 100, "eval_items": 512, "probe_items": 128, "probe_steps": _PROBE_STEPS}
    # A small warm-up run, so that imports are done.
    _train(_spec(2, budget=100, grid=grid | {"eval_every": 50, "probe_steps": [0, 50]}))
    spent.update(dict.fromkeys(spent, 0.0))
    seconds, run_steps, _ = _train(_spec(num_runs, grid=grid, stopping={"name": "run_to_budget"}))
    steps_s = spent["train"]
    return {
        "probes": spent["probe"] / steps_s,
        "evaluations": spent["evaluate"] / steps_s,
        "everything else": (seconds - sum(spent.values()) + spent["attention_maps"]) / steps_s,
        "us_per_run_step": 1e6 * steps_s / run_steps,
    }


def _timed(method: Any, spent: dict[str, float], name: str) -> Any:
    def timed(*arguments: Any) -> Any:
        begin = time.perf_counter()
        try:
            return method(*arguments)
        finally:
            spent[name] += time.perf_counter() - begin

    return timed


def _train(spec: Any) -> tuple[float, int, list[int]]:
    """Seconds of training without planning, run-steps, and the steps at which runs ended; inline, pack by pack."""
    from pipeline.launch.inline import launch_inline
    from pipeline.launch.planned import plan_for
    from pipeline.planning.open_sweep import open_results
    from pipeline.planning.packs import Machine
    from pipeline.store.progress import unfinished

    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "results"
        store = open_results(plan_for(spec, folder, Machine.cpu(1)), folder, spec.to_yaml())
        begin = time.perf_counter()
        launch_inline(store, unfinished(store), lambda pack_id, progress: None)
        seconds = time.perf_counter() - begin
        records = store.newest_records().values()
        ends = [end.step for record in records for end in record.ends.values()]
        return seconds, sum(record.run_steps for record in records), ends


def s8() -> Iterator[Row]:
    """How time and memory grow with the number of runs."""
    sizes = (64, 256, 1024, 8192)
    found = {size: alone(partial(_cost, size), _CORE, ENVIRONMENT) for size in sizes}
    per_run = {size: seconds / size for size, (seconds, _) in found.items()}
    first, last = sizes[1], sizes[-1]
    details = {
        str(size): {"ms_per_run": 1e3 * per_run[size], "peak_mib": memory} for size, (_, memory) in found.items()
    }
    yield Row(
        "S8",
        f"seconds per run at {last} runs over those at {first} (lookup_a, 200 steps)",
        1.1,
        per_run[last] / per_run[first],
        is_limit=True,
        details=details,
    )
    yield Row(
        "S8",
        f"peak memory at {last} runs over that at {sizes[2]}, a whole pack",
        1.1,
        found[last][1] / found[sizes[2]][1],
        is_limit=True,
        details=details,
    )


def _cost(num_runs: int) -> tuple[float, float]:
    """Seconds, planning and imports apart, and peak MiB of the whole process."""
    _train(_spec(2, budget=100, grid={"chunk": 50, "eval_every": 50}))
    seconds, _, _ = _train(_spec(num_runs, budget=200, grid={"chunk": 50, "eval_every": 100}))
    return seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def s9() -> Iterator[Row]:
    """How well slots stay filled when runs end at different steps."""
    for engine in ("auto", "torch"):
        shares = [alone(partial(_slots, engine), _CORE, ENVIRONMENT) for _ in range(3)]
        ratios = [share["ratio"] for share in shares]
        yield Row(
            "S9",
            f"slots ({'compiled' if engine == 'auto' else engine}): wall over max(longest run, total steps / slots)",
            1.1,
            statistics.median(ratios),
            min(ratios),
            max(ratios),
            is_limit=True,
            note="evaluations included in both",
            details=shares[0],
        )


def _slots(engine: str) -> Mapping[str, float]:
    """A pack of 8 to 16 runs per slot, which end when they converge."""
    slots, num_runs = (16, 256) if engine == "auto" else (8, 64)
    budget = 6000 if engine == "auto" else 2000
    resources = {"slots": slots, "engine": engine}
    # Few evaluations, so that the timing is that of slots.
    grid = {"chunk": 50, "eval_every": 50, "eval_items": 64, "probe_items": 16, "probe_steps": [0]}
    # Easily met, at steps that differ widely between seeds.
    converged = {"metric": "label_excess", "at_most": 0.7, "evaluations": 1}
    stopping = {"name": "after_convergence", "evaluations": 0}
    common = {"grid": grid, "converged": converged, "resources": resources}
    _train(_spec(2, **common, budget=50))
    # A full block without any end: the cost of a block-step, evaluations included.
    even_s, even_steps, _ = _train(_spec(2 * slots, **common, budget=500, stopping={"name": "run_to_budget"}))
    seconds, run_steps, ends = _train(_spec(num_runs, **common, budget=budget, stopping=stopping))
    step_s = even_s / even_steps * slots
    bound = max(max(ends), sum(ends) / slots) * step_s
    return {
        "ratio": seconds / bound,
        "num_runs": num_runs,
        "slots": slots,
        "longest": max(ends),
        "median": statistics.median(ends),
        "total_over_slots": sum(ends) / slots,
        "run_steps": run_steps,
    }
