"""Tables measured after training: joined to the history, replacing nothing, whole or told to be damaged."""

from __future__ import annotations

import contextlib

import numpy as np
import pyarrow as pa
import pytest

from pipeline.store.added import AddedTable, add_table, added_tables
from pipeline.store.files import CorruptFileError
from pipeline.store.pack_store import StoreError
from tests.store.crashes import CrashError, crash_points
from tests.support import rows, tiny, trained

ABOUT = {"reading": "test", "version": "1"}


def table_of(run_ids, steps, **columns):
    return pa.table({"run_id": list(run_ids), "step": pa.array(list(steps), pa.int64()), **columns})


def test_a_table_becomes_metrics_that_are_no_curves_and_recorded_values_stay(tmp_path):
    store = trained(tiny(), tmp_path / "r")
    before = store.history()
    ids = [run.run_id for run in before.runs]
    table = table_of(ids[:2] * 2, [0, 0, 15, 15], probe_loss=[7.0] * 4, **{"new.x": [1.0, 2.0, None, 4.0]})
    add_table(store.folder, AddedTable("new", table, ABOUT))
    history = store.history()
    assert history.steps_T.tolist() == [0, 1, 2, 5, 10, 15, 20, 30]
    x_RT = history.values["new.x"]
    assert x_RT[:2, 0].tolist() == [1.0, 2.0]
    assert np.isnan(x_RT[0, 5])
    assert x_RT[1, 5] == 4.0
    assert np.count_nonzero(~np.isnan(x_RT)) == 3
    # What was recorded stands; the table's values are where nothing was.
    kept_T = history.steps_T != 15
    for name, values_RT in before.values.items():
        np.testing.assert_array_equal(history.values[name][:, kept_T], values_RT)
    assert history.values["probe_loss"][:2, 5].tolist() == [7.0, 7.0]
    assert history.readings >= {"new.x", "probe_loss"}
    assert "new.x" not in history.window(0.5).curves


def test_a_table_of_the_same_name_takes_the_place_of_the_former_and_others_stay(tmp_path):
    for number in (1.0, 2.0):
        add_table(tmp_path, AddedTable("one", table_of(["a"], [0], **{"one.x": [number]}), ABOUT))
        add_table(tmp_path, AddedTable("one-more", table_of(["a"], [0], **{"more.x": [number]}), ABOUT))
    add_table(tmp_path, AddedTable("one", table_of(["a"], [0], **{"one.x": [2.0]}), ABOUT))
    assert len(list((tmp_path / "added").iterdir())) == 4
    found = {added.name: added for added in added_tables(tmp_path)}
    assert found["one"].table["one.x"].to_pylist() == found["one-more"].table["more.x"].to_pylist() == [2.0]
    assert found["one"].metrics == ("one.x",)
    assert found["one"].about == ABOUT


@pytest.mark.parametrize("point", range(8))
def test_a_crash_while_a_table_is_written_leaves_the_former_one_or_the_new_one(point, tmp_path, monkeypatch):
    add_table(tmp_path, AddedTable("one", table_of(["a"], [0], x=[1.0]), ABOUT))
    with monkeypatch.context() as patch:
        crash_points(patch, point)
        with contextlib.suppress(CrashError):
            add_table(tmp_path, AddedTable("one", table_of(["a"], [0], x=[2.0]), ABOUT))
    (added,) = added_tables(tmp_path)
    assert added.table["x"].to_pylist() in ([1.0], [2.0])
    add_table(tmp_path, AddedTable("one", table_of(["a"], [0], x=[3.0]), ABOUT))
    assert len(list((tmp_path / "added").glob("*.parquet"))) == 1


def test_a_damaged_table_is_named_and_without_its_files_the_history_is_the_recorded_one(tmp_path):
    store = trained(tiny(seeds={"together": [0]}), tmp_path / "r")
    recorded, run_id = rows(store), store.plan["runs"][0]["run_id"]
    path = add_table(store.folder, AddedTable("one", table_of([run_id], [0], x=[1.0]), ABOUT))
    content = path.read_bytes()
    path.write_bytes(content[:-9] + bytes(9))
    with pytest.raises(CorruptFileError, match=path.name):
        store.history()
    index = path.parent / "one.json"
    path.write_bytes(content)
    sealed = index.read_text()
    index.write_text(sealed.replace('"version": "1"', '"version": "2"'))
    with pytest.raises(CorruptFileError, match=r"one\.json"):
        store.history()
    for file in path.parent.iterdir():
        file.unlink()
    assert rows(store) == recorded


def test_a_cost_without_the_step_at_which_it_arose_is_refused(tmp_path):
    add_table(tmp_path, AddedTable("one", table_of(["a"], [0], x=[1.0]), {"cost": 0.1}))
    with pytest.raises(CorruptFileError, match="a cost, and no step"):
        list(added_tables(tmp_path))


@pytest.mark.parametrize(
    "table",
    [
        table_of(["a", "a"], [0, 0], x=[1.0, 2.0]),
        table_of(["a"], [0]),
        table_of([], [], x=pa.array([], pa.float64())),
        pa.table({"step": [0], "run_id": ["a"], "x": [1.0]}),
    ],
    ids=["twice", "no metric", "no row", "other order"],
)
def test_a_table_that_cannot_be_joined_is_refused(table, tmp_path):
    with pytest.raises(ValueError, match="every run and step once"):
        add_table(tmp_path, AddedTable("one", table, ABOUT))
    with pytest.raises(ValueError, match=r"'\.\./one'"):
        add_table(tmp_path, AddedTable("../one", table_of(["a"], [0], x=[1.0]), ABOUT))


def test_a_table_of_another_sweep_is_refused_by_the_history(tmp_path):
    store = trained(tiny(seeds={"together": [0]}), tmp_path / "r")
    add_table(store.folder, AddedTable("one", table_of(["f" * 16], [0], x=[1.0]), ABOUT))
    with pytest.raises(StoreError, match="'one' is of runs that the sweep does not have: ffff"):
        store.history()
