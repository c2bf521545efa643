"""Shares of converged runs, as the README of the benchmark's sweeps shows them."""

from __future__ import annotations

import re

import numpy as np
import pytest

from analysis.outcomes.outcomes import decide_outcomes
from benchmarks.forecasts.shares import FOLDER, MARKERS, shares
from pipeline.store.history import History, RunEnd, RunInfo


def history_of(converged_SR, last="budget"):
    """Runs of settings that differ in the learning rate; the last run ends in the given way."""
    runs = tuple(
        RunInfo(f"{setting} {seed}", str(setting), seed, seed, {"optimiser.lr": setting / 10, "batch_size": 4})
        for setting, row in enumerate(converged_SR)
        for seed in range(len(row))
    )
    excess_R = np.where(np.concatenate(converged_SR), 0.0, 1.0)
    ends = (*[RunEnd("budget", 20)] * (len(runs) - 1), RunEnd(last, 20))
    values = {"label_excess": np.stack([excess_R, excess_R], 1)}
    return History("sweep", 20, runs, ends, np.array([10, 20]), values)


def found(history):
    return shares(history, decide_outcomes(history))


def test_the_share_of_each_setting_has_its_number_of_runs_and_its_interval():
    assert found(history_of([[1, 1, 1, 0], [0] * 10])) == {
        "optimiser.lr 0.0": ".75 (.30-.95) of 4",
        "optimiser.lr 0.1": ".00 (.00-.28) of 10",
    }


def test_many_settings_have_one_share_and_the_range_of_theirs():
    history = history_of([[1, 1], [1, 0], [0, 0], [0, 0], [0, 0]])
    assert found(history) == {"5 settings": ".30 (.11-.60) of 10; of a setting 0.00 to 1.00"}


def test_runs_whose_outcome_is_unknown_are_refused():
    with pytest.raises(ValueError, match="1 runs are censored"):
        found(history_of([[1, 0], [0, 0]], last="stopped"))


def test_the_page_has_shares_of_every_sweep_of_the_benchmark():
    table = (FOLDER / "README.md").read_text(encoding="utf-8").partition(MARKERS[0])[2].partition(MARKERS[1])[0]
    rows = re.findall(r"^\| (\w+) \|.*\| \.\d\d \(.*? of \d+.*\| \.\d\d \(.*? of \d+.*\|$", table, re.M)
    assert set(rows) == {path.stem for path in FOLDER.glob("*.yaml") if not path.stem.endswith("_test")}
