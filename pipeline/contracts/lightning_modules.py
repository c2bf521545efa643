"""What holds of a LightningModule that is trained in a pack, with its keywords, on a task.

1. It trains: in ten steps every parameter that is trained moves, and none becomes infinite or NaN.
2. A pack moves it as a Trainer does: after ten steps on the same batches weights agree, unless it draws noise.
3. A pack evaluates it as `Trainer.validate` does: under the same names, to the same numbers.
4. `load_from_checkpoint` gives back the weights of a run.
5. A run has the same bits in every slot, beside any neighbours, and trained in pieces.
6. A sweep that is interrupted and resumed has the bits of one that is not, and a replay meets all of them again.

Of one that needs a Trainer, for which `trainer: true` stands in its section, clauses 2, 3 and 5 say nothing, and clause
6 says that its hooks keep nothing that is in no checkpoint.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor

from pipeline.contracts.contract import BrokenClauseError, Case, Contract, require
from pipeline.contracts.runs import RUN_CONTRACT, spec_of
from pipeline.contracts.small_sweeps import by_default
from pipeline.engine.block import Block, to_host
from pipeline.engine.trainer_block import TrainerBlock
from pipeline.models._lightning import Lightning
from pipeline.models._module_checks import agree
from pipeline.spec.registered import declared
from pipeline.spec.run_config import RunConfig
from pipeline.spec.sweep import SweepSpec
from pipeline.tasks.base import TASKS
from pipeline.training.checkpoint import checkpoint_of

_NUM_STEPS, _NUM_ITEMS, _FEW_ITEMS = 10, 32, 8
_CPU = torch.device("cpu")


@dataclass(frozen=True)
class ModuleSetting:
    """The sections of a sweep file under which a module is tried: task, model, and more where they are not small."""

    sections: Mapping[str, Any]

    @property
    def needs_trainer(self) -> bool:
        """Whether its section says so."""
        return "trainer" in self.sections["model"]

    def run(self, **changes: Any) -> RunConfig:
        """The first of its runs."""
        model = {**self.sections["model"], **changes.pop("model", {})}
        return spec_of(sections={**self.sections, "model": model}, vary=[], **changes).runs()[0]


def _trained(setting: ModuleSetting, **changes: Any) -> Block:
    run = setting.run(**changes)
    block = TrainerBlock(run, _CPU) if setting.needs_trainer else Block(run, 1, _CPU)
    block.load_run(0, run, block.start(run))
    block.train(_NUM_STEPS)
    return block


def _check_1_what_is_trained_moves(setting: ModuleSetting) -> None:
    block = _trained(setting)
    require(block.is_finite()[0], f"weights or loss are not finite after {_NUM_STEPS} steps")
    before = block.layout.views(block.initial_SP)
    for spec in block.layout.specs:
        is_moved = not torch.equal(block.parameters[spec.name][0].detach(), before[spec.name][0])
        require(is_moved or not spec.trainable, f"parameter {spec.name} is where it was after {_NUM_STEPS} steps")


def _check_2_a_pack_moves_it_as_a_trainer_does(setting: ModuleSetting) -> None:
    if setting.needs_trainer:
        return
    told = _difference_from_a_trainer(setting)
    if told is not None:
        # Where a gradient is 0 but for rounding, as of a bias before batch norm, Adam's steps are as long as elsewhere
        # and go where rounding says. In float64 what it divides by is larger than such a gradient.
        try:
            is_rounding = _difference_from_a_trainer(setting, dtype="float64") is None
        except RuntimeError:
            # It makes tensors of float32 by itself.
            is_rounding = False
        require(is_rounding, told)


def _difference_from_a_trainer(setting: ModuleSetting, **changes: Any) -> str | None:
    """A weight that differs after some steps in a pack from a Trainer's; None if none does, or noise was drawn."""
    block = _trained(setting, **changes)
    if "noise" in block.keys:
        return None
    theirs = TrainerBlock(setting.run(model={"trainer": True}, **changes), _CPU)
    theirs.train(_NUM_STEPS)
    for name, value in theirs.parameters.items():
        if name in block.parameters and not agree(block.parameters[name][0].detach(), value[0].detach()):
            return f"{name} differs by up to {_largest(block.parameters[name][0] - value[0]):.2g}"
    return None


def _check_3_a_pack_evaluates_it_as_a_trainer_does(setting: ModuleSetting) -> None:
    if setting.needs_trainer or not setting.run().model.builder.has_validation():  # type: ignore[attr-defined]
        return
    ours, theirs = (
        to_host(block.evaluate(_FEW_ITEMS))[0]
        for block in (Block(setting.run(), 1, _CPU), TrainerBlock(setting.run(model={"trainer": True}), _CPU))
    )
    require(ours.keys() == theirs.keys(), f"metrics are {', '.join(ours)}, and by Trainer.validate {', '.join(theirs)}")
    for name, value in ours.items():
        told = f"{name} is {float(value[0])!r}, and by Trainer.validate {float(theirs[name][0])!r}"
        require(agree(torch.from_numpy(value), torch.from_numpy(theirs[name])), told)


def _check_4_a_checkpoint_gives_it_back(setting: ModuleSetting) -> None:
    block = _trained(setting)
    run, model = block.template, block.template.model
    assert isinstance(model, Lightning)
    own = model.own_module({name: value[0].detach() for name, value in block.parameters.items()})
    loaded: Any = model.own_class
    again = loaded.load_from_checkpoint(io.BytesIO(checkpoint_of(own, run, _NUM_STEPS)), weights_only=True)
    found = again.state_dict()
    for name, value in own.state_dict().items():
        require(torch.equal(found[name], value), f"{name} is another after load_from_checkpoint")


def _check_5_a_run_is_the_same_in_every_slot_and_in_pieces(setting: ModuleSetting) -> None:
    if not setting.needs_trainer:
        for check in RUN_CONTRACT.checks[:2]:
            check({"sections": setting.sections})


def _check_6_resumed_and_replayed_runs_have_the_bits_of_uninterrupted_ones(setting: ModuleSetting) -> None:
    RUN_CONTRACT.checks[2]({"sections": setting.sections})


def _largest(difference: Tensor) -> float:
    return float(difference.detach().abs().max())


def settings_of(spec: SweepSpec) -> dict[type, list[ModuleSetting]]:
    """Class -> the settings, one for each of its models, in which the runs of a sweep have LightningModules."""
    found: dict[type, dict[str, ModuleSetting]] = {}
    for setting in spec.expanded_settings:
        if isinstance(setting.model, Lightning):
            model = declared(setting.model)
            grid = {
                "chunk": 10,
                "eval_items": min(_NUM_ITEMS, spec.grid.eval_items),
                "probe_items": min(_NUM_ITEMS, spec.grid.probe_items),
            }
            sections = {
                "task": declared(setting.task),
                "model": model,
                "batch_size": setting.batch_size,
                "dtype": setting.dtype,
                "grid": grid,
            }
            found.setdefault(setting.model.own_class, {}).setdefault(repr(model), ModuleSetting(sections))
    return {cls: list(of_class.values()) for cls, of_class in found.items()}


def _cases_in(settings: Mapping[type, Sequence[ModuleSetting]], cls: type) -> list[Case]:
    cases = []
    for setting in settings[cls]:
        own = {name: value for name, value in setting.sections["model"].items() if name not in Lightning.model_fields}
        shown = ", ".join(f"{name} {value}" for name, value in own.items() if name != "name")
        cases.append(Case(f"with {shown}" if shown else "", (setting,)))
    return cases


def _cases_by_default(entry: str, cls: type) -> list[Case]:
    """On the first task of seedbed that it suits with the defaults of its keywords, in a pack or else by Trainers."""
    refused: dict[str, None] = {}
    for more in ({}, {"trainer": True}):
        for name, task in TASKS.items():
            model = {"name": "lightning", "module": f"{entry}:{cls.__name__}", **more}
            for small in (task.tiny(), by_default(task)):
                setting = ModuleSetting({"task": declared(small), "model": model, "batch_size": 8})
                try:
                    setting.run()
                except ValidationError as error:
                    # A task for models of another kind says nothing of this one.
                    refused |= dict.fromkeys(one["msg"] for one in error.errors() if one["loc"] != ("model", "name"))
                else:
                    return [Case(f"on task {name}{', under a Trainer' if more else ''}", (setting,))]
    raise BrokenClauseError(
        f"it suits no task of seedbed with the defaults of its keywords ({next(iter(refused))}); hold it to the task "
        "of a sweep by `seedbed check SWEEP.yaml`"
    )


def lightning_contract(settings: Mapping[type, Sequence[ModuleSetting]] | None, entry: str = "") -> Contract:
    """The contract of LightningModules in these settings, or of those of a file, `entry`, with their defaults."""
    cases = partial(_cases_by_default, entry) if settings is None else partial(_cases_in, settings)
    return Contract(
        __doc__ or "",
        (
            _check_1_what_is_trained_moves,
            _check_2_a_pack_moves_it_as_a_trainer_does,
            _check_3_a_pack_evaluates_it_as_a_trainer_does,
            _check_4_a_checkpoint_gives_it_back,
            _check_5_a_run_is_the_same_in_every_slot_and_in_pieces,
            _check_6_resumed_and_replayed_runs_have_the_bits_of_uninterrupted_ones,
        ),
        cases,
    )
