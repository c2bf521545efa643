"""The tracked runs of a sweep, and what is fixed about each before its first row. Needs no wandb.

A tracked run is one run of wandb's: job type `run` mirrors a run, `aggregate` a setting, `sweep` the sweep's progress.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.store.budgets import budget_by_run
from pipeline.store.records.record import Record
from pipeline.tracking.labels import groups, run_names, setting_names

REPRESENTATIVES = 5
DEFAULT_MAX_RUNS = 500


@dataclass(frozen=True)
class TrackedRun:
    """A tracked run: what is fixed about it before its first row.

    `run_ids` is one run, all of a setting, or all, with those that equal others.
    """

    tracked_id: str
    name: str
    group: str
    job_type: str
    config: Mapping[str, Any]
    run_ids: tuple[str, ...]


def tracked_runs(
    sweep: Mapping[str, Any],
    plan: Mapping[str, Any],
    max_runs: int | None = None,
    keys: Mapping[str, str] | None = None,
) -> list[TrackedRun]:
    """All tracked runs of a sweep: runs, then an aggregate of every setting of several runs, then the sweep itself.

    `keys` maps each run to a key that equal runs share (see `draw_keys`; None: all differ). An aggregate is over
    different runs: of equal ones that which counts (see `run_that_counts`). The progress of a sweep counts what is
    trained, so all of them.

    Detail `runs`: every run. `aggregates`: representatives, five runs a setting, evenly spaced in order of run_id,
    fewer where that makes more than `max_runs` in all. `auto`: `runs` up to `max_runs` runs (None: as the spec says).
    """
    tracking = sweep["spec"]["tracking"]
    most = tracking.get("max_runs", DEFAULT_MAX_RUNS) if max_runs is None else max_runs
    rows_of: dict[str, list[Mapping[str, Any]]] = {}
    for row in plan["runs"]:
        rows_of.setdefault(row["setting_id"], []).append(row)
    chosen: Sequence[Mapping[str, Any]] = plan["runs"]
    if tracking["detail"] == "aggregates" or (tracking["detail"] == "auto" and len(plan["runs"]) > most):
        count = min(REPRESENTATIVES, most // len(rows_of))
        chosen = [row for rows in rows_of.values() for row in representatives(rows, count)]
    names, words, budgets = run_names(plan), groups(plan), budget_by_run(plan)
    packs = {run_id: pack for pack in plan["packs"] for run_id in pack["run_ids"]}
    found = [
        _run(sweep, plan, row, packs[row["run_id"]], names[row["run_id"]], words[row["setting_id"]], budgets)
        for row in chosen
    ]
    short = setting_names(plan)
    for setting_id, rows in rows_of.items():
        if len(rows) > 1 or len(chosen) < len(plan["runs"]):
            ids = [row["run_id"] for row in rows]
            num_distinct = len(ids) if keys is None else len({keys[run_id] for run_id in ids})
            name = "-".join(filter(None, (short[setting_id], f"all{num_distinct}")))
            found.append(
                _aggregate(sweep, plan, setting_id, tuple(ids), num_distinct, name, words[setting_id], budgets)
            )
    return [*found, _whole(sweep, plan)]


def representatives(rows: Sequence[Mapping[str, Any]], count: int) -> list[Mapping[str, Any]]:
    """`count` of a setting's runs, all if there are fewer: evenly spaced in order of run_id, which is a hash."""
    ordered = sorted(rows, key=lambda row: str(row["run_id"]))
    if count >= len(ordered):
        return ordered
    return [ordered[(2 * index + 1) * len(ordered) // (2 * count)] for index in range(count)]


def with_attempt(tracked: TrackedRun, record: Record) -> dict[str, Any]:
    """The config of a run when its first rows are written: with the attempt and the processor that computed them."""
    return {
        **tracked.config,
        "attempt": record.attempt,
        "hardware": {**tracked.config["hardware"], **({"processor": record.processor} if record.processor else {})},
    }


def _run(
    sweep: Mapping[str, Any],
    plan: Mapping[str, Any],
    row: Mapping[str, Any],
    pack: Mapping[str, Any],
    name: str,
    group: str,
    budgets: Mapping[str, int],
) -> TrackedRun:
    own = {key: value for key, value in row.items() if key != "setting_id"}
    if row.get("parent") is not None:
        own["fork_of"] = f"{row['parent']} at step {row['fork_step']}"
    own |= {"pack": pack["pack_id"], "numerics": dict(pack["numerics"])}
    return TrackedRun(
        tracked_id=f"{sweep['sweep_id']}-{row['run_id']}",
        name=name,
        group=group,
        job_type="run",
        config=_config(sweep, plan, row["setting_id"], budgets[row["run_id"]]) | own,
        run_ids=(row["run_id"],),
    )


def _aggregate(
    sweep: Mapping[str, Any],
    plan: Mapping[str, Any],
    setting_id: str,
    run_ids: tuple[str, ...],
    num_distinct: int,
    name: str,
    group: str,
    budgets: Mapping[str, int],
) -> TrackedRun:
    equal = {"num_equal_runs": len(run_ids) - num_distinct} if num_distinct < len(run_ids) else {}
    # The number is part of the id: a sweep extended by seeds has other aggregates, and written rows stay final.
    return TrackedRun(
        tracked_id=f"{sweep['sweep_id']}-{setting_id}-{num_distinct}",
        name=name,
        group=group,
        job_type="aggregate",
        config=_config(sweep, plan, setting_id, budgets[run_ids[0]]) | {"num_runs": num_distinct} | equal,
        run_ids=run_ids,
    )


def _whole(sweep: Mapping[str, Any], plan: Mapping[str, Any]) -> TrackedRun:
    own = {"num_runs": len(plan["runs"]), "num_settings": len(plan["settings"]), "varied": list(plan["varied"])}
    return TrackedRun(
        tracked_id=f"{sweep['sweep_id']}-sweep",
        name=sweep["name"],
        group=sweep["name"],
        job_type="sweep",
        config=_made_with(sweep) | own,
        run_ids=tuple(row["run_id"] for row in plan["runs"]),
    )


def _config(sweep: Mapping[str, Any], plan: Mapping[str, Any], setting_id: str, budget: int) -> dict[str, Any]:
    """Nested by section: wandb's filters read a dot in a key as a path."""
    config = {**_made_with(sweep), "setting_id": setting_id, "budget": budget}
    for path, value in plan["settings"][setting_id].items():
        section, _, name = path.partition(".")
        if name:
            config.setdefault(section, {})[name] = value
        else:
            config[section] = value
    return config


def _made_with(sweep: Mapping[str, Any]) -> dict[str, Any]:
    """What the runs of a sweep share: how they are judged and ended, and what the newest launch computes them with.

    Of git the commit alone: no address of a repository, which may hold a token, and nothing of the environment.
    """
    launch, spec = sweep["launches"][-1], sweep["spec"]
    described = launch.get("git_commit") or ""
    return {
        "sweep_id": sweep["sweep_id"],
        "sweep": sweep["name"],
        "converged_when": dict(spec["converged"]),
        "stopping": dict(spec["stopping"]),
        "git": {"commit": described.removesuffix("-dirty") or None, "dirty": described.endswith("-dirty")},
        "versions": dict(launch["versions"]),
        "hardware": dict(launch["hardware"]),
    }
