"""Makes the plan of a sweep for this machine: expands runs, compiles programs, times blocks, forms packs."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from pipeline.counted import counted
from pipeline.imports import without_garbage_collection
from pipeline.planning.open_sweep import kept_packs
from pipeline.planning.own_data import refuse_missing_data
from pipeline.planning.packs import Machine, Pack, Plan, expand, grouped, make_plan
from pipeline.spec.run_config import RunConfig
from pipeline.spec.sweep import SweepSpec
from pipeline.store.pack_store import StoreError
from pipeline.training.calibration import calibrate, chosen_machine
from pipeline.training.memory import refuse_huge_packs, refuse_huge_settings
from pipeline.training.recorded_metrics import refuse_undecidable


def plan_for(
    spec: SweepSpec,
    folder: Path,
    machine: Machine,
    on_phase: Callable[[str], None] = lambda phase: None,
    wanted: Collection[str] | None = None,
) -> Plan:
    """The plan for `spec` in `folder`, with the packs that it already has. Writes nothing to the folder.

    `on_phase` is told what is being done. With `wanted`, run ids of the spec, no others are put into new packs.

    Raises StoreError, field by field, if the folder belongs to a spec that this one does not continue, and in the
    cases of `plan_on`.
    """
    on_phase("planning")
    runs = _by_id(spec)
    kept = kept_packs(spec, runs, folder)
    if wanted is not None:
        chosen = {*wanted, *(run_id for pack in kept for run_id in pack.run_ids)}
        runs = {run_id: config for run_id, config in runs.items() if run_id in chosen}
    return _planned(spec, runs, machine, kept, on_phase)


def plan_on(spec: SweepSpec, machine: Machine) -> Plan:
    """The plan for `spec` in a new folder. Compiles programs and times blocks on this computer where needed.

    Raises StoreError if the spec asks for a compiled program where there can be none, a fork's parents are missing, its
    forks are not all different, or the stopping rule needs what the runs do not record.
    """
    return _planned(spec, _by_id(spec), machine, ())


def _by_id(spec: SweepSpec) -> dict[str, RunConfig]:
    with without_garbage_collection():
        return {config.run_id: config for config in expand(spec)}


def _planned(
    spec: SweepSpec,
    runs: Mapping[str, RunConfig],
    machine: Machine,
    kept: Sequence[Pack],
    on_phase: Callable[[str], None] = lambda phase: None,
) -> Plan:
    refuse_missing_data(spec.name, runs.values())
    refuse_undecidable(spec, runs)
    if spec.fork is not None and not kept:
        _refuse_equal(spec, runs)
    machine, why_device = chosen_machine(spec, runs, machine, kept, on_phase)
    groups = grouped(runs, machine.num_workers, kept)
    refuse_huge_settings(spec, groups, machine.device)
    found = calibrate(groups, spec.resources, machine, max(spec.budgets), on_phase)
    calibrations = {key: replace(calibration, why_device=why_device) for key, calibration in found.items()}
    plan = make_plan(spec, runs, machine, calibrations, kept, groups)
    refuse_huge_packs(plan, machine.device)
    return plan


def _refuse_equal(spec: SweepSpec, runs: Mapping[str, RunConfig]) -> None:
    """Raises StoreError where forks are equal, which would be counted as independent; a sweep file cannot tell."""
    num_different = len({config.draws_id for config in runs.values()})
    if num_different < len(runs):
        raise StoreError(
            f"{spec.name}: {len(runs)} forks are {counted(num_different, 'different run')}: streams, of the parents or "
            "of fork.changes, pins what fork.data_seed seeds"
        )
