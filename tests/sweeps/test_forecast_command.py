"""`seedbed fit` and `seedbed forecast`: a table, its JSON, and refusals in a line with exit code 2."""

from __future__ import annotations

import io
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from analysis.forecasting.run_forecasts import RunForecast, RunForecasts
from pipeline.store.sweep_store import SweepStore
from sweeps.command.forecasts import forecasting
from tests.analysis.synthetic import synthetic_history
from tests.analysis.test_live import LIVE, NOW
from tests.support import tiny, trained
from tests.sweeps.test_cli import run

OTHER = synthetic_history(4, 30, seed=9, name="other", first_seed=1000)


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """Two results folders of the same criterion whose histories are a sweep in training and a finished one."""
    store = trained(tiny(), tmp_path / "now")
    (tmp_path / "other").symlink_to(store.folder)
    histories = {"now": NOW, "other": OTHER}
    monkeypatch.setattr(SweepStore, "history", lambda self, budget=None: histories[self.folder.name])
    monkeypatch.chdir(tmp_path)
    return histories


def test_the_table_has_a_row_for_every_run_in_training_and_ends_with_what_it_rests_on(folders, monkeypatch, capsys):
    code, printed = run(monkeypatch, capsys, "forecast", "now")
    assert code == 0
    for forecast in LIVE.runs:
        assert forecast.run_id in printed
    assert "too early" in printed
    assert "learned from synthetic" in printed
    assert printed.strip().splitlines()[-1].startswith("window 0.5 (to step 1000): learned from")


def test_json_has_the_same_numbers_and_is_kept_as_the_newest_forecast(folders, monkeypatch, capsys):
    code, printed = run(monkeypatch, capsys, "forecast", "now", "--json")
    document = json.loads(printed)
    assert code == 0
    assert [row["run_id"] for row in document["runs"]] == [forecast.run_id for forecast in LIVE.runs]
    by_id = {forecast.run_id: forecast for forecast in LIVE.runs}
    for row in document["runs"]:
        forecast = by_id[row["run_id"]]
        assert row["converged"] == (None if forecast.problem else forecast.converged)
        assert row["high"] != float("inf")
    kept = json.loads(Path("now/forecast.json").read_bytes())["body"]
    assert kept["forecasts"] == document
    assert (kept["num_runs"], kept["num_in_training"]) == (len(NOW.runs), len(LIVE.runs))


def test_a_fitted_file_forecasts_as_the_sweep_that_it_was_fitted_to(folders, monkeypatch, capsys):
    code, printed = run(monkeypatch, capsys, "fit", "other", "--out", "f.json")
    assert (code, "forecaster: f.json" in printed) == (0, True)
    _, by_file = run(monkeypatch, capsys, "forecast", "now", "--predictor", "f.json", "--json")
    _, by_sweep = run(monkeypatch, capsys, "forecast", "now", "--from", "other", "--json")
    assert json.loads(by_file) == json.loads(by_sweep)
    assert json.loads(by_file)["source"] == "other"


def test_what_cannot_be_forecast_is_refused_in_a_line(folders, monkeypatch, capsys):
    run(monkeypatch, capsys, "fit", "other", "--out", "f.json")
    kept = {metric: array for metric, array in NOW.values.items() if metric != "grad_norm"}
    folders["now"] = replace(NOW, values=kept)
    code, printed = run(monkeypatch, capsys, "forecast", "now", "--predictor", "f.json")
    assert code == 2
    assert "last_value(grad_norm)" in printed
    assert "Traceback" not in printed
    for arguments, said in (
        (("--predictor", "f.json", "--from", "other"), "not both"),
        (("--predictor", "nowhere.json"), "nowhere.json"),
    ):
        code, printed = run(monkeypatch, capsys, "forecast", "now", *arguments)
        assert (code, said in printed) == (2, True), printed


def test_a_sweep_without_a_run_in_training_has_nothing_to_forecast(folders, monkeypatch, capsys):
    code, printed = run(monkeypatch, capsys, "forecast", "other")
    assert (code, printed.splitlines()[0]) == (0, "other: no run is in training, so there is nothing to forecast")
    assert "seedbed analyse FOLDER --scores" in printed


def test_a_watch_forecasts_where_something_was_committed_and_ends_with_the_sweep(folders, monkeypatch, capsys):
    passes, orders, slept = iter([1, 1, 1, 0]), iter([{"p": (1, 1)}, {"p": (1, 1)}, {"p": (1, 2)}]), []
    monkeypatch.setattr(forecasting, "unfinished", lambda store: next(passes))
    monkeypatch.setattr(forecasting, "newest_orders", lambda store: next(orders))
    monkeypatch.setattr(forecasting, "forecast_running", lambda *_, **__: LIVE)
    monkeypatch.setattr(forecasting.os, "nice", lambda by: None)
    monkeypatch.setattr(forecasting.time, "sleep", slept.append)
    code, printed = run(monkeypatch, capsys, "forecast", "now", "--watch", "7")
    assert code == 0
    assert [line.split(" ", 1)[1].startswith("about ") for line in printed.splitlines()] == [True, True, False]
    assert slept == [7, 7, 7]
    code, printed = run(monkeypatch, capsys, "forecast", "now", "--watch", "7", "--json")
    assert (code, "now/forecast.json" in printed) == (2, True)


def test_outside_a_terminal_every_run_stands_on_one_line_and_columns_are_aligned():
    runs = (RunForecast("a", "all runs", 60, 0.05, reasons=("x" * 400,)), RunForecast("bcd", "all runs", 1200, 0.5))
    found = RunForecasts("sweep", 1200, "sweep", runs, ())
    printed, terminal = (Console(file=io.StringIO(), force_terminal=is_one, width=140) for is_one in (False, True))
    for out in (printed, terminal):
        forecasting.print_forecasts(found, out)
    header, first, second, *_ = printed.file.getvalue().splitlines()
    assert header.split()[:4] == ["run", "setting", "step", "window"]
    assert first.endswith("x" * 400)
    assert {line.index("all runs") for line in (first, second)} == {header.index("setting")}
    assert first.index("60") == second.index("1200") == header.index("step")
    folded = re.sub(r"\x1b\[\d+m", "", terminal.file.getvalue()).splitlines()
    assert max(map(len, folded)) <= 140 < len(first)


def test_another_task_is_ranked_when_that_is_asked_for(folders, monkeypatch, capsys):
    runs = tuple(
        replace(run, hyperparameters={**run.hyperparameters, "task.name": "parity"}) for run in folders["now"].runs
    )
    folders["now"] = replace(NOW, runs=runs)
    code, printed = run(monkeypatch, capsys, "forecast", "now", "--from", "other")
    assert (code, "no forecast: learned from task dictionary_lookup" in printed) == (0, True)
    assert " rank " not in printed.splitlines()[0]
    code, printed = run(monkeypatch, capsys, "forecast", "now", "--from", "other", "--any-task")
    assert (code, " rank " in printed.splitlines()[0]) == (0, True)
    assert re.search(r" \d+ of \d+ .* ranked only: learned from task dictionary_lookup", printed)
    code, printed = run(monkeypatch, capsys, "forecast", "now", "--any-task")
    assert (code, "give one of them" in printed) == (2, True)


def test_several_sweeps_are_learned_from_as_one(folders, monkeypatch, capsys, tmp_path):
    (tmp_path / "third").symlink_to(tmp_path / "now")
    runs = tuple(replace(run, run_id=f"third {run.run_id}") for run in OTHER.runs)
    folders["third"] = replace(OTHER, runs=runs, name="third")
    code, printed = run(monkeypatch, capsys, "forecast", "now", "--from", "other", "--from", "third", "--json")
    document = json.loads(printed)
    assert (code, document["source"]) == (0, "other + third")
    alone = json.loads(run(monkeypatch, capsys, "forecast", "now", "--from", "other", "--json")[1])
    sizes = [[window["num_finished"] for window in found["windows"]] for found in (document, alone)]
    assert sizes[0] == [2 * number for number in sizes[1]]
