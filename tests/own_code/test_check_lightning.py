"""The contract of LightningModules: what breaks each clause is told, and `seedbed check` reads it from sweep files."""

from __future__ import annotations

import io

import pytest

from pipeline.contracts import lightning_modules
from pipeline.contracts.contract import clause_of
from pipeline.contracts.lightning_modules import ModuleSetting, lightning_contract
from pipeline.contracts.small_sweeps import tiny
from pipeline.own_code.imported import forget, load
from pipeline.store.pack_store import StoreError
from sweeps.cli.consoles import PlainConsole
from sweeps.command.own.checking import run_check

MODULES = '''
import lightning, torch
from torch.nn import functional

CALLS = [0]


class Plain(lightning.LightningModule):
    def __init__(self, width: int = 5):
        super().__init__()
        self.embed, self.head = torch.nn.Embedding(8, width), torch.nn.Linear(width, 4)

    def loss(self, batch):
        return functional.cross_entropy(self.head(self.embed(batch[0]).mean(1)), batch[1])

    def training_step(self, batch):
        return self.loss(batch)

    def validation_step(self, batch):
        self.log("val_loss", self.loss(batch))

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


class Still(Plain):
    def training_step(self, batch):
        return self.loss(batch) + 0 * self.extra

    def __init__(self):
        super().__init__()
        self.extra = torch.nn.Parameter(torch.ones(()))


class KnowsTrainer(Plain):
    def training_step(self, batch):
        return self.loss(batch) * (1 if getattr(self, "_trainer", None) is None else 3)


class LogsMore(Plain):
    def validation_step(self, batch):
        self.log("val_loss", self.loss(batch))
        if getattr(self, "_trainer", None) is not None:
            self.log("val_more", 1.0)


class Unloadable(Plain):
    def load_state_dict(self, state, *more, **others):
        return super().load_state_dict({name: 2 * value for name, value in state.items()}, *more, **others)


class Normalised(Plain):
    """The gradient of its first bias is 0 but for rounding."""

    def __init__(self):
        super().__init__()
        linear, norm = torch.nn.Linear(45, 5), torch.nn.BatchNorm1d(5)
        self.embed = torch.nn.Sequential(torch.nn.Embedding(8, 5), torch.nn.Flatten(), linear, norm)

    def loss(self, batch):
        return functional.cross_entropy(self.head(self.embed(batch[0])), batch[1])

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), 0.05)


class Counts(Plain):
    def training_step(self, batch):
        CALLS[0] += 1
        return self.loss(batch) * (1 + CALLS[0] // 40)


class Forgets(Plain):
    """Its hook keeps what no checkpoint has."""

    def on_fit_start(self):
        self.factor = 1.0

    def training_step(self, batch):
        return self.factor * self.loss(batch)

    def on_train_batch_end(self, outputs, batch, batch_idx):
        self.factor *= 0.9
'''
# Clause -> the class that breaks it, and what is said.
BROKEN = {
    1: ("Still", "parameter extra is where it was after 10 steps"),
    2: ("KnowsTrainer", "embed.weight differs by up to"),
    3: ("LogsMore", "and by Trainer.validate label_loss, label_more"),
    4: ("Unloadable", "embed.weight is another after load_from_checkpoint"),
    5: ("Counts", "runs have other bits after 25 steps"),
    6: ("Forgets", "an interrupted sweep recorded other numbers"),
}


@pytest.fixture
def entry(tmp_path):
    file = tmp_path / "modules.py"
    file.write_text(MODULES)
    load(str(file))
    yield str(file)
    forget(str(file))


@pytest.mark.parametrize("number", BROKEN)
def test_a_module_that_breaks_a_clause_is_told_so_and_a_plain_one_keeps_it(number, entry):
    lit, told = BROKEN[number]
    check = next(check for check in lightning_contract({}).checks if clause_of(check) == number)
    more = {"trainer": True} if lit == "Forgets" else {}
    task = tiny().identity()["task"]
    settings = {
        name: ModuleSetting({"task": task, "model": {"name": "lightning", "module": f"{entry}:{name}", **more}})
        for name in (lit, "Plain")
    }
    if number != 6:
        # That takes a while, and is tested of a larger one.
        check(settings["Plain"])
    with pytest.raises(AssertionError, match=told):
        check(settings[lit])


def test_rounding_that_adam_enlarges_breaks_no_clause(entry):
    task = tiny().identity()["task"]
    model = {"name": "lightning", "module": f"{entry}:Normalised"}
    setting = ModuleSetting({"task": task, "model": model, "dtype": "float32"})
    assert "embed.2.bias differs" in lightning_modules._difference_from_a_trainer(setting)
    lightning_modules._check_2_a_pack_moves_it_as_a_trainer_does(setting)


SWEEP = """
name: own
task: {name: dictionary_lookup, num_keys: 4, num_values: 4, num_pairs: 4}
model: {name: lightning, module: ./modules.py:Still}
batch_size: 8
budget: 500
seeds: {together: [0]}
"""


def checked(*files):
    out = PlainConsole(file=io.StringIO(), width=200)
    return run_check(files, out), out.file.getvalue()


def test_modules_are_checked_as_a_sweep_file_has_them_or_with_their_defaults(entry, tmp_path):
    sweep = tmp_path / "own.yaml"
    sweep.write_text(SWEEP)
    code, told = checked(sweep)
    assert code == 1
    assert "clause 1 is broken: It trains" in told
    assert "parameter extra is where it was" in told
    assert "1 clause is broken" in told
    others = "{name: attention_only}\noptimiser: {name: sgd, lr: 1}"
    sweep.write_text(SWEEP.replace("{name: lightning, module: ./modules.py:Still}", others))
    with pytest.raises(StoreError, match="has no LightningModule"):
        checked(sweep)


def test_a_module_that_suits_no_task_here_is_told_to_be_checked_with_its_own(tmp_path):
    (tmp_path / "odd.py").write_text(MODULES.split("class Still")[0].replace("Embedding(8,", "Embedding(1,"))
    code, told = checked(tmp_path / "odd.py")
    assert code == 1
    assert "it suits no task of seedbed with the defaults of its keywords (Plain raises on a batch" in told
    assert "by `seedbed check SWEEP.yaml`" in told
