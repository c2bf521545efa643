"""Rows of runs as columns: what is put in comes out, whatever is forgotten or added later."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pipeline.stopping.after_convergence import AfterConvergence
from pipeline.training.run_rows import NewRows, RowsByRun, RunRows
from tests.support import rows, tiny, trained


def test_new_rows_are_a_table_with_nulls_where_nothing_was_measured():
    new = NewRows()
    new.add(["a", "b"], [0, 0], ("x", "y"), np.array([[1.0, 2.0], [3.0, math.nan]]))
    new.amend(["a"], [0], ("z",), np.array([[5.0]]))
    new.add(["a"], [10], ("w",), np.array([[4.0]]))
    new.add(["b"], [10], ("w", "x"), np.array([[6.0, 7.0]]))
    table = new.table()
    assert table.column_names == ["run_id", "step", "x", "y", "z", "w"]
    assert table["run_id"].to_pylist() == ["a", "b", "a", "b"]
    assert table["step"].to_pylist() == [0, 0, 10, 10]
    assert table["x"].to_pylist() == [1.0, 3.0, None, 7.0]
    assert table["z"].to_pylist() == [5.0, None, None, None]
    assert table["w"].to_pylist() == [None, None, 4.0, 6.0]
    assert table["y"].null_count == 2
    assert math.isnan(table["y"].to_pylist()[1])


def test_rows_that_are_forgotten_are_gone_and_may_come_again():
    new = NewRows()
    new.add(["a", "b"], [10, 10], ("x",), np.array([[1.0], [2.0]]))
    new.add(["a", "b"], [20, 20], ("late",), np.array([[3.0], [4.0]]))
    new.amend(["a"], [20], ("z",), np.array([[5.0]]))
    new.forget("a", 10)
    new.forget("b", 0)
    assert len(new) == 1
    assert new.table().to_pydict() == {"run_id": ["a"], "step": [10], "x": [1.0]}
    with pytest.raises(KeyError):
        new.amend(["a"], [20], ("z",), np.array([[1.0]]))
    new.add(["a"], [20], ("x",), np.array([[9.0]]))
    assert new.table()["x"].to_pylist() == [1.0, 9.0]


def test_rows_by_run_are_those_that_were_added_whenever_they_are_asked_for():
    start = RunRows()
    start.add(0, ("x",), [0.5])
    asked, late = RowsByRun({"a": start}), RowsByRun({})
    late.add(["a"], [0], ("x",), np.array([[0.5]]))
    for found in (asked, late):
        found.add(["a", "b"], [10, 0], ("x", "y"), np.array([[1.0, 2.0], [3.0, 4.0]]))
        if found is asked:
            assert found["b"].column("y").tolist() == [4.0]
        found.add(["b", "c"], [10, 20], ("y",), np.array([[5.0], [6.0]]))
        with pytest.raises(AssertionError, match="run c: step 20 recorded after step 20"):
            found.add(["c"], [20], ("y",), np.array([[7.0]]))
        found.truncate("b", 0)
        found.truncate("c", 0)
        found.remove(["a"])
        found.add(["b", "c"], [10, 10], ("y",), np.array([[8.0], [9.0]]))
        assert (sorted(found), found.last_steps, "a" in found) == (["b", "c"], {"b": 10, "c": 10}, False)
        assert [found["b"].column("y").tolist(), found["c"].column("y").tolist()] == [[4.0, 8.0], [9.0]]
    untouched = RowsByRun({})
    untouched.add(["a", "b"], [0, 0], ("x",), np.array([[1.0], [2.0]]))
    untouched.remove(["a"])
    assert {run_id: rows.column("x").tolist() for run_id, rows in untouched.items()} == {"b": [2.0]}
    assert "a" not in untouched


def test_columns_of_a_run_are_the_same_whenever_they_are_asked_for():
    asked, late = RunRows(), RunRows()
    for run in (asked, late):
        run.add(0, ("x",), [1.0])
        if run is asked:
            assert np.isnan(run.column("y")).all()
        run.add(10, ("x", "y"), [2.0, 3.0])
        run.amend(10, {"z.a": 4.0})
        run.add(20, ("y",), [5.0])
    for name, expected in {
        "x": [1.0, 2.0, math.nan],
        "y": [math.nan, 3.0, 5.0],
        "z.a": [math.nan, 4.0, math.nan],
    }.items():
        for run in (asked, late):
            assert np.array_equal(run.column(name), expected, equal_nan=True)
            assert np.array_equal(run.columns()[name], expected, equal_nan=True)
    assert asked.recent("y", 2) == [3.0, 5.0]
    assert asked.recent("y", 3) == [3.0, 5.0]
    asked.truncate(10)
    assert asked.column("y").tolist()[1:] == [3.0]
    asked.drop(("z.",))
    assert [*asked.columns()] == ["x", "y"]


def test_a_rule_that_stops_converged_runs_alone_need_not_be_asked_before(tmp_path, monkeypatch):
    common = {
        "budget": 80,
        "seeds": {"together": {"range": [0, 6]}},
        "converged": {"metric": "label_loss", "at_most": 1.4, "evaluations": 2},
        "stopping": {"name": "after_convergence", "evaluations": 1},
        "grid": {"chunk": 10, "eval_items": 16, "probe_items": 8},
    }
    quick = trained(tiny(**common), tmp_path / "a")
    monkeypatch.setattr(AfterConvergence, "stops_converged_alone", False)
    asked = trained(tiny(**common), tmp_path / "b")
    assert quick.history().ends == asked.history().ends
    assert rows(quick) == rows(asked)
    assert {record.ends[run].is_converged for record in quick.newest_records().values() for run in record.ends} == {
        record.ends[run].is_converged for record in asked.newest_records().values() for run in record.ends
    }
    assert "converged" in {end.reason for end in quick.history().ends}
