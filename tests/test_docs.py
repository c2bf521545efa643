"""The examples of docs/extending.md keep their contracts and do what the page says; links between documents hold."""

from __future__ import annotations

import importlib
import re
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
import torch
import typer

from analysis.contracts.predictors import HISTORY, PREDICTOR_CONTRACT
from analysis.contracts.statistics import STATISTIC_CONTRACT
from analysis.forecasting.evaluation import cases_of
from analysis.outcomes.outcomes import decide_outcomes
from analysis.predictors.base import Targets
from pipeline.contracts.models import MODEL_CONTRACT
from pipeline.contracts.readings import READING_CONTRACT, parts_read, weights_read
from pipeline.contracts.runs import RUN_CONTRACT
from pipeline.contracts.tasks import TASK_CONTRACT
from pipeline.readings.base import READINGS
from pipeline.registry import Registry
from pipeline.spec.sweep import SweepSpec
from pipeline.training.replay import model
from sweeps.cli.__main__ import app
from tests.support import SOURCES, drop_in, tiny, trained

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
DOCUMENTS = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]


def registered(monkeypatch, folder, path, registry):
    """The class of the page's example for this path, found by its registry as a file of its folder would be."""
    package, name = path.rpartition("/")[0].replace("/", "."), Path(path).stem
    (folder / f"{name}.py").write_text(SOURCES[path])
    importlib.invalidate_caches()
    monkeypatch.delitem(sys.modules, f"{package}.{name}", raising=False)
    home, base = importlib.import_module(package), importlib.import_module(f"{package}.base")
    monkeypatch.setattr(home, "__path__", [*home.__path__, str(folder)])
    old = getattr(base, registry)
    monkeypatch.setattr(base, registry, Registry(old.package, old.base_class, old.helpers))
    return getattr(base, registry)[name]


def learns(history):
    """Whether every run's label loss falls from step 10 to the end."""
    losses_RT = history.values["label_loss"]
    return (losses_RT[:, -1] < losses_RT[:, history.steps_T.tolist().index(10)]).all()


def test_the_page_has_an_example_of_every_kind():
    assert {path.rpartition("/")[0] for path in SOURCES} == {
        "pipeline/tasks",
        "pipeline/models",
        "pipeline/optimisers",
        "pipeline/schedules",
        "pipeline/stopping",
        "pipeline/readings",
        "analysis/statistics",
        "analysis/predictors",
    }
    # tests/contracts/test_drop_in.py tries the optimiser and the schedule. The last block reads results:
    # tests/test_readme.py runs it on what the commands of the README leave.
    assert len(SOURCES) + 1 == PAGE.count("```python")


@pytest.mark.slow
def test_the_task_keeps_its_contracts_and_is_learned(tmp_path, monkeypatch):
    task = drop_in(monkeypatch, tmp_path, "task", "majority", SOURCES["pipeline/tasks/majority.py"])
    for contract in (TASK_CONTRACT, RUN_CONTRACT):
        assert list(contract.broken(task)) == []
    optimiser = {"name": "adamw", "lr": 1e-2}
    spec = SweepSpec.model_validate(tiny(budget=60, optimiser=optimiser).identity() | {"task": {"name": "majority"}})
    assert learns(trained(spec, tmp_path / "r").history())


@pytest.mark.slow
def test_the_model_keeps_its_contracts_and_learns(tmp_path, monkeypatch):
    flat = drop_in(monkeypatch, tmp_path, "model", "flat", SOURCES["pipeline/models/flat.py"])
    for contract in (MODEL_CONTRACT, RUN_CONTRACT):
        assert list(contract.broken(flat)) == []
    spec = tiny(model={"name": "flat", "width": 7}, optimiser={"name": "adamw", "lr": 1e-2}, budget=60)
    store = trained(spec, tmp_path / "r")
    assert learns(store.history())
    tokens = torch.zeros(3, 9, dtype=torch.int64)
    assert model(store, store.history().runs[0].run_id, 60)(tokens).shape == (3, 4)


def test_the_reading_keeps_its_contract_and_is_the_mean_cosine_between_tokens(tmp_path, monkeypatch):
    likeness = registered(monkeypatch, tmp_path, "pipeline/readings/likeness.py", "READINGS")
    for task, model_name in (("dictionary_lookup", "attention_only"), ("pair_lookup", "transformer")):
        for check in READING_CONTRACT.checks:
            check(likeness, task, model_name)
    assert "has no embedding" in likeness.unsuitable(*parts_read("sine_regression", "linear_self_attention"))
    weights = weights_read("dictionary_lookup", "attention_only")
    embedding = weights.parameters["embedding"]
    cosine = torch.nn.functional.cosine_similarity(embedding[:, :, None], embedding[:, None], dim=3)
    is_pair = ~torch.eye(embedding.shape[1], dtype=torch.bool)
    torch.testing.assert_close(likeness()(weights)["likeness.mean_cosine"], cosine[:, is_pair].mean(1))
    monkeypatch.setitem(vars(READINGS), "_classes", {**READINGS, "likeness": likeness})
    history = trained(tiny(readings=["likeness"], windows=[0, 0.4]), tmp_path / "r").history()
    assert np.isfinite(history.values["likeness.mean_cosine"][:, np.isin(history.steps_T, [0, 10])]).all()


def test_the_statistic_keeps_its_contract_and_is_the_largest_value_less_the_smallest(tmp_path, monkeypatch):
    spread = registered(monkeypatch, tmp_path, "analysis/statistics/spread.py", "STATISTICS")
    assert list(STATISTIC_CONTRACT.broken(spread)) == []
    window = HISTORY.window(0.25)
    values_RT = window.values["probe_loss"]
    expected_R = np.nanmax(values_RT, axis=1) - np.nanmin(values_RT, axis=1)
    np.testing.assert_array_equal(spread()(window)["spread(probe_loss)"], expected_R)


def test_the_predictor_keeps_its_contract_and_tells_steep_runs_from_the_others(tmp_path, monkeypatch):
    steepest = registered(monkeypatch, tmp_path, "analysis/predictors/steepest_loss.py", "PREDICTORS")
    assert list(PREDICTOR_CONTRACT.broken(steepest)) == []
    cases = cases_of(HISTORY.window(0.5))
    names = cases.statistics.names_F
    slope_R = cases.statistics.values_RF[:, names.index("slope(train_loss)")]
    is_steep_R = slope_R < np.mean(slope_R)
    step_R = np.where(is_steep_R, 1500.0, 2000.0)
    targets = Targets(np.where(is_steep_R, "converged", "unconverged"), step_R, step_R, 2000)
    forecast = steepest().fit(cases, targets).forecast(cases)
    assert forecast.converged_R[is_steep_R].min() > 0.9
    assert forecast.converged_R[~is_steep_R].max() < 0.1
    assert len(set(decide_outcomes(HISTORY).kind_R)) > 1


@pytest.mark.parametrize(
    ("losses", "stops"),
    [([], False), ([1.0, 1.0], False), ([1.0, 1.1, 1.2], True), ([1.0, 1.1, 0.9], False), ([1, 0.5, 0.6, 0.7], True)],
)
def test_the_stopping_rule_ends_a_run_two_evaluations_after_its_minimum(losses, stops, tmp_path, monkeypatch):
    from pipeline.stopping.base import RunPrefix

    rule = registered(monkeypatch, tmp_path, "pipeline/stopping/no_progress.py", "STOPPING_RULES")
    steps_T = np.arange(len(losses) + 1)
    # A step at which only other metrics were recorded comes first.
    prefix = RunPrefix("a" * 16, 100, steps_T, {"label_loss": np.array([np.nan, *losses])}, steps_T[1:], None)
    assert rule(evaluations=2).should_stop(prefix) is stops


def test_a_run_that_the_stopping_rule_ends_is_censored(tmp_path, monkeypatch):
    registered(monkeypatch, tmp_path, "pipeline/stopping/no_progress.py", "STOPPING_RULES")
    spec = tiny(budget=60, optimiser={"name": "adamw", "lr": 1e-9}, stopping={"name": "no_progress", "evaluations": 1})
    history = trained(spec, tmp_path / "r").history()
    assert {end.reason for end in history.ends} == {"stopped"}
    assert set(decide_outcomes(history).kind_R) == {"censored"}


def anchors(path):
    """The anchors of a Markdown file's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_to_files_and_headings(document):
    for target in re.findall(r"\]\(([^)\s]+)\)", document.read_text(encoding="utf-8")):
        if target.startswith("http"):
            continue
        name, _, anchor = target.partition("#")
        path = (document.parent / name) if name else document
        assert path.exists(), target
        assert not anchor or anchor in anchors(path), target


def commands_in(text):
    """Name and options of every `seedbed COMMAND ...` in code: at the start of a line or of a span."""
    for found in re.finditer(r"(?:^|`)seedbed (?:--import \S+ )?([a-z][a-z-]+)([^`\n#\"|]*)", text, re.M):
        yield found[1], set(re.findall(r"(?<!\S)--[a-z][a-z-]*", found[2]))


def test_the_documents_name_commands_and_options_that_exist():
    options = {
        name: {option for parameter in command.params for option in parameter.opts}
        for name, command in typer.main.get_command(app).commands.items()
    }
    found = [
        (f"{document.name}: seedbed {name}", given - {"--help", "--import"} - options.get(name, set()), name in options)
        for document in DOCUMENTS
        for name, given in commands_in(document.read_text(encoding="utf-8"))
    ]
    assert len(found) > 200
    assert [(place, unknown) for place, unknown, is_command in found if unknown or not is_command] == []


def test_a_wheel_has_all_documents_and_their_pictures():
    places = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["data-files"]
    taken = {path for patterns in places.values() for pattern in patterns for path in ROOT.glob(pattern)}
    pictures = {path for path in (ROOT / "docs").rglob("*") if path.suffix in (".svg", ".png")}
    assert {*DOCUMENTS, *pictures} - taken == {ROOT / "CONTRIBUTING.md"}
