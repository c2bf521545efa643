"""Weights that forks take from other runs: which parameter from which run, and what those runs must have in common.

`fork.changes.weights` maps names of parameters to ids of runs of the parents' sweep. At the fork's step a parameter's
weights, their values at step 0 and the optimiser's moments of them are the other run's; everything else is the
parent's: the other parameters, the optimiser's counters, data stream and hyperparameters.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from pipeline.spec.errors import shown
from pipeline.spec.registered import Problem, unknown

if TYPE_CHECKING:
    from pipeline.spec.run_config import RunConfig, Setting

WEIGHTS = "weights"
_RUN_ID = re.compile(r"[0-9a-f]{16}")
_EXAMPLE = "such as {layer0.query: 0123456789abcdef}"


def form_problems(changes: Mapping[str, Any]) -> Iterator[Problem]:
    """What is wrong with `weights` among a fork's changes, whatever its parents are; places inside the changes."""
    for path in changes:
        if path.startswith(f"{WEIGHTS}."):
            name = path.removeprefix(f"{WEIGHTS}.")
            yield (path,), f"give weights as one mapping, weights: {{{name}: RUN}}", changes[path]
    if WEIGHTS not in changes:
        return
    sources = changes[WEIGHTS]
    if not isinstance(sources, Mapping) or not sources:
        message = f"should map names of parameters to ids of runs, {_EXAMPLE}, given {shown(sources)}"
        yield (WEIGHTS,), message, sources
        return
    for name, run_id in sources.items():
        if not isinstance(name, str):
            yield (WEIGHTS, str(name)), f"should be the name of a parameter, given {shown(name)}", name
        if not isinstance(run_id, str) or not _RUN_ID.fullmatch(run_id):
            hint = " (quote it)" if isinstance(run_id, int | float) and not isinstance(run_id, bool) else ""
            yield (WEIGHTS, str(name)), f"should be the id of a run, 16 hex digits, given {shown(run_id)}{hint}", run_id


def parent_problems(sources: Mapping[str, str], parent: RunConfig) -> Iterator[Problem]:
    """What keeps forks of this parent from taking `sources`, parameter -> run id; places inside the changes."""
    if parent.model.own_engine() is not None:
        message = "cannot be taken: a run under a Trainer keeps weights and optimiser in one checkpoint of its own"
        yield (WEIGHTS,), message, dict(sources)
        return
    names = [spec.name for spec in parent.model.parameter_specs(parent.task.shape())]
    for name, run_id in sources.items():
        if name not in names:
            yield (WEIGHTS, name), unknown("parameter", name, names), name
        elif run_id == parent.run_id:
            yield (WEIGHTS, name), "has no effect: this run is the parent itself; leave it out of fork.runs", run_id


def source_problems(sources: Mapping[str, str], parent: RunConfig, known: Mapping[str, RunConfig]) -> Iterator[Problem]:
    """What keeps weights of these runs, all of them `known`, from standing in a state of the parent's."""
    for name, run_id in sources.items():
        difference = _difference(known[run_id].setting, parent.setting)
        if difference is not None:
            path, there, here = difference
            message = (
                f"run {run_id} has {path} {shown(there)}, the parent {shown(here)}: weights and moments are taken "
                "between runs of one task, model, optimiser and dtype alone"
            )
            yield (WEIGHTS, name), message, run_id


def _difference(other: Setting, own: Setting) -> tuple[str, Any, Any] | None:
    """The first of what fixes shape and meaning of a state in which two settings differ: path and both values."""
    for section in ("task", "model", "optimiser"):
        parts = [getattr(setting, section) for setting in (other, own)]
        fields = ("name", *(parts[1].static_fields() if parts[0].name == parts[1].name else ()))
        values = [setting.as_dict[section] for setting in (other, own)]
        for field in fields:
            there, here = (value.get(field) for value in values)
            if there != here:
                return f"{section}.{field}", there, here
    return None if other.dtype == own.dtype else ("dtype", other.dtype, own.dtype)
