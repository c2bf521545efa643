"""The page on LightningModules, done as it says from an empty folder: its files, its commands, its Python."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset
from typer.testing import CliRunner

from pipeline.engine.block import Block
from pipeline.own_code.imported import class_named, entries, forget
from pipeline.spec.errors import SpecError
from pipeline.spec.sweep import load_spec
from pipeline.store.sweep_store import SweepStore
from pipeline.tasks._arrays import DataError
from pipeline.tasks._data_module import arrays_of_data_module
from sweeps.cli.__main__ import app

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "lightning.md").read_text(encoding="utf-8")
MODULE, READING = re.findall(r"```python\n(.*?)```", PAGE, re.S)
SWEEP, OF_DATA, UNDER_A_TRAINER = re.findall(r"```yaml\n(.*?)```", PAGE, re.S)
COMMANDS = [line.split()[1:] for part in re.findall(r"```sh\n(.*?)```", PAGE, re.S) for line in part.splitlines()]


def said(*arguments):
    done = CliRunner().invoke(app, list(arguments))
    assert done.exit_code == 0, done.output
    return done.output


@pytest.fixture
def _place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    yield
    for entry in entries():
        if entry.startswith(str(tmp_path)):
            forget(entry)


@pytest.mark.usefixtures("_place")
def test_every_command_of_the_page_works_in_order():
    Path("lit.py").write_text(MODULE)
    Path("sweep.yaml").write_text(SWEEP)
    *before, written = COMMANDS
    outputs = {command[0]: said(*command) for command in before}
    assert "8 runs in 2 settings" in outputs["plan"]
    assert "by its own training_step and validation_step" in " ".join(outputs["plan"].split())
    assert "8/8 runs done" in outputs["launch"]
    runs = {run["run_id"]: run for run in SweepStore(Path("results/lit")).plan["runs"]}
    assert len(runs) == 8
    spoken: dict[str, object] = {}
    exec(READING, spoken)
    lit, run_id = spoken["lit"], spoken["store"].history().runs[0].run_id
    assert not lit.training
    said(*(run_id[:8] if word == "RUN" else word for word in written))
    assert set(torch.load("lit.ckpt", weights_only=True)["hyper_parameters"]) == {"hidden", "lr", "dropout"}
    again = class_named("./lit.py:Lit").load_from_checkpoint("lit.ckpt", weights_only=True)
    assert type(again) is type(lit)
    assert again.hparams == lit.hparams
    assert again.hparams.hidden == 16
    for name, value in lit.state_dict().items():
        assert torch.equal(again.state_dict()[name], value), name
    refused = CliRunner().invoke(app, ["checkpoint", run_id, "--out", "lit.ckpt"])
    assert "lit.ckpt: exists already" in str(refused.exception)
    last = said("checkpoint", run_id).strip()
    assert torch.load(last, weights_only=True)["global_step"] == int(last.rpartition("-")[2].removesuffix(".ckpt")) > 0


@pytest.mark.usefixtures("_place")
def test_the_same_module_is_trained_under_a_trainer_by_one_word():
    Path("lit.py").write_text(MODULE)
    (section,) = (line for line in SWEEP.splitlines() if line.startswith("model:"))
    changed = SWEEP.replace(section, UNDER_A_TRAINER.strip()).replace("[0, 4]", "[0, 1]")
    Path("sweep.yaml").write_text(f"{changed}grid: {{eval_items: 64}}\n")
    output = " ".join(said("launch", "sweep.yaml", "--inline").split())
    assert "under a Trainer of its own" in output
    assert "2/2 runs done" in output
    run = SweepStore(Path("results/lit")).plan["runs"][0]["run_id"]
    said("checkpoint", run, "--results", "results/lit", "--out", "lit.ckpt")
    assert type(class_named("./lit.py:Lit").load_from_checkpoint("lit.ckpt", weights_only=True)).__name__ == "Lit"


DIGITS = """
from torch.utils.data import DataLoader, TensorDataset


class Digits(lightning.LightningDataModule):
    def setup(self, stage):
        images = torch.sin(torch.arange(60 * 64).float()).view(60, 1, 8, 8)
        classes = (images[:, 0, 0, 0] > 0).long()
        self.parts = [TensorDataset(images[:40], classes[:40]), TensorDataset(images[40:], classes[40:])]

    def train_dataloader(self):
        return DataLoader(self.parts[0], batch_size=7, shuffle=True)

    def val_dataloader(self):
        return DataLoader(self.parts[1], batch_size=7)


class Convolutional(Lit):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(72, 2))
"""


@pytest.mark.usefixtures("_place")
def test_a_data_module_and_a_convolution_train_as_they_are():
    Path("lit.py").write_text(MODULE + DIGITS)
    changed = OF_DATA.replace("lit.py:Lit", "lit.py:Convolutional")
    rest = "name: digits\nbatch_size: 8\nbudget: 100\nseeds: {together: [0]}\n"
    Path("digits.yaml").write_text(rest + changed)
    spec = load_spec("digits.yaml")
    assert spec.task.sizes() == {"train": 40, "label": 10, "probe": 10}
    block = Block(spec.runs()[0], 2, torch.device("cpu"))
    before = float(block.evaluate(10)["label_loss"][0])
    block.train(30)
    assert float(block.evaluate(10)["label_loss"][0]) < 0.8 * before
    Path("digits.yaml").write_text(rest + changed.replace("[1, 8, 8]", "[1, 8, 9]"))
    with pytest.raises(SpecError, match="does not hold the 64 numbers"):
        load_spec("digits.yaml")


def pairs(*arrays):
    return DataLoader(TensorDataset(*arrays), 2)


class Random(Dataset):
    def __len__(self):
        return 3

    def __getitem__(self, index):
        return torch.rand(2), index


class Streaming(IterableDataset):
    def __iter__(self):
        return iter(())


REFUSED = [
    ([1], "gives list, not one DataLoader"),
    (DataLoader(Streaming()), "its data set streams"),
    (DataLoader(Random()), "gives other numbers the second time"),
    (pairs(torch.ones(3)), "not pairs of an input and a target"),
]


@pytest.mark.parametrize(("loader", "message"), REFUSED)
def test_data_modules_without_fixed_pairs_are_refused_by_name(loader, message):
    class Data:
        prepare_data = setup = lambda self, *_: None
        train_dataloader = val_dataloader = lambda self: loader

    with pytest.raises(DataError, match=f"my:Data: train_dataloader.*{message}"):
        arrays_of_data_module(Data(), "my:Data")
