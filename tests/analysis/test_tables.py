"""Tables of a sweep agree with its store, cell by cell, in every format that they are written in."""

from __future__ import annotations

import csv
import importlib.util
import json
import re
from pathlib import Path

import duckdb
import marimo
import numpy as np
import pandas
import pyarrow.parquet
import pytest
import xarray
from rich.console import Console
from typer.testing import CliRunner

from analysis.figures.plot import curves
from analysis.forecasting.folds import held_out_seeds
from analysis.outcomes.outcomes import decide_outcomes
from analysis.tables.metric_table import joined_table
from analysis.tables.run_table import OWN_COLUMNS
from analysis.tables.sweep import Sweep, imported
from pipeline.planning.packs import stored_spec
from pipeline.store.pack_store import StoreError
from pipeline.store.stored_forecast import StoredForecast
from pipeline.training.open_pack import open_pack
from sweeps.cli.__main__ import app
from sweeps.command.analysing import run_analyse
from tests.support import opened, tiny, trained

ROOT = Path(__file__).resolve().parents[2]
CHANGES = {
    "vary": [{"optimiser.lr": [3e-3, 1e-1], "budget": [30, 20]}],
    "converged": {"metric": "label_accuracy", "at_least": 0.3, "evaluations": 1},
}


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    return Sweep(trained(tiny(**CHANGES), tmp_path_factory.mktemp("tables") / "r").folder)


def test_each_run_has_a_row_with_its_seeds_hyperparameters_and_outcome(sweep):
    rows = {row["run_id"]: row for row in sweep.runs().to_pylist()}
    assert list(rows) == [row["run_id"] for row in sweep.store.plan["runs"]]
    criterion = stored_spec(sweep.store).criterion
    for history in sweep.store.histories():
        outcomes = decide_outcomes(history, criterion)
        for r, run in enumerate(history.runs):
            row = rows[run.run_id]
            assert (row["init_seed"], row["data_seed"], row["budget"]) == (run.init_seed, run.data_seed, history.budget)
            assert {path: row[path] for path in run.hyperparameters} == run.hyperparameters
            found = (row["outcome"], row["outcome_after"], row["outcome_by"], row["end"], row["last_step"])
            end = history.ends[r]
            assert found == (outcomes.kind_R[r], outcomes.lower_R[r], outcomes.upper_R[r], end.reason, end.step)
    assert {row["optimiser.lr"] for row in rows.values()} == {3e-3, 1e-1}
    assert len({row["setting"] for row in rows.values()}) == 2


def test_every_recorded_value_is_one_cell_and_no_other(sweep):
    table = sweep.metrics()
    cells = {
        (row["run_id"], row["step"], name): value
        for row in table.to_pylist()
        for name, value in row.items()
        if name not in ("run_id", "step") and value is not None
    }
    expected = {
        (run.run_id, int(step), name): values_RT[r, t]
        for history in sweep.store.histories()
        for name, values_RT in history.values.items()
        for r, run in enumerate(history.runs)
        for t, step in enumerate(history.steps_T)
        if not np.isnan(values_RT[r, t])
    }
    assert cells == expected
    order = [
        (run_id, step) for run_id, step in zip(*table.select(["run_id", "step"]).to_pydict().values(), strict=True)
    ]
    place = {row["run_id"]: number for number, row in enumerate(sweep.store.plan["runs"])}
    assert order == sorted(order, key=lambda pair: (place[pair[0]], pair[1]))


def test_metrics_and_steps_can_be_chosen(sweep):
    table = sweep.metrics(["label_loss"], steps=[10, 20])
    assert table.column_names == ["run_id", "step", "label_loss"]
    assert set(table["step"].to_pylist()) == {10, 20}
    assert table["label_loss"].null_count == 0
    with pytest.raises(StoreError, match=r"no metric 'loss'.*label_loss"):
        sweep.metrics(["loss"])


def test_joined_rows_carry_the_columns_of_their_run(sweep):
    runs = {row["run_id"]: row for row in sweep.runs().to_pylist()}
    joined = sweep.table(["label_loss"])
    assert set(joined.column_names) == {*sweep.runs().column_names, "step", "label_loss"}
    for row in joined.to_pylist():
        assert {name: row[name] for name in runs[row["run_id"]]} == runs[row["run_id"]]
    metrics = sweep.metrics(["label_loss"])
    clash = metrics.rename_columns(["run_id", "step", "outcome"])
    with pytest.raises(StoreError, match="outcome; ask for the two tables apart"):
        joined_table(clash, sweep.runs())


def test_data_frames_and_arrays_hold_the_same_numbers(sweep):
    losses = sweep.table(["label_loss"])["label_loss"].to_numpy()
    assert np.array_equal(sweep.to_pandas(["label_loss"])["label_loss"].to_numpy(), losses)
    assert np.array_equal(sweep.to_polars(["label_loss"])["label_loss"].to_numpy(), losses)
    dataset = sweep.to_xarray(["label_loss"])
    for history in sweep.store.histories():
        for r, run in enumerate(history.runs):
            own = dataset["label_loss"].sel(run=run.run_id)
            for t, step in enumerate(history.steps_T):
                value = history.values["label_loss"][r, t]
                if not np.isnan(value):
                    assert float(own.sel(step=int(step))) == value
            assert int(own["init_seed"]) == run.init_seed
    assert dataset.attrs["seedbed.table_format"] == "1"


def test_every_file_format_holds_the_same_tables(sweep, tmp_path):
    found = CliRunner().invoke(
        app, ["export", str(sweep.store.folder), "--parquet", "--csv", "--zarr", "--out", str(tmp_path)]
    )
    assert found.exit_code == 0, found.output
    assert pyarrow.parquet.read_table(tmp_path / "runs.parquet").equals(sweep.runs())
    assert pyarrow.parquet.read_schema(tmp_path / "runs.parquet").metadata[b"seedbed.table_format"] == b"1"
    with (tmp_path / "runs.csv").open() as file:
        assert [row["run_id"] for row in csv.DictReader(file)] == sweep.runs()["run_id"].to_pylist()
    metrics = pandas.read_csv(tmp_path / "metrics.csv")
    expected = sweep.metrics()["label_loss"].to_numpy()
    assert np.array_equal(metrics["label_loss"].to_numpy(), expected, equal_nan=True)
    arrays = xarray.open_zarr(tmp_path / "sweep.zarr")
    assert np.array_equal(arrays["label_loss"], sweep.to_xarray()["label_loss"], equal_nan=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "metrics.csv", "metrics.parquet", "runs.csv", "runs.parquet", "sweep.zarr",
    ]  # fmt: skip


def test_duckdb_counts_outcomes_as_the_analysis_does(sweep, tmp_path):
    CliRunner().invoke(app, ["export", str(sweep.store.folder), "--out", str(tmp_path)])
    rows = duckdb.sql(f"select outcome, count(*) from '{tmp_path}/runs.parquet' group by outcome").fetchall()
    assert dict(rows) == sweep.counts()


def test_runs_in_training_are_censored_and_have_their_forecast(tmp_path, monkeypatch):
    store = opened(tiny(), tmp_path / "r")
    loop = open_pack(store, store.pack_ids()[0])
    loop.step()
    loop.commit()
    run_id = store.plan["runs"][0]["run_id"]
    row = {
        "run_id": run_id, "step": 10, "window": 0.25, "converged": 0.75, "diverged": 0.0, "median": 20.0, "low": 10.0,
        "high": None, "problem": "",
    }  # fmt: skip
    document = {"windows": [{"fraction": 0.25, "num_finished": 30}], "runs": [row]}
    stored = StoredForecast("", {}, 4, 4, json.loads(json.dumps(document)))
    monkeypatch.setattr("analysis.tables.run_table.read_forecast", lambda store: stored)
    first, second, *_ = Sweep(store.folder).runs().to_pylist()
    assert (first["p_converged"], first["forecast_window"], first["forecast_high"]) == (0.75, 0.25, None)
    assert second["p_converged"] is None
    assert (first["outcome"], first["end"], first["last_step"]) == ("censored", "running", 10)


def test_finished_runs_have_the_forecasts_of_the_fold_that_they_were_held_out_in(tmp_path):
    store = trained(tiny(seeds={"together": {"range": [0, 8]}}, windows=[0.0, 0.34], readings=[]), tmp_path / "r")
    before = Sweep(store.folder).runs()
    assert before["held_out_0.34"].null_count == before["held_out_0"].null_count == before["fold"].null_count == 8
    found = run_analyse([store], None, None, Console(quiet=True)).parts[0][0]
    assert found.evaluation is not None
    runs = Sweep(store.folder).runs()
    assert runs["fold"].to_pylist() == found.evaluation.fold_R.tolist()
    assert len({*runs["fold"].to_pylist()}) == len(held_out_seeds(found.history.runs).folds) == 2
    for fold, split in enumerate(held_out_seeds(found.history.runs).folds):
        assert np.array_equal(runs["fold"].to_numpy() == fold, split.test_R)
    for window in found.evaluation.windows:
        expected = window.probability_N["ridge_time"].round(4)
        column = runs[f"held_out_{window.fraction:g}"].to_numpy()
        assert np.array_equal(column[window.scored_R], expected)
        assert np.isnan(column[~window.scored_R]).all()
    assert runs.schema.metadata[b"seedbed.held_out"] == b"ridge_time"
    # Of a run whose outcome has changed since the analysis there is none, nor of anything in one of another criterion.
    path = store.folder / "analysis.json"
    document = json.loads(path.read_bytes())
    document["runs"][3]["by"] -= 10
    path.write_text(json.dumps(document))
    stale = Sweep(store.folder).runs()["held_out_0.34"].to_pylist()
    assert stale == [None if r == 3 else p for r, p in enumerate(runs["held_out_0.34"].to_pylist())]
    path.write_text(json.dumps(document | {"criterion": "train_loss <= 1 at one evaluation"}))
    assert Sweep(store.folder).runs()["held_out_0.34"].null_count == 8


def test_a_sweep_that_has_not_begun_has_its_runs_and_no_metrics(tmp_path):
    sweep = Sweep(opened(tiny(), tmp_path / "r").folder)
    assert sweep.runs()["outcome"].to_pylist() == ["censored"] * 4
    assert sweep.table().num_rows == 0
    assert sweep.counts() == {"censored": 4}


def test_a_sweep_describes_itself_in_a_line_and_escapes_what_it_shows(sweep, monkeypatch):
    counts = ", ".join(f"{number} {kind}" for kind, number in sweep.counts().items())
    assert repr(sweep) == f"Sweep('tiny': 8 runs of 2 settings, budget 20 and 30; {counts})"
    assert sum(sweep.counts().values()) == 8
    monkeypatch.setattr(sweep, "name", "<b>")
    html = sweep._repr_html_()
    assert "<b>" not in html
    assert html.count("<tr>") == 3


def test_a_library_that_is_missing_is_named_with_its_remedy():
    with pytest.raises(StoreError, match=r"no_such_library is not installed; `pip install 'seedbed\[tables\]'`"):
        imported("no_such_library")


def test_curves_are_quantiles_by_group(sweep):
    history = sweep.history(30)
    for by in ("setting", "outcome", "optimiser.lr", "lr"):
        rows = curves(history, by=by, criterion=stored_spec(sweep.store).criterion).data.values
        assert sum(row["runs"] for row in rows if row["step"] == 10) == len(history.runs)
    (row,) = [row for row in curves(history, by="lr").data.values if row["step"] == 10]
    column = history.values["label_loss"][:, history.steps_T.tolist().index(10)]
    assert row["median"] == pytest.approx(np.median(column), rel=1e-3)
    with pytest.raises(ValueError, match="cannot group by 'nothing'"):
        curves(history, by="nothing")
    with pytest.raises(ValueError, match="no metric 'nothing'"):
        curves(history, "nothing")


def test_names_of_columns_are_unique(sweep):
    names = sweep.runs().column_names
    assert len(set(names)) == len(names)
    assert tuple(names[: len(OWN_COLUMNS)]) == OWN_COLUMNS


PAGE = (ROOT / "docs" / "tables.md").read_text(encoding="utf-8")


def test_the_page_describes_every_column():
    named = set(re.findall(r"`([a-z_]+)`", PAGE.partition("## Schema")[2]))
    assert set(OWN_COLUMNS) <= named


def test_the_examples_of_the_page_run_on_a_sweep(tmp_path, monkeypatch):
    trained(tiny(vary=[{"model.head_width": [2, 3]}]), tmp_path / "results" / "quickstart")
    monkeypatch.chdir(tmp_path)
    found = {}
    for example in re.findall(r"```python\n(.*?)```", PAGE, re.S):
        exec(example, found)
    assert len(found["losses"]) == found["sweep"].table(["label_loss"]).num_rows > 0
    assert {row["group"] for row in found["chart"].data.values} == {"2", "3"}
    assert CliRunner().invoke(app, ["export", "results/quickstart"]).exit_code == 0
    (query,) = re.findall(r"```sql\n(.*?)```", PAGE, re.S)
    assert sum(count for *_, count in duckdb.sql(query).fetchall()) == 8


def test_the_notebook_runs_on_a_sweep(sweep, monkeypatch):
    monkeypatch.setattr(marimo, "cli_args", lambda: {"results": str(sweep.store.folder)})
    spec = importlib.util.spec_from_file_location("notebook", ROOT / "docs" / "notebook.py")
    notebook = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(notebook)
    _, found = notebook.app.run()
    assert found["runs"]["run_id"].tolist() == sweep.runs()["run_id"].to_pylist()
    assert found["by_setting"]["count"].sum() == 8
    assert set(found["losses"].index) == set(sweep.counts())
