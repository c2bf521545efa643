"""A plan of many runs by columns, and a pack's part of it: read as rows, and refused where they are not ours."""

from __future__ import annotations

import pytest

from benchmarks.page.stub_sweep import planned
from pipeline.planning.pack_runs import runs_of_pack
from pipeline.planning.packs import stored_spec
from pipeline.store.documents import PACK_PART
from pipeline.store.formats.sealed import seal, unseal
from pipeline.store.pack_store import StoreError
from pipeline.store.plans import plan_columns
from pipeline.store.sweep_store import SweepStore


@pytest.fixture
def with_parts(tmp_path, monkeypatch):
    monkeypatch.setattr(plan_columns, "FEW_RUNS", 0)
    return planned(tmp_path / "r", 48)


def test_the_runs_of_a_pack_are_read_without_the_plan(with_parts, monkeypatch):
    spec, plan = stored_spec(with_parts), with_parts.plan
    monkeypatch.setattr(SweepStore, "plan", property(lambda store: pytest.fail("the plan was read")))
    for entry in plan["packs"]:
        found = runs_of_pack(with_parts, spec, entry["pack_id"])
        assert [*found.configs] == entry["run_ids"]
        assert found.pack.pack_id == entry["pack_id"]
        assert all(config.run_id == run_id for run_id, config in found.configs.items())
        assert {run.setting_id for run in found.of_every_setting} == plan["settings"].keys()


@pytest.mark.parametrize("damage", ["missing", "flipped", "of another pack", "of other seeds"])
def test_the_plan_is_read_where_a_packs_part_is_not_what_its_ids_say(with_parts, damage):
    spec, (first, second, *_) = stored_spec(with_parts), with_parts.pack_ids()
    expected = runs_of_pack(with_parts, spec, first)
    path = with_parts.pack(first).folder / PACK_PART
    content = path.read_bytes()
    if damage == "missing":
        path.unlink()
    elif damage == "flipped":
        assert b'"init_seeds": "0 ' in content
        path.write_bytes(content.replace(b'"init_seeds": "0 ', b'"init_seeds": "9 ', 1))
    elif damage == "of another pack":
        path.write_bytes((with_parts.pack(second).folder / PACK_PART).read_bytes())
    else:
        body = unseal(content, path)
        body["runs"]["init_seeds"] = "9" + body["runs"]["init_seeds"]
        path.write_bytes(seal(body))
    found = runs_of_pack(with_parts, spec, first)
    assert found.pack == expected.pack
    assert found.configs == expected.configs


def by_column(store):
    """A plan of two settings and forty-eight runs as it is stored, and as it was planned."""
    plan = store.plan
    path = store.folder / store.sweep["plan"]
    return unseal(path.read_bytes(), path), plan


def test_a_plan_of_many_runs_is_stored_by_columns_and_read_as_rows(with_parts, tmp_path, monkeypatch):
    stored, plan = by_column(with_parts)
    monkeypatch.undo()
    rows = planned(tmp_path / "rows", 48).plan
    assert isinstance(rows["runs"], list)
    assert isinstance(stored["runs"], dict)
    assert len({row["setting_id"] for row in rows["runs"]}) > 1
    assert plan["runs"] == rows["runs"]
    assert len(plan["runs"]) == 48
    assert plan["runs"][3] == rows["runs"][3]
    assert [*plan["runs"]] == rows["runs"]
    for pack, expected in zip(plan["packs"], rows["packs"], strict=True):
        assert len(pack["run_ids"]) == len(expected["run_ids"])
        assert pack["run_ids"] == expected["run_ids"]
        assert {**pack, "run_ids": 0} == {**expected, "run_ids": 0}
    assert {name: value for name, value in plan.items() if name not in ("runs", "packs")} == {
        name: value for name, value in rows.items() if name not in ("runs", "packs")
    }
    assert plan_columns.with_columns(rows) is rows
    assert plan_columns.with_columns(rows, of_few=True) == stored
    forks = {**rows, "runs": [{**row, "parent": "p"} for row in rows["runs"]]}
    assert plan_columns.with_columns(forks, of_few=True) is forks


def test_seeds_that_differ_have_a_column_each():
    rows = [{"run_id": f"r{n}", "setting_id": "s", "init_seed": n // 2, "data_seed": 2**63 - 1 - n} for n in range(4)]
    packs = [{"pack_id": "p", "run_ids": ["r2", "r0"]}, {"pack_id": "q", "run_ids": ["r1", "r3"]}]
    stored = plan_columns.with_columns({"settings": {"t": {}, "s": {}}, "runs": rows, "packs": packs}, of_few=True)
    assert stored["runs"]["settings"] == "0"
    assert plan_columns.with_rows(stored)["runs"] == rows
    assert [pack["run_ids"] for pack in plan_columns.with_rows(stored)["packs"]] == [["r2", "r0"], ["r1", "r3"]]


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("run_ids", "../a"),
        ("run_ids", "{second}"),
        ("settings", "99"),
        ("settings", "0 1"),
        ("init_seeds", ""),
        ("init_seeds", "-1"),
        ("init_seeds", "1 2"),
        ("init_seeds", f"{2**63}"),
        ("data_seeds", "x"),
        ("data_seeds", "1" * 5000),
        ("places", "0"),
        ("places", "48"),
        ("places", ""),
    ],
)
def test_columns_of_a_plan_that_are_none_of_ours_are_refused(with_parts, column, value):
    stored, _ = by_column(with_parts)
    if column == "places":
        places = stored["packs"][1]["run_ids"].split(" ")
        stored["packs"][1]["run_ids"] = " ".join([value, *places[1:]])
    elif column == "run_ids":
        _, second, *others = stored["runs"]["run_ids"].split(" ")
        stored["runs"]["run_ids"] = " ".join([value.format(second=second), second, *others])
    else:
        stored["runs"][column] = value
    for folder in (with_parts.folder, with_parts.copies):
        (folder / with_parts.sweep["plan"]).write_bytes(seal(stored))
    with pytest.raises(StoreError, match="not what seedbed writes"):
        _ = [*SweepStore(with_parts.folder).plan["runs"]], [*SweepStore(with_parts.folder).plan["packs"][0]["run_ids"]]


@pytest.mark.parametrize(
    "change",
    [
        lambda stored: stored["packs"].pop(),
        lambda stored: stored["packs"].append(stored["packs"][0]),
        lambda stored: stored["packs"][0].update(run_ids=["a"]),
        lambda stored: stored["runs"].pop("settings"),
        lambda stored: stored["runs"].update(run_ids="a b"),
    ],
)
def test_a_plan_by_columns_of_other_fields_is_refused_when_it_is_read(with_parts, change):
    stored, _ = by_column(with_parts)
    change(stored)
    for folder in (with_parts.folder, with_parts.copies):
        (folder / with_parts.sweep["plan"]).write_bytes(seal(stored))
    with pytest.raises(StoreError, match="not what seedbed writes"):
        _ = SweepStore(with_parts.folder).plan


def test_sweeps_of_few_runs_have_no_parts(tmp_path):
    store = planned(tmp_path / "r", 8)
    assert not [*store.folder.rglob(PACK_PART)]
