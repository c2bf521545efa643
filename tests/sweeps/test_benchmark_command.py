"""`seedbed benchmark`: what it refuses, and a predictor of a user's own."""

from __future__ import annotations

from io import StringIO

import pytest
from rich.console import Console

from pipeline.spec.sweep import load_spec
from pipeline.store.pack_store import StoreError
from sweeps.command.forecasts import benchmarking
from sweeps.command.how import How
from sweeps.command.launching import train_spec
from sweeps.command.smoke import smoke

OWN = """
from analysis.predictors.base_rate import BaseRate


class Mine(BaseRate):
    name = "mine"
"""


def test_an_unknown_task_is_named_beside_the_known_ones():
    with pytest.raises(StoreError, match=r"unknown task lookup_z \(known: .*lookup_a.*\)"):
        benchmarking.tasks_of(["lookup_z"])
    assert benchmarking.tasks_of(["lookup_b", "lookup_a"]) == ["lookup_a", "lookup_b"]


def test_a_predictor_of_ones_own_joins_the_others(tmp_path):
    (tmp_path / "mine.py").write_text(OWN)
    found = benchmarking.predictors_in(tmp_path / "mine.py")
    assert list(found) == ["mine"]
    (tmp_path / "empty.py").write_text("x = 1\n")
    with pytest.raises(StoreError, match="defines no class that derives from"):
        benchmarking.predictors_in(tmp_path / "empty.py")
    with pytest.raises(StoreError, match="not a Python file"):
        benchmarking.predictors_in(tmp_path / "none.py")


def test_results_of_other_runs_are_refused(tmp_path):
    spec = smoke(load_spec(benchmarking.SWEEPS / "lookup_a.yaml", ["resources.engine=torch", "tracking.mode=disabled"]))
    train_spec(spec, tmp_path / "lookup_a", spec.to_yaml(), How(is_inline=True), Console(file=StringIO()))
    with pytest.raises(StoreError, match="holds other runs than the benchmark's"):
        list(benchmarking.task_rows("lookup_a", tmp_path, {}))
