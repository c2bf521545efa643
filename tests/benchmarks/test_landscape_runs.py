"""The kept table of the landscape's runs, and the processor time that is computed of it."""

import numpy as np
import pytest

from analysis.claims.sweeps import Sweeps
from benchmarks.landscape.hours import cost_key, hours_by_file, kept_hours, trained_from_the_start
from benchmarks.landscape.page import RUNS
from benchmarks.landscape.runs import read_runs, runs_table, with_newer, write_runs
from benchmarks.landscape.tables import hours_table
from pipeline.store.history import RunInfo
from sweeps.landscape.fates.study import EXCHANGED, PARTS
from sweeps.landscape.study import CHOSEN, MATRICES
from tests.papers.landscape.planted import judged_sweeps, recorded

PAIR, MIXED = CHOSEN[0], EXCHANGED[0]
ONE = {"runs": 2, "run-steps": 9, "hours": 24 / 3600}
SIZES = {"model.width": 16, "model.head_width": 4}


def factorial_runs(time):
    drawn = {f"streams.init/{name}": PAIR.first for name in MATRICES} | {"streams.init/embedding": PAIR.second}
    return recorded(PAIR.name, [RunInfo("a", "s", 0, 102, drawn | SIZES)], [time])


def mixed_runs():
    taken = dict.fromkeys(PARTS["unembedding"], MIXED.slow)
    return recorded(MIXED.name, [RunInfo("b", "s", 1, 7, SIZES, MIXED.fast, 300, taken)], [900], 2700)


def test_the_table_is_read_as_it_was_written_and_names_what_each_run_was_made_of(tmp_path):
    table = runs_table(judged_sweeps(factorial_runs(730), mixed_runs()))
    write_runs(table, tmp_path / "runs.parquet")
    assert read_runs(tmp_path / "runs.parquet").equals(table)
    of_pair, of_mixture = table.to_pylist()
    assert of_pair["combination"] == "2" + "1" * 10
    assert (of_pair["not_before"], of_pair["by"], of_pair["fork_step"]) == (700, 750, None)
    assert of_mixture["combination"] == "1" * 10 + "2"
    assert (of_mixture["fork_step"], of_mixture["ended"]) == (300, 2700)
    write_runs(table.drop_columns("ended"), tmp_path / "other.parquet")
    with pytest.raises(ValueError, match="has the columns sweep, parents"):
        read_runs(tmp_path / "other.parquet")


def test_newer_rows_replace_those_of_their_sweep_alone():
    kept = runs_table(judged_sweeps(mixed_runs(), factorial_runs(730)))
    together = with_newer(kept, runs_table(judged_sweeps(factorial_runs(930)))).to_pylist()
    assert [(row["sweep"], row["by"]) for row in together] == [(PAIR.name, 950), (MIXED.name, 900)]


def test_hours_are_the_run_steps_that_were_trained_times_their_cost():
    costs = {cost_key("landscape/factorial.yaml", (16, 4)): [0.001, 0, 0]}
    costs |= {cost_key("landscape/fates/parents.yaml", (16, 4)): [0.01, 0, 0]}
    planned = {"landscape/factorial.yaml": 10, "landscape/fates/exchange.yaml": 1}
    hours = hours_by_file(runs_table(judged_sweeps(factorial_runs(730), mixed_runs())), costs, planned)
    of_all = {"planned runs": 10, "planned hours": 54 / 3600}
    assert hours["landscape/factorial.yaml"] == pytest.approx(
        {"runs": 1, "run-steps": 5400, "hours": 5.4 / 3600} | of_all
    )
    assert hours["landscape/fates/exchange.yaml"]["hours"] == pytest.approx(24 / 3600)
    assert "| together | 2 | 0.01 | 0.5 | 11 | 1.3 |" in hours_table(hours)
    assert "would be 81,920 forks and 273.1 hours." in hours_table({"landscape/fates/forks.yaml": {**of_all, **ONE}})
    with pytest.raises(KeyError):
        hours_by_file(runs_table(judged_sweeps(mixed_runs())), {}, planned)


def test_every_kept_run_has_a_cost():
    kept = read_runs(RUNS)
    hours = kept_hours(RUNS)
    assert sum(found["runs"] for found in hours.values()) == kept.num_rows
    assert np.all(np.array([found["hours"] for found in hours.values()]) > 0)
    forked = {f"landscape/fates/{name}.yaml" for name in ("forks", "exchange")}
    assert hours.keys() - forked <= {sweep.file for sweep in trained_from_the_start()}
    assert runs_table(Sweeps({})).schema == kept.schema
