"""Extension by one file: a new optimiser and schedule train without other changes; subclasses have no C++ form."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from pipeline.contracts.optimisers import OPTIMISER_CONTRACT
from pipeline.contracts.runs import RUN_CONTRACT
from pipeline.contracts.schedules import SCHEDULE_CONTRACT
from pipeline.engine.program import COST_OF_TORCH, missing_part, preamble_of, written
from pipeline.launch.planned import plan_on
from pipeline.planning.packs import Machine
from pipeline.spec.sweep import SweepSpec
from tests.support import SOURCES, drop_in, tiny, trained

LION, INVERSE_SQRT = SOURCES["pipeline/optimisers/lion.py"], SOURCES["pipeline/schedules/inverse_sqrt.py"]


def losses(folder, optimiser, schedule):
    """(R,) label losses at the budget of a tiny sweep under `engine: auto`, and how its packs were planned."""
    sections = {"optimiser": optimiser, "schedule": schedule, "resources": {"slots": 4}}
    spec = SweepSpec.model_validate(tiny("linear_regression").identity() | sections)
    store = trained(spec, folder)
    return store.history().values["label_loss"][:, -1], {pack["numerics"]["engine"] for pack in store.plan["packs"]}


@pytest.mark.slow
def test_an_optimiser_dropped_in_is_held_to_the_contracts_and_trains(tmp_path, monkeypatch):
    lion = drop_in(monkeypatch, tmp_path, "optimiser", "lion", LION)
    for contract in (OPTIMISER_CONTRACT, RUN_CONTRACT):
        assert list(contract.broken(lion)) == []
    found, engines = losses(tmp_path / "lion", {"name": "lion", "lr": 1e-2}, {"name": "constant"})
    known, _ = losses(tmp_path / "adamw", {"name": "adamw", "lr": 1e-2}, {"name": "constant"})
    assert engines == {"torch"}
    assert np.isfinite(found).all()
    assert (found != known).all()


@pytest.mark.slow
def test_a_schedule_dropped_in_is_held_to_the_contracts_and_trains(tmp_path, monkeypatch):
    schedule = drop_in(monkeypatch, tmp_path, "schedule", "inverse_sqrt", INVERSE_SQRT)
    for contract in (SCHEDULE_CONTRACT, RUN_CONTRACT):
        assert list(contract.broken(schedule)) == []
    adamw = {"name": "adamw", "lr": 1e-2}
    found, engines = losses(tmp_path / "own", adamw, {"name": "inverse_sqrt", "warmup_steps": 2})
    cosine = {"name": "cosine", "warmup_steps": 2, "horizon": 30}
    known, _ = losses(tmp_path / "cosine", adamw, cosine)
    assert engines == {"torch"}
    assert np.isfinite(found).all()
    assert (found != known).all()


def test_parameters_of_an_optimiser_and_a_schedule_may_have_one_name(tmp_path, monkeypatch):
    """Each reads its own: a schedule with a `weight_decay` of 0.5 leaves the optimiser's at 0."""
    source = INVERSE_SQRT.replace(
        "    def after", "    weight_decay: float = vector(0.5, ge=0)\n\n    def after"
    ).replace("\n\n\nclass", "\nfrom pipeline.spec.parameters import vector\n\n\nclass")
    drop_in(monkeypatch, tmp_path, "schedule", "inverse_sqrt", INVERSE_SQRT)
    plain, _ = losses(tmp_path / "a", {"name": "sgd", "lr": 0.1}, {"name": "inverse_sqrt"})
    drop_in(monkeypatch, tmp_path, "schedule", "inverse_sqrt", source)
    same_name, _ = losses(tmp_path / "b", {"name": "sgd", "lr": 0.1}, {"name": "inverse_sqrt"})
    assert np.array_equal(plain, same_name)


SUBCLASSES = {
    "optimiser": ("adamw", "AdamW", "def update(self, *arguments):\n        pass"),
    "schedule": ("cosine", "Cosine", "def shape(self, progress_S1):\n        return 1 - progress_S1"),
    "task": ("linear_regression", "LinearRegression", "def losses(self, predictions, targets):\n        return None"),
    "model": ("linear_self_attention", "LinearSelfAttention", "def predict(self, *arguments):\n        return None"),
}


@pytest.mark.parametrize("kind", SUBCLASSES)
def test_a_subclass_does_not_inherit_the_compiled_form_of_what_it_changes(kind, tmp_path, monkeypatch):
    name, base, method = SUBCLASSES[kind]
    room = f"{kind}s"
    source = f"from pipeline.{room}.{name} import {base}\n\nclass Own({base}):\n    name = 'own'\n\n    {method}\n"
    drop_in(monkeypatch, tmp_path, kind, "own", source)
    part = {"name": "own"} | ({"lr": 0.1} if kind == "optimiser" else {"horizon": 9} if kind == "schedule" else {})
    (config, *_) = SweepSpec.model_validate(tiny("linear_regression").identity() | {kind: part}).runs()
    why = "it cannot be traced: 'NoneType' object "
    whys = {"task": f" ({why}has no attribute 'detach')", "model": f" ({why}is not iterable)"}
    if kind in whys:
        assert missing_part(config) == f"{kind} own{whys[kind]}"
        assert preamble_of(config) is None
    else:
        (ours, *_) = SweepSpec.model_validate(
            tiny("linear_regression").identity() | {kind: part | {"name": name}}
        ).runs()
        assert written(config).texts[kind] != written(ours).texts[kind]
        assert f'{kind.upper()}_HEADER "generated_{kind}.h"' in preamble_of(config)


def test_the_plan_says_in_one_line_what_has_no_compiled_form_and_what_that_costs(tmp_path, monkeypatch):
    drop_in(monkeypatch, tmp_path, "optimiser", "lion", LION.replace(".sign_()", " / grad_SP.norm()"))
    sections = {"optimiser": {"name": "lion", "lr": 0.1}, "resources": {"slots": 2}}
    spec = SweepSpec.model_validate(tiny("linear_regression").identity() | sections)
    (pack, *_) = plan_on(spec, Machine.cpu(1)).packs
    assert pack.reason.count("\n") == 0
    assert "optimiser lion (no C++ is written for aten.sum.dim_IntList across the weights of a run (" in pack.reason
    assert ": direction = (mean * beta1" in pack.reason
    assert "has no compiled form" in pack.reason
    assert "times as fast" in pack.reason


def test_the_cost_that_the_plan_states_is_the_one_that_was_measured():
    measured = json.loads((Path(__file__).parents[2] / "benchmarks" / "results" / "cpu_x86-64-v4.json").read_text())[
        "rows"
    ]
    gains = [row["value"] for row in measured if row["name"] in ("S1", "S3", "S4") and "eager loop" in row["what"]]
    assert f"are {min(gains):.1f} to {max(gains):.0f} times as fast as torch, one run at a time" in COST_OF_TORCH
