"""`seedbed search`: one sweep that grows and goes on, what is refused before it trains, and the note that it keeps."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from pipeline.launch import searchers
from pipeline.launch.searchers import SearchLibrary
from pipeline.spec.errors import SpecError
from pipeline.spec.search import load_search
from pipeline.spec.sweep import load_spec
from pipeline.store.pack_store import StoreError
from pipeline.store.search_file import read_search, write_search
from pipeline.store.sweep_store import SweepStore
from sweeps.cli.__main__ import app
from sweeps.command.settings.found import Trial
from tests.support import tiny

pytestmark = pytest.mark.usefixtures("fake_searcher")


def search_file(folder, **changes):
    section = {"space": {"optimiser.lr": {"log_uniform": [1e-4, 1e-1]}}, "rounds": 1, "settings_per_round": 2,
               "objective": "label_loss", "race": {"first": 1, "keep": 0.5, "audit": 0.0}}  # fmt: skip
    data = tiny(budget=20, seeds={"together": [0, 1]}).identity() | {"search": section | changes}
    data.pop("vary")
    path = Path(folder) / "s.yaml"
    path.write_text(yaml.safe_dump(json.loads(json.dumps(data))))
    return path


def test_every_mistake_of_a_search_is_told_at_its_line(tmp_path):
    path = search_file(
        tmp_path, objective=3, rounds=0, searcher="luck", space={"optimiser.lr": {"log_uniform": [0, 1]}}
    )
    with pytest.raises(SpecError) as error:
        load_search(path)
    fields = {mistake.field for mistake in error.value.mistakes}
    assert {"search.objective", "search.rounds", "search.searcher"} <= fields
    assert any(field.startswith("search.space.optimiser.lr") for field in fields)
    with pytest.raises(SpecError, match=r"s\.yaml:\d+: search: is for `seedbed search FILE`") as told:
        load_spec(search_file(tmp_path))
    assert "unknown key" not in str(told.value)
    path = search_file(tmp_path, space={"optimiser.speed": {"uniform": [0, 1]}}, race={"first": 2})
    with pytest.raises(SpecError, match=r"optimiser.speed.*beta1"):
        load_search(path)
    with pytest.raises(SpecError, match="fewer than the 2 seeds"):
        load_search(path)


def command(path, folder, *more):
    result = CliRunner().invoke(app, ["search", str(path), "--inline", "--json", "--results", str(folder), *more])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_a_search_trains_one_sweep_that_grows_and_goes_on(tmp_path):
    path, whole, grown = search_file(tmp_path), tmp_path / "whole", tmp_path / "grown"
    once = command(path, whole, "search.rounds=2")
    first = command(path, grown)
    packs = sorted((grown / "packs").iterdir())
    again = command(path, grown, "search.rounds=2")
    assert again == once
    assert again["rounds"][:1] == first["rounds"]
    assert set(packs) < set((grown / "packs").iterdir())
    # Two rounds of two settings, each with a first seed, and one of them with another.
    histories = [SweepStore(folder).history() for folder in (whole, grown)]
    assert [len(history.runs) for history in histories] == [6, 6]
    rows = [np.argsort([run.run_id for run in history.runs]) for history in histories]
    for name, values_RT in histories[0].values.items():
        np.testing.assert_array_equal(values_RT[rows[0]], histories[1].values[name][rows[1]])
    of_setting = {}
    for run, values_T in zip(histories[0].runs, histories[0].values["label_loss"], strict=True):
        of_setting.setdefault(run.setting_id, []).append(values_T[-1])
    assert once["best"]["value"] == min(np.median(losses) for losses in of_setting.values() if len(losses) == 2)
    # Without what was noted, the search finds its way again, and trains nothing.
    (grown / "search.json").unlink()
    files = sorted(str(file) for file in grown.rglob("*.record.json"))
    assert command(path, grown, "search.rounds=2") == once
    assert sorted(str(file) for file in grown.rglob("*.record.json")) == files


def test_another_search_is_refused_in_the_same_folder(tmp_path):
    command(search_file(tmp_path, race=None), tmp_path / "r")
    path = search_file(tmp_path, race=None, seed=5)
    result = CliRunner().invoke(app, ["search", str(path), "--inline", "--results", str(tmp_path / "r")])
    assert "holds another search" in str(result.exception)


def test_an_objective_that_no_run_records_is_refused_before_training(tmp_path):
    line = ["search", str(search_file(tmp_path, objective="speed")), "--inline", "--results", str(tmp_path / "r")]
    assert "search.objective: unknown 'speed' (known: converged, time, label_" in str(
        CliRunner().invoke(app, line).exception
    )
    assert not (tmp_path / "r").exists()


def test_a_damaged_note_of_a_search_is_told(tmp_path):
    folder = tmp_path / "r"
    folder.mkdir()
    write_search(folder, {}, {}, [[Trial({"a.b": True, "c": None}, None, True, False, 2, 0.5).to_json()]])
    assert read_search(folder)["rounds"][0][0]["setting"] == {"a.b": True, "c": None}
    write_search(folder, {}, {}, [[{"setting": None}]])
    with pytest.raises(StoreError, match=r"not what seedbed writes.*delete it"):
        read_search(folder)
    content = (folder / "search.json").read_bytes()
    (folder / "search.json").write_bytes(content.replace(b"null", b"true"))
    with pytest.raises(StoreError, match="delete it"):
        read_search(folder)


def test_a_searcher_that_is_not_installed_is_named(monkeypatch, tmp_path):
    library = SearchLibrary("no.such", "Search", "seed", ("no-such-package",))
    monkeypatch.setitem(searchers.SEARCHERS, "optuna", library)
    result = CliRunner().invoke(app, ["search", str(search_file(tmp_path)), "--inline"])
    assert "needs no-such-package" in str(result.exception)


def test_a_space_without_a_valid_setting_is_told_with_the_reason(tmp_path):
    path = search_file(tmp_path, race=None, space={"optimiser.beta2": {"choice": [7.0]}}, rounds=2)
    result = CliRunner().invoke(app, ["search", str(path), "--inline", "--results", str(tmp_path / "r")])
    assert "no suggested setting was valid; of the last, optimiser.beta2 should be less than 1, given 7.0" in str(
        result.exception
    )
