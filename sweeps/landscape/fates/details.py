"""What the page quotes on fates beside the claims: commit times, and shares by step of forks and of mixtures."""

from __future__ import annotations

from typing import Any

import numpy as np

from analysis.claims.sweeps import Sweeps
from analysis.dynamics.walsh import walsh_spectrum
from analysis.uncertainty.intervals import Estimate, wilson
from analysis.uncertainty.student import mean_over_units
from pipeline.arrays import Floats
from sweeps.landscape.fates.measures import (
    Exchange,
    exchanges,
    forked_fates,
    joint_effects_by_pair,
    main_effects_by_pair,
    mixture_shares_by_pair,
    slow_down_by_pair,
)
from sweeps.landscape.fates.study import FIRST_FATES, FURTHER_FATES, PARTS


def details_of_fates(sweeps: Sweeps) -> dict[str, Any]:
    """Of each parent its time, the share of forks in time by step, and when it commits; what states fix, by step."""
    found = forked_fates(sweeps)
    by_step = [found.variance(step) for step in found.steps_S.tolist()]
    return {
        "steps": found.steps_S.tolist(),
        "forks of each parent at a step": found.num_forks,
        "parents": [
            {"time": float(time), "share in time": share_S.tolist(), "committed from": commit.to_json()}
            for time, share_S, commit in zip(found.time_P, found.early_PS, found.commit_times(), strict=True)
        ],
        "variance fixed by the state": [at.init.to_json() for at in by_step],
        "without the slowest parent": [at.init_without_slowest.to_json() for at in by_step],
    }


def details_of_all_fates(sweeps: Sweeps) -> dict[str, Any]:
    """Of all parents under the data streams that all have: by step who is committed from there or before."""
    found = forked_fates(sweeps, (FIRST_FATES, FURTHER_FATES))
    times_P, steps = np.array([time.value for time in found.commit_times()]), found.steps_S.tolist()
    return {
        "steps": steps,
        "parents": len(times_P),
        "forks of each parent at a step": found.num_forks,
        "committed from this step or before": [
            wilson(int((times_P <= step).sum()), len(times_P)).to_json() for step in steps
        ],
        "variance fixed by the state": [found.variance(step).init.to_json() for step in steps],
    }


def details_of_exchanges(sweeps: Sweeps) -> list[dict[str, Any]]:
    """A row for each step: what returns, shares by part and order, and how much slower mixtures are; over pairs."""
    found = exchanges(sweeps)
    return [_at_step(found, step) for step in found[0].steps_S.tolist()]


def _at_step(found: list[Exchange], step: int) -> dict[str, Any]:
    effects_PG, last = main_effects_by_pair(found, step), len(PARTS)
    slower = mean_over_units(slow_down_by_pair(found, step))
    time_PC = np.array([each.at(step).mean(0) for each in found])
    return {
        "step": step,
        "pairs": len(found),
        "returns": _mean(np.array([walsh_spectrum(each.at(step)).returning().value for each in found])),
        "main effects": {name: _mean(effects_PG[:, g]) for g, name in enumerate(PARTS)},
        "interactions of two": {name: _mean(share_P) for name, share_P in joint_effects_by_pair(found, step).items()},
        "order 1": _mean(mixture_shares_by_pair(found, step, 1, 1)),
        "order 2": _mean(mixture_shares_by_pair(found, step, 2, 2)),
        "order 3 and 4": _mean(mixture_shares_by_pair(found, step, 3, last)),
        "time of mixtures / of unmixed runs": Estimate(*np.exp([slower.value, slower.low, slower.high])).to_json(),
        "mixtures slower than both": _mean((time_PC[:, 1:-1] > time_PC[:, [0, -1]].max(1, keepdims=True)).mean(1)),
        "times of fast and slow runs": np.exp(time_PC[:, [0, -1]].mean(0)).tolist(),
    }


def _mean(value_P: Floats) -> list[float | None]:
    return mean_over_units(value_P).to_json()
