"""`seedbed new`: files that parse, train and overwrite nothing; what they hold is checked in test_check.py."""

from __future__ import annotations

import io

import numpy as np
import pytest
import yaml

from pipeline.contracts.lightning_modules import lightning_contract, settings_of
from pipeline.contracts.models import MODEL_CONTRACT
from pipeline.models.base import MODELS
from pipeline.own_code.imported import load, resolved
from pipeline.spec.sweep import load_spec
from pipeline.store.pack_store import StoreError
from pipeline.tasks.base import TASKS
from sweeps.cli.consoles import PlainConsole
from sweeps.command.own.creating import TEMPLATES, create
from sweeps.command.own.kinds import KINDS_OF_CODE
from tests.support import trained

SMALL = [
    "budget=20",
    "batch_size=8",
    "seeds.together=[0, 1]",
    "grid={chunk: 10, eval_items: 16, probe_items: 8}",
    "resources={engine: torch, slots: 2}",
    "tracking.mode=disabled",
]
WITH_SWEEP = [kind for kind in KINDS_OF_CODE if kind not in ("statistic", "predictor")]


def new(kind, name, folder, task=None):
    """What `seedbed new` prints."""
    out = PlainConsole(file=io.StringIO())
    create(kind, name, folder, task, out)
    return out.file.getvalue()


def test_there_is_a_template_of_every_kind_and_no_other():
    names = {path.name for path in TEMPLATES.iterdir() if path.name.startswith("my_")}
    assert names == {*(f"my_{kind}.py" for kind in (*KINDS_OF_CODE, "lightning", "data")), "my_sweep.yaml"}


@pytest.mark.parametrize("kind", KINDS_OF_CODE)
def test_a_new_file_defines_a_class_of_its_kind_under_the_name_that_was_given(kind, tmp_path):
    told = new(kind, "quick_brown_fox", tmp_path)
    load(resolved("./quick_brown_fox.py", tmp_path))
    assert KINDS_OF_CODE[kind].classes["quick_brown_fox"].__name__ == "QuickBrownFox"
    text = (tmp_path / "quick_brown_fox.py").read_text()
    assert "my_" not in text
    assert "My" not in text
    assert f"seedbed check {tmp_path / 'quick_brown_fox.py'}" in told


@pytest.mark.parametrize("kind", WITH_SWEEP)
def test_a_new_file_trains_at_once_by_the_sweep_that_comes_with_it(kind, tmp_path):
    new(kind, "fox", tmp_path)
    spec = load_spec(tmp_path / "fox.yaml", SMALL)
    parts = (spec.task, spec.model, spec.optimiser, spec.schedule, spec.stopping)
    assert "fox" in (*spec.readings, *(part.name for part in parts))
    history = trained(spec, tmp_path / "r").history()
    assert np.isfinite(history.values["label_loss"][:, -1]).all()
    if kind == "reading":
        assert np.isfinite(history.values["fox.norm"]).any()


def test_a_new_lightning_module_trains_by_its_own_optimiser_and_keeps_its_contract(tmp_path):
    assert f"seedbed check {tmp_path / 'swift_fox.yaml'}" in new("lightning", "swift_fox", tmp_path)
    spec = load_spec(tmp_path / "swift_fox.yaml", SMALL)
    assert (spec.model.own_class.__name__, spec.optimiser.name) == ("SwiftFox", "configured")
    (settings,) = settings_of(spec).values()
    for check in lightning_contract(None).checks[:4]:
        check(settings[0])


def test_new_data_train_and_hold_what_their_comments_say(tmp_path):
    assert "a function that gives arrays, with a network for them, that works" in new("data", "swift_hare", tmp_path)
    text = (tmp_path / "swift_hare.py").read_text()
    assert text.startswith('"""Data, `swift_hare:arrays` in sweep files, and a network for them.')
    assert "my_" not in text
    changes = [
        "budget=200",
        "grid={eval_items: 100}",
        *(change for change in SMALL if change[:4] not in ("budg", "grid")),
    ]
    spec = load_spec(tmp_path / "swift_hare.yaml", changes)
    assert (spec.task.load, spec.model.name) == ("swift_hare:arrays", "swift_hare")
    assert spec.criterion.metric == "label_accuracy"
    accuracy_RT = trained(spec, tmp_path / "r").history().values["label_accuracy"]
    assert np.isfinite(accuracy_RT[:, -1]).all()
    assert (np.nanmax(accuracy_RT, axis=1) > 0.8).all()
    for check in MODEL_CONTRACT.checks:
        check(MODELS["swift_hare"], TASKS["sine_regression"])


def test_a_new_sweep_of_the_task_dataset_says_where_data_of_ones_own_go_and_nothing_that_is_filled_in(tmp_path):
    assert "seedbed new data NAME" in new("sweep", "mine", tmp_path, "dataset")
    text = (tmp_path / "mine.yaml").read_text()
    assert "null" not in text
    assert "content" not in text
    assert load_spec(tmp_path / "mine.yaml").task.name == "dataset"


@pytest.mark.parametrize("task", ["linear_regression", "feature_regression", "sparse_parity"])
def test_a_new_sweep_of_a_task_has_a_model_that_fits_it(task, tmp_path):
    new("sweep", "mine", tmp_path, task)
    spec = load_spec(tmp_path / "mine.yaml")
    assert (spec.name, spec.task.name) == ("mine", task)
    assert len(spec.runs()) == 8


def test_a_new_sweep_of_a_task_of_ones_own_imports_it_from_where_it_is(tmp_path):
    new("task", "own_lynx", tmp_path)
    load(resolved("./own_lynx.py", tmp_path))
    new("sweep", "mine", tmp_path / "below", "own_lynx")
    # Beside whatever this process has imported so far.
    assert "./../own_lynx.py" in yaml.safe_load((tmp_path / "below" / "mine.yaml").read_text())["imports"]
    assert load_spec(tmp_path / "below" / "mine.yaml").task.name == "own_lynx"


@pytest.mark.parametrize("there", ["fox.py", "fox.yaml"])
def test_nothing_is_overwritten_and_nothing_written_beside_it(there, tmp_path):
    (tmp_path / there).write_text("mine")
    with pytest.raises(StoreError, match=f"{there} is there already"):
        new("task", "fox", tmp_path)
    assert {path.name: path.read_text() for path in tmp_path.iterdir() if path.is_file()} == {there: "mine"}


@pytest.mark.parametrize(
    ("kind", "name", "told"),
    [
        ("tsak", "fox", "did you mean 'task'"),
        ("task", "Fox", "cannot be a name"),
        ("task", "class", "cannot be a name"),
        ("task", "../fox", "cannot be a name"),
        ("task", "dictionary_lookup", "a task is called 'dictionary_lookup' already"),
        ("data", "transformer", "a model is called 'transformer' already"),
        ("optimiser", "adamw", "an optimiser is called 'adamw' already"),
        ("task", "tensor", "a word of the file itself"),
        ("sweep", "a b", "cannot be the name of a sweep"),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(kind, name, told, tmp_path):
    with pytest.raises(StoreError, match=told):
        new(kind, name, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_task_is_asked_for_with_sweeps_alone_and_must_be_known(tmp_path):
    with pytest.raises(StoreError, match="--task is for"):
        new("model", "fox", tmp_path, "linear_regression")
    with pytest.raises(StoreError, match="did you mean 'linear_regression'"):
        new("sweep", "fox", tmp_path, "linear_regresion")
