"""Measurements joined to a history, and means, shares and medians over runs."""

from __future__ import annotations

import json
import time

import numpy as np
import pyarrow as pa
import pytest

from analysis.claims.sweeps import Sweeps
from analysis.figures.claims import curve_rows
from analysis.outcomes.measurements import join_measurements, read_measurements
from analysis.uncertainty.estimates import mean_of_runs, median_of_runs, proportion_of_runs
from pipeline.store.history import History, RunEnd, RunInfo
from tests.support import tiny, trained

NAN = np.nan


def runs_of(count):
    return tuple(RunInfo(f"r{r}", "s", r, r, {}) for r in range(count))


def small():
    ends = (RunEnd("budget", 20),) * 3
    return History("small", 20, runs_of(3), ends, np.array([0, 20]), {"loss": np.arange(6.0).reshape(3, 2)})


def test_rows_become_metrics_at_their_steps_and_nothing_else_moves():
    rows = [
        {"run_id": "r2", "step": 20, "cosine": 0.5, "loss/0.5": None},
        {"run_id": "r0", "step": 10, "cosine": 0.25},
    ]
    found = join_measurements(small(), rows)
    assert found.steps_T.tolist() == [0, 10, 20]
    np.testing.assert_array_equal(found.values["loss"], [[0, NAN, 1], [2, NAN, 3], [4, NAN, 5]])
    np.testing.assert_array_equal(found.values["cosine"], [[NAN, 0.25, NAN], [NAN] * 3, [NAN, NAN, 0.5]])
    assert np.isnan(found.values["loss/0.5"]).all()
    assert (found.runs, found.ends) == (small().runs, small().ends)
    assert join_measurements(small(), []).steps_T.tolist() == [0, 20]


def test_a_table_is_joined_as_its_rows_are_and_many_rows_take_no_time():
    runs, ends = runs_of(3000), (RunEnd("budget", 20),) * 3000
    history = History("large", 20, runs, ends, np.array([0, 20]), {"loss": np.ones((3000, 2))})
    columns = {"run_id": [run.run_id for run in runs] * 5, "step": np.repeat([0, 5, 10, 15, 20], 3000)}
    columns |= {f"m{number}": np.arange(15000.0) + number for number in range(40)}
    table = pa.table(columns)
    started = time.process_time()
    found = join_measurements(history, table)
    assert time.process_time() - started < 1
    assert found.values["m7"][2999].tolist() == [3006.0, 6006.0, 9006.0, 12006.0, 15006.0]
    few = table.slice(2990, 20)
    by_rows = join_measurements(history, few.to_pylist())
    by_table = join_measurements(history, few)
    assert by_rows.steps_T.tolist() == by_table.steps_T.tolist() == [0, 5, 20]
    for name, values_RT in by_table.values.items():
        np.testing.assert_array_equal(by_rows.values[name], values_RT)


def test_rows_of_one_place_with_metrics_of_their_own_are_put_together():
    rows = [{"run_id": "r0", "step": 0, "a": 1.0}, {"run_id": "r0", "step": 0, "b": 2.0}]
    found = join_measurements(small(), rows)
    assert (found.values["a"][0, 0], found.values["b"][0, 0]) == (1.0, 2.0)


def test_rows_of_other_runs_and_of_recorded_metrics_are_refused():
    with pytest.raises(ValueError, match="no run r7"):
        join_measurements(small(), [{"run_id": "r7", "step": 0, "cosine": 1.0}])
    with pytest.raises(ValueError, match="records loss already"):
        join_measurements(small(), [{"run_id": "r0", "step": 0, "loss": 1.0}])


def test_sweeps_join_the_files_that_belong_to_them(tmp_path):
    store = trained(tiny(), tmp_path / "tiny")
    rows = [{"run_id": run.run_id, "step": 30, "seed": run.init_seed} for run in store.history().runs]
    (tmp_path / "seed.json").write_text(json.dumps({"rows": rows}))
    assert read_measurements(tmp_path / "seed.json") == rows
    sweeps = Sweeps({"tiny": tmp_path / "tiny", "gone": tmp_path / "gone"}, {"tiny": [tmp_path / "seed.json"]})
    assert sweeps["tiny"].history.values["seed"][:, -1].tolist() == [0, 1, 2, 3]
    assert "seed" not in Sweeps({"tiny": tmp_path / "tiny"})["tiny"].history.values


def test_means_and_medians_leave_out_what_was_not_measured_and_count_infinity_as_large():
    value = np.array([1.0, 2, 6, NAN])
    assert mean_of_runs(value, runs_of(4)).value == pytest.approx(3)
    assert median_of_runs(value, runs_of(4)).value == pytest.approx(2)
    assert median_of_runs(np.array([1.0, 2, np.inf, np.inf, 3]), runs_of(5)).value == pytest.approx(3)
    assert np.isnan(median_of_runs(np.array([1.0, np.inf, np.inf]), runs_of(3)).value)
    for average in (mean_of_runs, median_of_runs, proportion_of_runs):
        assert np.isnan(average(np.full(2, NAN), runs_of(2)).value)
        assert np.isnan(average(np.empty(0), []).value)
    alone = median_of_runs(np.ones(1), runs_of(1))
    assert (alone.value, np.isnan(alone.low)) == (1, True)


def test_intervals_of_means_cover_as_often_as_stated_and_a_unanimous_share_has_one():
    covered = 0
    for trial in range(200):
        found = mean_of_runs(np.random.default_rng(trial).normal(size=40), runs_of(40), bootstrap=300, seed=trial)
        covered += found.low <= 0 <= found.high
    assert 176 <= covered <= 199
    everyone = proportion_of_runs(np.ones(40), runs_of(40))
    assert (everyone.value, everyone.high) == (1, 1)
    assert 0.9 < everyone.low < 0.93


def test_curves_hold_means_and_intervals_at_recorded_steps():
    values = np.array([[1.0, NAN, 3], [2, NAN, NAN], [3, NAN, 5]])
    rows = curve_rows(values, np.array([0, 5, 10]), runs_of(3), kind="rare")
    assert [(row["step"], row["value"], row["kind"]) for row in rows] == [(0, 2, "rare"), (10, 4, "rare")]
    assert all(row["low"] <= row["value"] <= row["high"] for row in rows)
    alone = curve_rows(values[:1], np.array([0, 5, 10]), runs_of(1))
    assert [row["low"] for row in alone] == [None, None]
