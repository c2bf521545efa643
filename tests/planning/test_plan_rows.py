"""The runs of a plan, and what is hashed of them, are the same however they are gathered."""

from __future__ import annotations

from dataclasses import asdict

from pipeline.planning.packs import Machine, Numerics, Pack
from pipeline.planning.plan_rows import of_every_setting, rows_of
from pipeline.spec.identity import canonical_json, digest
from pipeline.spec.run_config import RunConfig
from pipeline.store.plans import plan_columns
from pipeline.store.plans.plan_columns import RunColumns
from tests.support import tiny

SPEC = tiny(
    vary=[{"optimiser.lr": [1e-3, 2e-3]}], seeds={"crossed": {"init_seed": [3, 1], "data_seed": [2**63 - 1, 0, 5]}}
)
RUNS = {run.run_id: run for run in SPEC.runs()}


def forks():
    parents = SPEC.runs()[:2]
    return {run.run_id: run for parent in parents for run in parent.forks([10, 20], changes={"batch_size": 8})}


def test_columns_of_many_runs_are_the_rows_of_few(monkeypatch):
    rows = rows_of(RUNS)
    assert isinstance(rows, list)
    monkeypatch.setattr(plan_columns, "FEW_RUNS", 0)
    columns = rows_of(RUNS)
    assert isinstance(columns, RunColumns)
    assert [*columns] == rows
    assert [[*row] for row in columns] == [[*row] for row in rows]
    assert [*columns.at([7, 2, 2])] == [rows[7], rows[2], rows[2]]
    assert RunColumns.of(rows) == columns
    assert RunColumns.of([]) is None


def test_rows_of_forks_have_no_columns(monkeypatch):
    monkeypatch.setattr(plan_columns, "FEW_RUNS", 0)
    rows = rows_of(forks())
    assert isinstance(rows, list)
    assert {"parent", "fork_step", "changes"} <= rows[0].keys()
    assert RunColumns.of(rows) is None


def test_of_every_setting_there_is_its_first_run_whatever_their_order():
    runs = SPEC.runs()
    assert of_every_setting(runs) == [runs[0], runs[6]]
    assert of_every_setting([runs[6], runs[0], runs[7], runs[1]]) == [runs[6], runs[0]]
    assert of_every_setting(forks().values()) == [*forks().values()]


def test_ids_are_hashes_of_canonical_json():
    numerics = Numerics(4, "float32", "cpu", 1, Machine.cpu(1).torch)
    pack = Pack(tuple(RUNS), numerics)
    assert pack.pack_id == digest("pack", canonical_json({"runs": [*RUNS], "numerics": asdict(numerics)}))
    for run in RUNS.values():
        whole = {"data_seed": run.data_seed, "init_seed": run.init_seed, "lineage": None}
        assert run.run_id == digest("run", canonical_json({**whole, "setting": run.setting.as_dict}))
        assert RunConfig(run.setting, run.init_seed, run.data_seed) == run
        assert RunConfig(run.setting, run.init_seed, run.data_seed).run_id == run.run_id
