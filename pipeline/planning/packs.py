"""Groups runs into packs, with the numerics that fix their rounding.

Pure functions: what a machine can compile and how fast it computes is measured elsewhere and passed in.
"""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from pipeline.own_code.copies import fall_back, is_worker
from pipeline.own_code.imported import OwnCodeError, refused
from pipeline.planning.consent import trust_kept
from pipeline.planning.engine_choice import Calibration, choose, run_step_s
from pipeline.planning.pack_order import begun_in_order, in_turn
from pipeline.planning.plan_rows import of_every_setting, rows_of
from pipeline.spec.budget_steps import BudgetSteps
from pipeline.spec.errors import dotted
from pipeline.spec.identity import canonical_json, digest
from pipeline.spec.messages import spec_problems
from pipeline.spec.reading_names import reading_problems
from pipeline.spec.renamed import present_form
from pipeline.spec.run_config import RunConfig
from pipeline.spec.sweep import STORED, SweepSpec
from pipeline.store.pack_store import StoreError
from pipeline.store.sweep_store import SweepStore

# Names the arithmetic of block, models and optimisers: to be raised with any change of code that changes rounding.
PROGRAM = "query-only.4"
# Upper bound on the runs of a pack, in multiples of its slots.
_RUNS_PER_SLOT = 8


@dataclass(frozen=True)
class Machine:
    """Hardware and library of a launch: device kind, number of packs trained at a time, torch version.

    `cpus`, of a machine with GPUs, are what may be taken instead of them; None where the sweep file names the device.
    """

    device: str
    num_workers: int
    torch: str
    cpus: Machine | None = None

    def on(self, device: str) -> Machine:
        """The part of the machine that is of this kind: itself, or its CPUs."""
        return self.cpus if self.cpus is not None and device == "cpu" else self

    @staticmethod
    def cpu(num_workers: int) -> Machine:
        """CPUs, with the installed version of torch."""
        return Machine("cpu", num_workers, version("torch"))


@dataclass(frozen=True)
class Numerics:
    """What fixes rounding. Under equal numerics a run's weights and history are equal to the bit.

    `engine` is "torch", or names the toolchain of a compiled program, for which results do not depend on the number of
    slots, or the version of Lightning under whose Trainers runs are trained, of which equal bits are not promised.
    `matmul_precision` is how matrix products round: "float32" (or as the dtype does), "tf32" or "bf16".
    """

    slots: int
    dtype: str
    device: str
    threads: int
    torch: str
    program: str = PROGRAM
    engine: str = "torch"
    matmul_precision: str = "float32"


@dataclass(frozen=True)
class Pack:
    """An ordered list of runs of equal static hyperparameters: one LightningModule, one Ray Tune trial.

    `reason` states in words why its numerics were chosen.
    """

    run_ids: tuple[str, ...]
    numerics: Numerics
    reason: str = ""

    @cached_property
    def pack_id(self) -> str:
        """A hash of its runs, in order, and its numerics."""
        # Canonical JSON of both; ids are nothing but text.
        runs = json.dumps(self.run_ids, separators=(",", ":"))
        return digest("pack", f'{{"numerics":{canonical_json(asdict(self.numerics))},"runs":{runs}}}')


@dataclass(frozen=True)
class Plan:
    """All runs of a sweep, by id in declared order, and the packs they are in."""

    spec: SweepSpec
    runs: Mapping[str, RunConfig]
    packs: tuple[Pack, ...]

    @property
    def varied(self) -> tuple[str, ...]:
        """Dotted paths of the hyperparameters that differ between runs."""
        settings = list(self.settings.values())
        paths = dict.fromkeys(path for setting in settings for path in setting)
        return tuple(path for path in paths if len({repr(setting.get(path)) for setting in settings}) > 1)

    @cached_property
    def settings(self) -> dict[str, dict[str, Any]]:
        """setting_id -> its hyperparameters, in declared order."""
        found: dict[str, dict[str, Any]] = {}
        for config in of_every_setting(self.runs.values()):
            found.setdefault(config.setting_id, config.hyperparameters())
        return found

    def _with_settings(self, by_budget: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """What each budget fixes, and the ids of the settings that have it."""
        budget_of = {run.setting_id: self.spec.budget_of(run) for run in of_every_setting(self.runs.values())}
        return [
            {**part, "settings": [setting for setting in self.settings if budget_of[setting] == part["budget"]]}
            for part in by_budget
        ]

    def configs(self, pack: Pack) -> dict[str, RunConfig]:
        """run_id -> config of a pack's runs, in its order."""
        return {run_id: self.runs[run_id] for run_id in pack.run_ids}

    def document(self) -> dict[str, Any]:
        """The body of the plan document; `pipeline.store.budgets` reads what it says of one budget or several."""
        by_budget = [_steps_document(self.spec.steps(budget)) for budget in self.spec.budgets]
        return {
            "name": self.spec.name,
            **(by_budget[0] if len(by_budget) == 1 else {"budgets": self._with_settings(by_budget)}),
            "readings": list(self.spec.reading_names),
            "varied": list(self.varied),
            "settings": self.settings,
            "runs": rows_of(self.runs),
            "packs": [
                {
                    "pack_id": pack.pack_id,
                    "run_ids": list(pack.run_ids),
                    "numerics": asdict(pack.numerics),
                    "reason": pack.reason,
                }
                for pack in self.packs
            ],
        }


@dataclass(frozen=True)
class Group:
    """Runs of one static setting that are in no pack yet, and the number of packs that gives every worker one."""

    run_ids: tuple[str, ...]
    config: RunConfig
    num_packs_wanted: int

    @property
    def most_runs(self) -> int:
        """The most runs in a pack if there are `num_packs_wanted`: an upper bound on useful slots."""
        return math.ceil(len(self.run_ids) / self.num_packs_wanted)


def grouped(runs: Mapping[str, RunConfig], num_workers: int, kept: Sequence[Pack] = ()) -> dict[str, Group]:
    """Static key -> the runs of that static setting that are in no pack of `kept`; `config` is the first of them."""
    placed = {run_id for pack in kept for run_id in pack.run_ids}
    found: dict[str, list[str]] = {}
    for run_id, config in runs.items():
        if run_id not in placed:
            found.setdefault(config.setting.static_key, []).append(run_id)
    wanted = math.ceil(num_workers / max(len(found), 1))
    return {key: Group(tuple(run_ids), runs[run_ids[0]], wanted) for key, run_ids in found.items()}


def make_plan(
    spec: SweepSpec,
    runs: Mapping[str, RunConfig],
    machine: Machine,
    calibrations: Mapping[str, Calibration],
    kept: Sequence[Pack] = (),
    groups: Mapping[str, Group] | None = None,
) -> Plan:
    """The plan for `runs`, which are those of `spec`: `kept` packs as they are, all other runs in new packs.

    `calibrations` maps the static key of every new group of runs to what `machine` can do with it; `groups` are these,
    where they are known. Raises StoreError if the spec asks for a compiled program where there can be none, or for a
    reading that can read no fork's model.
    """
    if spec.fork is not None:
        for _, message, _ in reading_problems(spec.readings or (), True, (run.setting for run in runs.values())):
            raise StoreError(f"{spec.name}: readings: {message}")
    groups = grouped(runs, machine.num_workers, kept) if groups is None else groups
    split = {key: _split(group, runs, spec, machine, calibrations[key]) for key, group in groups.items()}
    expected_s = {
        key: _expected_s(packs[0], groups[key].config, runs, spec, calibrations[key]) if len(split) > 1 else 0.0
        for key, packs in split.items()
    }
    return Plan(spec, runs, (*kept, *begun_in_order(split, expected_s)))


def _expected_s(
    pack: Pack, config: RunConfig, runs: Mapping[str, RunConfig], spec: SweepSpec, calibration: Calibration
) -> float:
    """Seconds that a pack of runs like `config` takes if they all go to their budgets, as far as can be told."""
    starts = (run.lineage.step if (run := runs[run_id]).lineage is not None else 0 for run_id in pack.run_ids)
    steps = sum(spec.budget_of(runs[run_id]) - start for run_id, start in zip(pack.run_ids, starts, strict=True))
    return steps * run_step_s(config, pack.numerics.slots, calibration)


def _split(
    group: Group, runs: Mapping[str, RunConfig], spec: SweepSpec, machine: Machine, calibration: Calibration
) -> list[Pack]:
    """Packs of one static setting: enough for every worker, each of at most a few runs per slot."""
    choice = choose(group.config, group.most_runs, spec.grid.chunk, spec.resources, machine.device, calibration)
    num_runs, slots = len(group.run_ids), choice.slots
    num_packs = min(group.num_packs_wanted, math.ceil(num_runs / slots))
    num_packs = max(num_packs, math.ceil(num_runs / (slots * _RUNS_PER_SLOT)))
    numerics = Numerics(
        slots,
        group.config.dtype,
        machine.device,
        spec.resources.threads,
        machine.torch,
        engine=choice.engine,
        matmul_precision=spec.resources.matmul_precision,
    )
    # Round-robin, so that slow settings and seeds are spread evenly.
    dealt = [group.run_ids[index::num_packs] for index in range(num_packs)]
    if spec.fork is None:
        # A partial look at the sweep is then fair to all settings. Forks stay beside their siblings, which start from
        # the same snapshot.
        dealt = [_ordered(run_ids, runs) for run_ids in dealt]
    return [Pack(run_ids, numerics, choice.reason) for run_ids in dealt]


def _ordered(run_ids: Sequence[str], runs: Mapping[str, RunConfig]) -> tuple[str, ...]:
    """Settings in turn; within each, runs under one data seed side by side, whose batches programs draw once."""
    configs = [runs[run_id] for run_id in run_ids]
    place = {seed: place for place, seed in enumerate(dict.fromkeys([config.data_seed for config in configs]))}
    if len(place) < len(configs):
        configs.sort(key=lambda config: place[config.data_seed])
    if len({id(config.setting) for config in configs}) > 1:
        configs = in_turn(configs, lambda config: config.setting.canonical)
    return tuple([config.run_id for config in configs])


def packs_of(document: Mapping[str, Any]) -> tuple[Pack, ...]:
    """The packs of a plan document."""
    return tuple(Pack(tuple(p["run_ids"]), Numerics(**p["numerics"]), p["reason"]) for p in document["packs"])


def _steps_document(steps: BudgetSteps) -> dict[str, Any]:
    grid = steps.grid
    return {
        "budget": steps.budget,
        "grid": {
            "chunk": grid.chunk,
            "eval_steps": grid.eval_steps_T.tolist(),
            "probe_steps": grid.probe_steps_T.tolist(),
        },
        "windows": [list(window) for window in steps.windows],
    }


def expand(spec: SweepSpec) -> list[RunConfig]:
    """Every run that the spec declares; those of a fork are read from the folder of their parents' sweep.

    Raises StoreError or ValueError where a parent, or its state at a fork step, is missing.
    """
    if spec.fork is None:
        return spec.runs()
    store = SweepStore(Path(spec.fork.sweep))
    parents = expand(stored_spec(store))
    try:
        runs = spec.runs(parents)
    except ValueError as error:
        raise StoreError(f"{spec.name}: {error}") from None
    snapshots, by_id = store.snapshots(), {config.run_id: config for config in parents}
    lineages = [run.lineage for run in runs if run.lineage is not None]
    needed = [run_id for lineage in lineages for run_id in (lineage.parent, *lineage.taken.values())]
    for config in (by_id[run_id] for run_id in dict.fromkeys(needed)):
        start = 0 if config.lineage is None else config.lineage.step
        for step in spec.fork.steps:
            if step < start:
                raise StoreError(f"{store.folder}: run {config.run_id} is a fork itself and starts at step {start}")
            if not config.draws_state_at(step):
                snapshots.require(config.run_id, step)
    return runs


def stored_spec(store: SweepStore) -> SweepSpec:
    """The spec that a results folder was made from; the code of the user's own that it names is imported.

    Raises StoreError where this version cannot read it, or that code is not here or was not run before.
    """
    stored = present_form(store.sweep["spec"])
    _require_allowed(store, stored.get("imports"))
    try:
        return SweepSpec.model_validate(stored, context=STORED)
    except ValidationError as error:
        place, message, _ = spec_problems(error, SweepSpec, stored)[0]
        raise StoreError(
            f"{store.folder / 'sweep.json'}: its spec is not valid: {dotted(place)}: {message}; it is of another "
            "version of seedbed, names parts that are not here, or was changed by something else"
        ) from None


def _require_allowed(store: SweepStore, entries: Any) -> None:
    """Raises StoreError where a results folder names code that this user has not imported before."""
    named = [entry for entry in entries if isinstance(entry, str)] if isinstance(entries, list) else []
    if named and not is_worker():
        # A worker may run nothing but what its driver does, whatever was run on its own computer before.
        trust_kept()
    try:
        fall_back(named, store.folder)
        names = refused(named)
    except (OwnCodeError, OSError, ValueError) as error:
        raise StoreError(f"{store.folder}: its sweep imports code that is not here: {error}") from None
    if names:
        options = " ".join(f"--import {shlex.quote(name)}" for name in names)
        calls = ", ".join(f"pipeline.own_code.imported.load({name!r})" for name in names)
        raise StoreError(
            f"{store.folder}: its sweep imports code that you have not run before, or that has changed since: if you "
            f"trust it, repeat the command with {options}, or in Python first call {calls}"
        )
