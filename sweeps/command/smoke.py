"""Smoke versions of a sweep: the same settings and code paths, a few seeds, a few chunks."""

from __future__ import annotations

from typing import Any

from pipeline.spec.sections import GridSpec
from pipeline.spec.sweep import SweepSpec
from pipeline.spec.vary.expansion import BUDGET

_NUM_SEEDS = 3
_NUM_CHUNKS = 4


def smoke(spec: SweepSpec) -> SweepSpec:
    """`spec` with its first seeds and settings, a budget of four chunks, and the default grid and snapshots.

    Runs have converged after four successive evaluations at most, since there are no more; other criteria that ask for
    more are left out. A rule that does not fit this budget, such as one that stops by forecasts, is left out. It tests
    that the sweep runs; its outcomes are meaningless.
    """
    data = spec.identity()
    chunk = min(spec.grid.chunk, 25)
    data["name"] = f"{spec.name[:58]}-smoke"
    data["budget"] = chunk * _NUM_CHUNKS
    data["vary"] = [factor for factor in map(_without_budget, data.get("vary", ())) if factor]
    data["grid"] = {"chunk": chunk, "eval_items": min(spec.grid.eval_items, 64), "probe_items": 32}
    data["snapshots"] = {"states": [0, 2 * chunk]}
    evaluations = min(spec.criterion.evaluations, _NUM_CHUNKS)
    data["converged"] = {**data["converged"], "evaluations": evaluations}
    criteria = data.get("criteria", {})
    data["criteria"] = {name: one for name, one in criteria.items() if one["evaluations"] <= _NUM_CHUNKS}
    if spec.stopping.problems(data["budget"], spec.criterion, GridSpec(**data["grid"]).resolved(data["budget"])):
        del data["stopping"]
    if spec.seeds is not None:
        pairs = spec.seeds.pairs()
        inits, datas = (list(dict.fromkeys(column))[:_NUM_SEEDS] for column in zip(*pairs, strict=True))
        together = spec.seeds.together is not None
        data["seeds"] = {"together": inits} if together else {"crossed": {"init_seed": inits, "data_seed": datas[:2]}}
    else:
        data["fork"]["steps"] = [step for step in data["fork"]["steps"] if step < data["budget"]][:1] or [0]
    return SweepSpec.model_validate(data)


def _without_budget(factor: dict[str, Any]) -> dict[str, Any]:
    """A factor of `vary` that leaves the budget alone; empty if it varies nothing else."""
    if "random" in factor:
        left = {path: drawn for path, drawn in factor["random"].items() if path != BUDGET}
        return {**factor, "random": left} if left else {}
    return {path: values for path, values in factor.items() if path != BUDGET}
