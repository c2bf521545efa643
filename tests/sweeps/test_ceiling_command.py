"""`seedbed ceiling`: forks are trained beside the sweep, their ceiling is written, and the same command continues."""

from __future__ import annotations

import json

import pytest

from analysis.forecasting.ceiling import read_ceiling
from pipeline.planning.packs import stored_spec
from pipeline.store.sweep_store import SweepStore
from tests.support import tiny, trained, weights
from tests.sweeps.test_cli import run

# Three of the runs meet it at step 10, two more by step 30.
SPEC = tiny(
    seeds={"together": {"range": [0, 14]}},
    resources={"slots": 28},
    readings=[],
    snapshots={"states": [10]},
    converged={"metric": "label_accuracy", "at_least": 0.45, "evaluations": 1},
    stopping={"name": "run_to_budget"},
)
ARGUMENTS = ("ceiling", "r", "--children", "2", "--windows", "0,0.25,0.67,0.7", "--inline")


@pytest.fixture(scope="module")
def parents(tmp_path_factory):
    return trained(SPEC, tmp_path_factory.mktemp("parents") / "r")


@pytest.fixture
def store(parents, tmp_path, monkeypatch):
    """A sweep with states at steps 0 and 10, in a folder of its own."""
    (tmp_path / "r").mkdir()
    for path in parents.folder.iterdir():
        (tmp_path / "r" / path.name).symlink_to(path)
    monkeypatch.chdir(tmp_path)
    return SweepStore(tmp_path / "r")


def test_forks_are_trained_and_their_ceiling_is_printed_and_written(store, monkeypatch, capsys):
    code, printed = run(monkeypatch, capsys, *ARGUMENTS)
    assert code == 0, printed
    document = read_ceiling(store.folder)
    assert [(row["window"], row["step"]) for row in document["rows"]] == [(0, 0), (0.25, 10)]
    for row in document["rows"]:
        forks = SweepStore(store.folder.parent / "r-ceiling" / f"step-{row['step']}")
        history = forks.history()
        assert len(history.runs) == 2 * row["parents"] == 2 * len(row["q"])
        assert {run.parent for run in history.runs} == row["q"].keys()
        assert {run.fork_step for run in history.runs} == {row["step"]}
        assert len({run.data_seed for run in history.runs}) == len(history.runs)
        assert stored_spec(forks).criterion == SPEC.criterion
        assert 0.5 <= row["auroc"] <= 1
        assert 0 <= row["brier_low"] <= row["brier_floor"] <= row["brier_high"] <= 0.5
    assert "0.67 (step 20): left out, 10 of 10 sampled runs have no training state there" in printed.replace("\n", " ")
    assert "window 0.7 (step 21): left out, forks start between chunks" in printed
    num = sum(2 * row["parents"] * (30 - row["step"]) for row in document["rows"])
    assert f"in all at most {num:,} run-steps" in printed
    assert printed.index("in all at most") < printed.index("runs done")


def test_the_same_command_continues_and_gives_the_same(store, monkeypatch, capsys):
    run(monkeypatch, capsys, *ARGUMENTS)
    first = (store.folder / "ceiling.json").read_bytes()
    code, printed = run(monkeypatch, capsys, *ARGUMENTS, "--json")
    assert code == 0
    assert json.loads(printed)["rows"] == read_ceiling(store.folder)["rows"]
    assert (store.folder / "ceiling.json").read_bytes() == first


def test_settings_with_too_few_parents_are_named_beside_the_missing_number(store, monkeypatch, capsys):
    line = ("ceiling", "r", "--parents", "2", "--children", "2", "--windows", "0.25", "--inline")
    code, printed = run(monkeypatch, capsys, *line)
    assert (code, "n/a" in printed) == (0, True)
    left_out = read_ceiling(store.folder)["rows"][0]["num_left_out"]
    assert f"window 0.25: {left_out} of {left_out} runs at risk left out, of settings with fewer than 10" in printed


def test_more_forks_are_added_to_those_there_are_and_none_is_taken_away(store, monkeypatch, capsys):
    few, many = (("ceiling", "r", "--children", str(n), "--windows", "0.25", "--inline") for n in (2, 3))
    run(monkeypatch, capsys, *few)
    forks = SweepStore(store.folder.parent / "r-ceiling" / "step-10")
    before = weights(forks)
    code, printed = run(monkeypatch, capsys, *many)
    assert code == 0, printed
    after = weights(forks)
    assert len(after) * 2 == len(before) * 3
    assert before.items() <= after.items()
    assert read_ceiling(store.folder)["rows"][0]["children"] == 3
    code, printed = run(monkeypatch, capsys, *few)
    assert (code, "adding seeds or settings keeps what is done, removing does not" in printed) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--windows", "0.3,0.1"), "--windows must be increasing shares"),
        (("--windows", "half"), "--windows must be increasing shares"),
        (("--windows", "0.67"), "among snapshots.states in its file"),
        (("--children", "1"), "--children at least 2"),
    ],
)
def test_what_cannot_be_forked_is_refused_in_a_line(arguments, said, store, monkeypatch, capsys):
    code, printed = run(monkeypatch, capsys, "ceiling", "r", *arguments, "--inline")
    assert (code, said in printed.replace("\n", " ")) == (2, True), printed
    assert "Traceback" not in printed
    assert not (store.folder.parent / "r-ceiling").exists()
