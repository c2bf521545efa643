"""`seedbed look-ahead` and `seedbed twins`: forks are trained beside the sweep, and its forecasts get their columns."""

from __future__ import annotations

import json

import numpy as np
import pytest

from analysis.forecasting.evaluation import evaluate
from analysis.outcomes.outcomes import decide_outcomes
from analysis.predictors.base_rate import BaseRate
from analysis.summary.text import describe_window, finding_lines
from pipeline.planning.packs import expand, stored_spec
from pipeline.spec.sweep import SweepSpec
from pipeline.store.added import added_tables
from pipeline.store.sweep_store import SweepStore
from tests.support import tiny, trained
from tests.sweeps.test_cli import run

SPEC = tiny(
    model={"name": "attention_only", "width": 8, "head_width": 4, "num_heads": 2},
    batch_size=64,
    budget=40,
    seeds={"together": {"range": [0, 40]}},
    grid={"chunk": 10, "eval_items": 32, "probe_items": 16, "probe_steps": [0, 10, 40]},
    snapshots={"states": [10]},
    converged={"metric": "label_accuracy", "at_least": 0.6, "evaluations": 1},
    stopping={"name": "run_to_budget"},
    resources={"slots": 40},
    readings=[],
)
NEXT = SweepSpec.model_validate(
    SPEC.identity()
    | {"name": "next", "seeds": {"together": {"range": [100, 106]}}, "resources": {"slots": 6, "engine": "torch"}}
)


@pytest.fixture(scope="module")
def parents(tmp_path_factory):
    return trained(SPEC, tmp_path_factory.mktemp("parents") / "r")


@pytest.fixture
def store(parents, tmp_path, monkeypatch):
    """The sweep, with states at step 10, in a folder of its own."""
    (tmp_path / "r").mkdir()
    for path in parents.folder.iterdir():
        (tmp_path / "r" / path.name).symlink_to(path)
    monkeypatch.chdir(tmp_path)
    return SweepStore(tmp_path / "r")


def first_json(printed):
    """What stands on standard output, which precedes standard error."""
    return json.JSONDecoder().raw_decode(printed)[0]


def test_a_look_ahead_adds_what_forks_of_the_runs_at_risk_show_and_states_its_cost(store, monkeypatch, capsys):
    before = store.history()
    arguments = ("look-ahead", "r", "--window", "0.25", "--cost", "0.125", "--readings", "circuits", "--inline")
    code, printed = run(monkeypatch, capsys, *arguments)
    assert code == 0, printed
    forks = SweepStore(store.folder.parent / "r-ahead" / "step-10-20")
    configs = {config.run_id: config for config in expand(stored_spec(store))}
    for fork in expand(stored_spec(forks)):
        parent = configs[fork.lineage.parent]
        assert (fork.batch_size, fork.optimiser.lr) == (16, pytest.approx(1.5 * parent.optimiser.lr))
        assert (fork.data_seed, fork.lineage.step) == (parent.data_seed, 10)
    history, of_forks = store.history(), forks.history()
    assert {name: array.tobytes() for name, array in before.values.items() if name.startswith("label_")} == {
        name: array.tobytes() for name, array in history.values.items() if name.startswith("label_")
    }
    ahead = history.values["ahead.probe_loss"][:, history.steps_T.tolist().index(10)]
    by_parent = {run.parent: of_forks.values["probe_loss"][r, -1] for r, run in enumerate(of_forks.runs)}
    assert len(by_parent) == np.isfinite(ahead).sum() < 40, "runs with an outcome at step 10 are not forked"
    np.testing.assert_array_equal(ahead, [by_parent.get(run.run_id, np.nan) for run in history.runs])
    heads_HR = np.stack([of_forks.values[f"attention_entropy.l1h{head}"][:, -1] for head in (0, 1)])
    largest = dict(zip((run.parent for run in of_forks.runs), heads_HR.max(axis=0), strict=True))
    column = history.values["ahead.attention_entropy.l1_max"][:, history.steps_T.tolist().index(10)]
    np.testing.assert_array_equal(column, [largest.get(run.run_id, np.nan) for run in history.runs])
    assert any(name.startswith("ahead.circuits.") for name in history.values)
    assert not any(name.startswith("ahead.label_") for name in history.values)
    assert {name for name in history.values if name.startswith("ahead.")} <= history.readings
    assert "each takes 12.5% of the examples of a whole run" in printed.replace("\n", " ")
    assert [history.window(share).extra_compute for share in (0.0, 0.25, 0.5)] == [0, 0.125, 0.125]
    outcomes = decide_outcomes(history, SPEC.criterion)
    told = evaluate(history, outcomes, (0.0, 0.25), {"base_rate": BaseRate()}, bootstrap=10).windows
    cost = "with look-aheads that cost 12.5% of a run's training more"
    assert [cost in describe_window(window) for window in told] == [False, True]
    shown = finding_lines(evaluate(history, outcomes, (0.0, 0.25), {"base_rate": BaseRate()}, bootstrap=10))
    assert " ".join(" ".join(shown).split()).count(cost) == 1
    code, again = run(monkeypatch, capsys, *arguments)
    assert (code, "complete already" in again) == (0, True)


def test_twins_forecast_every_run_before_its_first_step(store, monkeypatch, capsys):
    (store.folder.parent / "next.yaml").write_text(NEXT.to_yaml())
    twins = ("--cost", "0.25", "--readings", "", "--inline")
    code, printed = run(monkeypatch, capsys, "twins", "next.yaml", *twins, "--from", "r")
    assert (code, "has no twins to learn from; `seedbed look-ahead r --window 0 --cost 0.25" in printed) == (2, True)
    assert not (store.folder.parent / "results" / "next").exists(), "nothing is trained before"
    assert run(monkeypatch, capsys, "look-ahead", "r", "--window", "0", *twins)[0] == 0
    code, printed = run(monkeypatch, capsys, "twins", "next.yaml", *twins, "--from", "r", "--json")
    assert code == 0, printed
    document = first_json(printed)
    assert len(document["runs"]) == 6
    assert {(row["step"], row["window"], row["problem"]) for row in document["runs"]} == {(0, 0.0, None)}
    assert all(0 <= row["converged"] <= 1 for row in document["runs"])
    assert document["windows"][0]["extra_compute"] == 0.25
    planned = SweepStore(store.folder.parent / "results" / "next")
    assert {end.step for end in planned.history().ends} == {0}
    (table,) = added_tables(planned.folder)
    assert (table.name, table.about["num_steps"], table.about["batch"]) == ("ahead-0", 40, 0.25)
    assert run(monkeypatch, capsys, "fit", "r", "--out", "f.json", "--metrics", "ahead")[0] == 0
    code, by_file = run(monkeypatch, capsys, "twins", "next.yaml", *twins, "--predictor", "f.json", "--json")
    assert (code, first_json(by_file)["runs"]) == (0, document["runs"])
    code, printed = run(monkeypatch, capsys, "launch", "next.yaml", "--inline")
    assert code == 0, printed
    assert np.isfinite(planned.history().values["ahead.probe_loss"][:, 0]).all()
    code, printed = run(monkeypatch, capsys, "twins", "next.yaml", "--rate", "3", "--inline", "--from", "r")
    assert (code, "its twins were trained otherwise" in printed) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--window", "1"), "--window must be a share"),
        (("--window", "0.25", "--cost", "0"), "must cost from one step to one run"),
        (("--window", "0.5"), "has its state kept there; snapshots.states of a sweep file, with 20"),
        (("--window", "0.25", "--readings", "circuit"), "did you mean 'circuits'"),
        (("--window", "0.25", "--batch", "0.3"), "batch_size: should be a valid integer"),
    ],
)
def test_what_cannot_be_looked_ahead_is_refused_in_a_line(arguments, said, store, monkeypatch, capsys):
    code, printed = run(monkeypatch, capsys, "look-ahead", "r", *arguments, "--inline")
    assert (code, said in " ".join(printed.split())) == (2, True), printed
    assert "Traceback" not in printed
    assert not (store.folder.parent / "r-ahead").exists()
