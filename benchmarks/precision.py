"""Effect of reduced matmul precision on outcomes: the same seeds in float32 and in bf16, converged shares and times.

Run by `python -m benchmarks.precision`; some minutes. The runs are paired by seed, and so is the bootstrap.
"""

from __future__ import annotations

import json
import os
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.bench import FOLDER, provenance_of
from benchmarks.measure import at_once
from benchmarks.seedbed_side import ENVIRONMENT
from benchmarks.workloads import WORKLOADS, spec_of

_NUM_SEEDS, _BUDGET, _DRAWS = 128, 1400, 10_000


def main() -> None:
    """Compare float32 and bfloat16 training, and write JSON."""
    cores = sorted(os.sched_getaffinity(0))
    kinds = ("float32", "bf16")
    tasks = [(partial(converged_steps, kind), cores[index % len(cores)]) for index, kind in enumerate(kinds)]
    exact_R, coarse_R = at_once(tasks, ENVIRONMENT)
    found = compare(np.array(exact_R), np.array(coarse_R))
    print(json.dumps(found, indent=1))
    document = {**found, "workload": "lookup_a", "budget": _BUDGET, "measured": provenance_of(0)}
    (FOLDER / "precision.json").write_text(json.dumps(document, indent=1) + "\n")


def converged_steps(precision: str) -> list[float]:
    """The step at which each seed converged; NaN where it did not within the budget."""
    from analysis.outcomes.outcomes import CONVERGED, decide_outcomes
    from pipeline.launch.inline import launch_inline
    from pipeline.launch.planned import plan_for
    from pipeline.planning.open_sweep import open_results
    from pipeline.planning.packs import Machine
    from pipeline.store.progress import unfinished

    resources = {"engine": "torch", "matmul_precision": precision, "slots": 16}
    spec = spec_of(WORKLOADS["lookup_a"], _NUM_SEEDS, budget=_BUDGET, resources=resources)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "results"
        store = open_results(plan_for(spec, folder, Machine.cpu(1)), folder, spec.to_yaml())
        launch_inline(store, unfinished(store), lambda pack_id, progress: None)
        outcomes = decide_outcomes(store.history())
        return np.where(outcomes.kind_R == CONVERGED, outcomes.upper_R, np.nan).tolist()


def compare(exact_R: NDArray[np.float64], coarse_R: NDArray[np.float64]) -> dict[str, Any]:
    """Differences coarse less exact, with 95% bootstrap intervals over seeds; times are restricted to the budget."""
    picks = np.random.default_rng(0).integers(len(exact_R), size=(_DRAWS, len(exact_R)))

    def difference(one_R: NDArray[np.float64], other_R: NDArray[np.float64]) -> dict[str, float]:
        low, high = np.quantile((other_R - one_R)[picks].mean(1), [0.025, 0.975])
        values = (one_R.mean(), other_R.mean(), (other_R - one_R).mean(), low, high)
        return dict(zip(("float32", "bf16", "difference", "low", "high"), map(float, values), strict=True))

    has_R = [np.isfinite(steps_R).astype(float) for steps_R in (exact_R, coarse_R)]
    times_R = [np.where(np.isfinite(steps_R), steps_R, _BUDGET) for steps_R in (exact_R, coarse_R)]
    same = float((has_R[0] == has_R[1]).mean())
    return {
        "num_seeds": len(exact_R),
        "converged_share": difference(*has_R),
        "restricted_mean_step": difference(*times_R),
        "share_of_seeds_with_the_same_outcome": same,
    }


if __name__ == "__main__":
    main()
