"""Data files and functions: what is read, what is refused and how, and that a run knows its data by their hash."""

from __future__ import annotations

import io
import pickle

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from typer.testing import CliRunner

from pipeline.contracts.tasks import sample
from pipeline.launch.planned import plan_on
from pipeline.own_code import imported
from pipeline.planning.packs import Machine, stored_spec
from pipeline.spec.errors import SpecError
from pipeline.spec.sweep import SweepSpec, load_spec
from pipeline.store.pack_store import StoreError
from pipeline.tasks import _kept_data
from pipeline.tasks.base import TASKS
from pipeline.training.sources import source_hashes
from sweeps.cli.__main__ import app
from tests.support import trained

DATASET = TASKS["dataset"]
INPUTS, TARGETS = np.arange(120.0).reshape(40, 3) % 7, np.arange(40) % 3
SWEEP = """
name: own
imports: [{imports}]
task: {{name: dataset, {task}}}
model: {{name: linear}}
optimiser: {{name: adamw, lr: 1e-2}}
batch_size: 8
budget: 20
grid: {{chunk: 10, eval_items: 8, probe_items: 8}}
windows: []
seeds: {{together: [0, 1]}}
resources: {{slots: 2}}
tracking: {{mode: disabled}}
"""
MODEL = '''
from pipeline.models.torch_module import TorchModule


class Linear(TorchModule):
    """Softmax regression."""

    name = "linear"
    accepts = ("vectors",)

    def module(self, task_shape):
        from torch import nn

        return nn.Sequential(nn.Flatten(), nn.Linear(task_shape.length * task_shape.size, task_shape.num_outputs))
'''
FUNCTIONS = '''
import numpy as np


def made():
    """Inputs and targets."""
    return np.arange(120.0).reshape(40, 3) % 7, np.arange(40) % 3


def shifted(inputs, draws):
    """Inputs moved by a whole number for each example."""
    return inputs + draws.integers(1000, 1, 0).unsqueeze(-1)


ONE = 1
'''


@pytest.fixture(autouse=True)
def place(monkeypatch, tmp_path):
    """A folder with a sweep's data and code; caches and imports are forgotten after the test."""
    home = tmp_path / "home"
    home.mkdir()
    np.savez(home / "own.npz", inputs=INPUTS, targets=TARGETS)
    (home / "my_model.py").write_text(MODEL)
    (home / "my_data.py").write_text(FUNCTIONS)
    (home / "own.yaml").write_text(SWEEP.format(imports="./my_model.py", task="file: own.npz"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    before = set(imported._modules)
    yield home
    for entry in set(imported._modules) - before:
        imported.forget(entry)
    for cached in (_kept_data._content_of_version, _kept_data._hash_of_version, _kept_data._mapped):
        cached.cache_clear()


def with_functions(home, task):
    (home / "own.yaml").write_text(SWEEP.format(imports="./my_model.py, ./my_data.py", task=task))
    return load_spec(home / "own.yaml")


def test_the_same_numbers_are_the_same_data_in_any_file(place):
    names = {f"x{column}": INPUTS[:, column] for column in range(3)}
    pq.write_table(pa.table({**names, "target": TARGETS}), place / "own.parquet")
    np.savez_compressed(place / "small.npz", targets=TARGETS.astype(np.uint8), inputs=INPUTS.astype(np.float32))
    found = [DATASET(file=str(place / name)) for name in ("own.npz", "own.parquet", "small.npz")]
    assert len({task.content.sha256 for task in found}) == 1
    assert found[0].shape() == type(found[0].shape())("vectors", 3, 1, 3)
    made = with_functions(place, '"load": "my_data:made"').task
    assert made.content.sha256 == found[0].content.sha256


def test_images_are_rows_of_pixels(place):
    images = np.arange(40 * 4 * 5 * 3).reshape(40, 4, 5, 3)
    np.savez(place / "images.npz", inputs=images.astype(np.uint8), targets=TARGETS)
    task = DATASET(file=str(place / "images.npz"), order="epochs")
    assert task.shape() == type(task.shape())("vectors", 4, 15, 3)
    shown = {tuple(item.flatten().tolist()) for item in sample(task, num_rows=32).inputs[0]}
    assert shown <= {tuple(image.flatten().tolist()) for image in images.astype(np.uint8).astype(float)}


class Trap:
    def __reduce__(self):
        return (open, ("trap", "w"))


def damaged_inside():
    """An archive whose packed numbers begin with a kind of block that there is not."""
    stream = io.BytesIO()
    np.savez_compressed(stream, inputs=INPUTS, targets=TARGETS)
    content = bytearray(stream.getvalue())
    name_size, extra_size = (int.from_bytes(content[place : place + 2], "little") for place in (26, 28))
    content[30 + name_size + extra_size] = 0xFF
    return bytes(content)


REFUSED = [
    ({"targets": TARGETS}, {}, r"own.npz: arrays targets; expected are inputs, targets"),
    ({"inputs": INPUTS, "labels": TARGETS}, {}, r"own.npz: arrays inputs, labels; expected are"),
    ({"inputs": INPUTS}, {}, r"own.npz: has no array 'targets'"),
    ({"inputs": INPUTS, "targets": TARGETS[:30]}, {}, r"own.npz: array 'targets' has 30 items, 'inputs' 40"),
    ({"inputs": INPUTS, "targets": TARGETS / 2}, {}, r"own.npz: array 'targets' holds float64; classes are whole"),
    (
        {"inputs": INPUTS, "targets": TARGETS - 1},
        {},
        r"own.npz: array 'targets' runs from -1 to 1; classes are numbered",
    ),
    ({"inputs": INPUTS * np.nan, "targets": TARGETS}, {}, r"own.npz: array 'inputs' holds numbers that are not finite"),
    ({"inputs": INPUTS * 1e300, "targets": TARGETS}, {}, r"own.npz: array 'inputs' holds numbers that are not finite"),
    ({"inputs": INPUTS.astype(str), "targets": TARGETS}, {}, r"own.npz: array 'inputs' holds <U\d+, not numbers"),
    ({"inputs": INPUTS[:, 0], "targets": TARGETS}, {}, r"own.npz: array 'inputs' \(40,\) is neither"),
    ({"inputs": INPUTS, "targets": TARGETS * 0}, {}, r"array 'targets' holds one value alone"),
    ({"inputs": INPUTS, "targets": TARGETS, "split": TARGETS}, {}, r"own.npz: array 'split' with 2; expected is"),
    ({"inputs": INPUTS, "targets": TARGETS, "split": TARGETS * 0}, {}, r"40 items of .*own.npz leave a set empty"),
    ({"inputs": INPUTS, "targets": TARGETS}, {"kind": "next_token"}, r"own.npz: array 'targets': of next tokens"),
    ({"inputs": TARGETS}, {"kind": "next_token"}, r"own.npz: array 'inputs' is one text; give `context`"),
    ({"inputs": INPUTS, "targets": TARGETS}, {"context": 3}, r"context \(3\) has no effect: kind classification"),
    (
        {"inputs": TARGETS},
        {"kind": "next_token", "context": -1},
        r"context\n +Input should be greater than",
    ),
    ({"inputs": INPUTS, "targets": TARGETS}, {"load": "a:b"}, r"give file or load, not both"),
    ({"inputs": np.array([Trap()] * 3), "targets": TARGETS}, {}, r"own.npz: array 'inputs': Object arrays cannot be"),
]


@pytest.mark.parametrize(("arrays", "given", "message"), REFUSED, ids=lambda one: one if isinstance(one, str) else "")
def test_what_cannot_be_trained_on_is_refused_by_file_and_array(place, arrays, given, message):
    np.savez(place / "own.npz", **arrays)
    with pytest.raises(ValueError, match=message):
        DATASET(file=str(place / "own.npz"), **given)
    assert not (place.parent / "elsewhere" / "trap").exists()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("own.npz", b"no archive", "own.npz: cannot be read"),
        ("own.npz", b"PK\x03\x04 cut", "own.npz: cannot be read"),
        ("own.npz", pickle.dumps([1]), "own.npz: cannot be read"),
        ("own.npz", damaged_inside(), "own.npz: cannot be read: .*decompressing"),
        ("own.parquet", b"PAR1", "own.parquet: cannot be read"),
        ("own.npy", b"", "own.npy: cannot be read"),
        ("own.csv", b"1,2", "own.csv: data are read from .npz, .npy, .parquet, not from .csv"),
    ],
)
def test_a_damaged_file_is_refused_by_name(place, name, content, message):
    (place / name).write_bytes(content)
    with pytest.raises(ValueError, match=message):
        DATASET(file=str(place / name))


def test_a_name_that_begins_as_that_of_an_unknown_user_is_a_missing_file(place):
    with pytest.raises(ValueError, match=r"~no-such-user/own\.npz: there is no such file"):
        DATASET(file="~no-such-user/own.npz")


def test_a_sweep_file_names_data_beside_it_and_its_runs_know_them_by_hash(place, tmp_path):
    spec = load_spec(place / "own.yaml")
    store = trained(spec, tmp_path / "r")
    assert {end.step for end in store.history().ends} == {20}
    assert stored_spec(store) == spec
    assert spec.identity()["task"]["content"]["sha256"] == spec.task.content.sha256
    np.savez(place / "own.npz", inputs=INPUTS, targets=TARGETS[::-1])
    other = load_spec(place / "own.yaml")
    assert {run.run_id for run in other.runs()}.isdisjoint(run.run_id for run in spec.runs())
    assert SweepSpec.model_validate(spec.identity()).runs() == spec.runs(), "a stored spec reads no data"


def test_a_file_that_is_missing_is_named_with_the_folders_that_were_searched(place):
    (place / "own.npz").unlink()
    with pytest.raises(SpecError, match=r"own.npz: there is no such file \(looked in .*home, .*elsewhere\)"):
        load_spec(place / "own.yaml")


@pytest.fixture
def half_done(place, tmp_path):
    """A results folder that is not done, and one that is."""
    spec = load_spec(place / "own.yaml")
    runner = CliRunner()
    done = runner.invoke(app, ["launch", str(place / "own.yaml"), "--inline", "--results", str(tmp_path / "r")])
    assert done.exit_code == 0, done.output
    return spec.runs()[0].run_id, tmp_path / "r"


@pytest.mark.parametrize("change", ["changed", "missing"])
def test_resuming_verifying_and_replaying_refuse_data_that_are_not_what_they_were(half_done, place, change):
    run_id, results = half_done
    commands = [
        ["resume", str(results), "--inline"],
        ["verify", str(results), "--retrain", "1"],
        ["replay", run_id, "--results", str(results), "--from", "0", "--to", "10", "--every", "10"],
    ]
    for command in commands:
        assert CliRunner().invoke(app, command).exit_code == 0, command
    if change == "changed":
        np.savez(place / "own.npz", inputs=INPUTS, targets=TARGETS[::-1])
        told = "own.npz: has changed since the sweep was begun (SHA-256"
    else:
        (place / "own.npz").unlink()
        told = f"own.npz: there is no such file (looked in {place.parent / 'elsewhere'}, {place})"
    for command in commands:
        found = CliRunner().invoke(app, command)
        assert found.exit_code != 0, command
        assert told in str(found.exception), command
    assert CliRunner().invoke(app, ["status", str(results)]).exit_code == 0, "what was recorded needs no data"


def test_data_that_change_after_the_sweep_file_was_read_are_not_planned_for(place, tmp_path):
    spec = load_spec(place / "own.yaml")
    np.savez(place / "own.npz", inputs=INPUTS, targets=TARGETS[::-1])
    with pytest.raises(StoreError, match=r"^own: .*own.npz: has changed since the sweep was begun"):
        plan_on(spec, Machine.cpu(1))


def test_arrays_of_the_cache_that_were_damaged_are_not_used(place):
    task = DATASET(file=str(place / "own.npz"))
    (kept,) = (place.parent / "cache" / "seedbed" / "data").glob("*/targets.npy")
    content = bytearray(kept.read_bytes())
    content[-1] ^= 1
    kept.write_bytes(content)
    with pytest.raises(ValueError, match="is damaged, and was removed"):
        sample(task)
    assert sample(task).targets.shape == (1, 8)


def test_factors_vary_the_training_set_and_the_noise(place):
    vary = "\nvary: [{task.num_train: [8, 16]}, {task.label_noise: [0.0, 0.2]}, {task.file: [own.npz, two.npz]}]\n"
    np.savez(place / "two.npz", inputs=INPUTS, targets=TARGETS[::-1])
    (place / "own.yaml").write_text((place / "own.yaml").read_text() + vary)
    runs = load_spec(place / "own.yaml").runs()
    assert len({run.run_id for run in runs}) == 16
    assert len({run.static_key() for run in runs}) == 4
    assert {(run.task.file, run.task.content.sha256) for run in runs} == {
        (name, DATASET(file=str(place / name)).content.sha256) for name in ("own.npz", "two.npz")
    }


def test_a_function_changes_training_inputs_by_draws_of_its_own_stream(place):
    spec = with_functions(place, '"load": "my_data:made", augment: "my_data:shifted"')
    task, plain = spec.task, with_functions(place, '"load": "my_data:made"').task
    moved = sample(task, (0, 1)).inputs - sample(plain, (0, 1)).inputs
    assert len(moved.unique()) > 10
    assert torch.equal(moved, moved[:, :, :1].expand_as(moved))
    for split in ("label", "probe"):
        assert torch.equal(sample(task, split=split).inputs, sample(plain, split=split).inputs)
    assert "my_data.py" in source_hashes(spec, spec.runs())


@pytest.mark.parametrize("draw", ["torch.rand(1)", "numpy.random.rand()", "random.random()"])
def test_a_function_that_changes_inputs_by_draws_of_its_own_raises(place, draw):
    (place / "my_data.py").write_text(
        f"import random\nimport numpy\nimport torch\n\n\ndef shifted(inputs, draws):\n    {draw}\n    return inputs\n"
    )
    task = with_functions(place, 'file: own.npz, augment: "my_data:shifted"').task
    sample(task, split="label")
    with pytest.raises(RuntimeError, match="augment my_data:shifted draws random numbers of its own"):
        sample(task, split="train")


@pytest.mark.parametrize(
    ("task", "message"),
    [
        (
            '"load": "my_other:made"',
            r"module 'my_other' is not among the `imports` of the sweep file \(.*my_data, my_model",
        ),
        ('"load": "my_data:missing"', r"my_data.py defines no function 'missing'"),
        ('"load": "my_data:ONE"', r"my_data.py defines no function 'ONE'"),
    ],
)
def test_a_function_that_is_not_there_is_refused(place, task, message):
    with pytest.raises(SpecError, match=message):
        with_functions(place, task)


def test_values_have_no_accuracy_to_converge_by(place):
    task = {"name": "dataset", "file": str(place / "own.npz"), "kind": "regression"}
    np.savez(place / "own.npz", inputs=INPUTS, targets=TARGETS / 2)
    (place / "own.yaml").write_text(
        SWEEP.format(imports="./my_model.py", task=f"kind: regression, file: {task['file']}")
        + "converged: {metric: label_accuracy, at_least: 0.9}\n"
    )
    with pytest.raises(SpecError, match="task dataset has no accuracy"):
        load_spec(place / "own.yaml")
