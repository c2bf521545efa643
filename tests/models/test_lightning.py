"""LightningModules of the user's own in packs: their numbers beside a Trainer's, their seeds, and what is refused."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import lightning
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from pipeline.contracts import runs
from pipeline.contracts.runs import RUN_CONTRACT
from pipeline.engine.block import Block, to_host
from pipeline.own_code.imported import class_named, forget
from pipeline.spec.draws import draw_keys
from pipeline.spec.errors import SpecError
from pipeline.spec.sweep import SweepSpec, load_spec
from pipeline.training.replay import model as model_at
from pipeline.training.sources import source_hashes
from tests.models.lit_sweeps import FILE, spec_of
from tests.support import configs, trained

pytestmark = pytest.mark.usefixtures("lit_is_imported")


def test_a_lightning_module_keeps_the_rule_resumes_and_replays_to_the_bit(monkeypatch):
    factor = {"optimiser.lr": [0.5, 1.0, 2.0], "optimiser.clip": [None, 0.1, 1.0]}
    monkeypatch.setattr(
        runs, "spec_of", lambda **changes: spec_of(**{"vary": [factor], "seeds": {"together": [0, 1]}} | changes)
    )
    for check in RUN_CONTRACT.checks:
        check({})


def test_a_run_has_the_numbers_that_a_trainer_gives(tmp_path):
    (run,) = configs(
        spec_of(model={"dropout": 0.0}, seeds={"together": [5]}, optimiser={"name": "configured", "clip": 0.3})
    )
    block = Block(run, 2, torch.device("cpu"))
    batches = [block.sample("train", torch.full_like(block.steps_S, step), run.batch_size) for step in range(24)]
    held = block.sample("label", torch.full_like(block.steps_S, 24), 40)
    torch.manual_seed(5)
    module = class_named(f"{FILE}:Lit")(dropout=0.0)
    trainer = lightning.Trainer(
        max_epochs=1, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, gradient_clip_val=0.3, num_sanity_val_steps=0, default_root_dir=tmp_path,
    )  # fmt: skip
    pairs = [(batch.inputs[0], batch.targets[0]) for batch in (*batches, held)]
    trainer.fit(module, DataLoader(pairs[:-1], batch_size=None))
    (theirs,) = trainer.validate(module, DataLoader(pairs[-1:], batch_size=None), verbose=False)
    block.train(24)
    ours = {name: float(value_S[0]) for name, value_S in to_host(block.evaluate(40))[0].items()}
    # The bias before batch norm has a gradient of 0 but for rounding, which Adam makes steps of.
    theirs_by_name = {name: value for name, value in module.named_parameters() if name != "body.0.bias"}
    for name, value in {**theirs_by_name, "body.1.running_var": module.body[1].running_var}.items():
        torch.testing.assert_close(
            block.parameters[name][0].view(value.shape).detach(), value.detach(), rtol=1e-3, atol=1e-4
        )
    assert ours["label_loss"] == pytest.approx(theirs["val_loss"], rel=1e-3)
    assert ours["label_accuracy"] == pytest.approx(theirs["val_acc"])
    assert ours["label_size"] == pytest.approx(theirs["val_size"], rel=1e-3)


def test_a_finished_run_gives_the_users_own_module(tmp_path):
    spec = spec_of(seeds={"together": [0]}, model={"hidden": 7})
    store = trained(spec, tmp_path / "results")
    history = store.history()
    assert {"label_loss", "label_accuracy", "label_size", "probe_loss"} <= history.values.keys()
    module = model_at(store, history.runs[0].run_id, 30)
    assert type(module) is class_named(f"{FILE}:Lit")
    assert module.hparams.hidden == 7
    assert list(module.state_dict()) == list(class_named(f"{FILE}:Lit")(hidden=7).state_dict())
    seen = []
    module.body[0].register_forward_hook(lambda *parts: seen.append(parts[2]))
    (run,) = configs(spec)
    block = Block(run, 1, torch.device("cpu"))
    batch = block.sample("label", torch.full_like(block.steps_S, 30), 32)
    loss = nn.functional.cross_entropy(module(batch.inputs[0]), batch.targets[0])
    assert len(seen) == 1
    assert float(loss) == pytest.approx(history.values["label_loss"][0, -1], rel=1e-5)


def test_a_module_without_validation_is_evaluated_by_its_training_step():
    block = Block(configs(spec_of("Bare"))[0], 1, torch.device("cpu"))
    assert set(block.evaluate(8)) == {"label_loss", "label_excess"}
    assert block.model.noise_streams(block.task.shape()) == ()


REFUSED = [
    ("Manual", {}, "Manual optimises by itself"),
    ("Hooked", {}, "Hooked defines on_train_epoch_end, which a Trainer alone calls"),
    ("Epochs", {}, "Epochs uses self.current_epoch"),
    ("WithTrainer", {}, "WithTrainer uses self.trainer"),
    ("Remembers", {}, "gives another result the second time"),
    ("Recomputing", {}, "the gradient draws random numbers of its own, as torch.utils.checkpoint does"),
    ("Unsuited", {}, "raises on a batch of inputs (4, 9) int64 and targets (4,) int64: RuntimeError"),
    ("NoLoss", {}, "training_step gives NoneType, not a loss"),
    ("OtherName", {}, "validation_step logs val/ce, not val_loss; name its loss, as monitor: NAME"),
    ("Taken", {}, "Taken.__init__ has a parameter name, a name that is taken"),
    ("Missing", {}, "defines no class Missing (classes: "),
    ("Lit", {"hiden": 3}, "unknown key 'hiden'; did you mean 'hidden'?"),
    ("Lit", {"hidden": "3"}, "hidden"),
    ("Bare", {"hidden": {"a": 1}}, "hidden"),
    ("Open", {"sizes": {"a": 1}}, "a keyword of the class is given a mapping; give numbers, text and lists"),
    ("Lit", {"hidden": 0}, "parameter embed.weight is torch.float32 of shape (8, 0)"),
]


@pytest.mark.parametrize(("lit", "model", "message"), REFUSED, ids=[f"{row[0]} {row[2]}"[:40] for row in REFUSED])
def test_what_a_pack_cannot_train_is_refused_when_the_spec_is_read(lit, model, message):
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        spec_of(lit, model=model)
    assert all(error["loc"][0] == "model" for error in caught.value.errors())


def test_lists_reach_the_class_as_lists_and_its_keywords_may_have_most_names():
    (run,) = configs(spec_of("Open", model={"sizes": [3, 4], "model_dim": 2}, seeds={"together": [0]}))
    assert run.model.own_keywords() == {"sizes": [3, 4], "model_dim": 2}
    assert {spec.name: spec.columns for spec in run.model.parameter_specs(run.task.shape())}["embed.weight"] == 7


def test_a_logged_loss_of_another_name_is_the_one_that_counts():
    block = Block(configs(spec_of("OtherName", model={"monitor": "val/ce"}))[0], 1, torch.device("cpu"))
    assert set(block.evaluate(8)) == {"label_loss", "label_excess"}


SWEEP = """
name: own
task: {name: dictionary_lookup, num_keys: 4, num_values: 4, num_pairs: 4}
model: {name: lightning, module: ./lit.py:Lit, hidden: 5}
batch_size: 8
budget: 500
seeds: {together: [0]}
vary: [{model.dropout: [0.0, 0.5]}]
"""


def test_a_sweep_file_names_the_class_alone_and_its_runs_hash_its_file(tmp_path):
    forget(FILE)
    (tmp_path / "lit.py").write_text(Path(FILE).read_text())
    (tmp_path / "sweep.yaml").write_text(SWEEP)
    spec = load_spec(tmp_path / "sweep.yaml")
    try:
        assert spec.imports == (str(tmp_path / "lit.py"),)
        assert [run.model.dropout for run in spec.runs()] == [0.0, 0.5]
        assert len({run.static_key() for run in spec.runs()}) == 2
        assert SweepSpec.model_validate(spec.identity()).sweep_id == spec.sweep_id
        named = source_hashes(spec, spec.runs())
        assert "lit.py" in named
        assert not [name for name in named if name.startswith(("lightning", "torch"))]
    finally:
        forget(str(tmp_path / "lit.py"))
    (tmp_path / "sweep.yaml").write_text(SWEEP.replace("lit.py:Lit", "lot.py:Lit"))
    with pytest.raises(SpecError, match=r"sweep\.yaml:4: model\.module: there is no file"):
        load_spec(tmp_path / "sweep.yaml")


@pytest.fixture
def start(tmp_path, monkeypatch):
    """A checkpoint that seedbed did not write, in the working directory; its module."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    torch.manual_seed(77)
    module = class_named(f"{FILE}:Bare")()
    torch.save({"state_dict": module.state_dict(), "epoch": 3}, "bare.ckpt")
    return module


def test_runs_start_from_a_checkpoint_whose_hash_is_part_of_their_identity(start, tmp_path):
    spec = spec_of("Bare", model={"start": "bare.ckpt"}, seeds={"together": [0, 1]})
    first, second = spec.runs()
    block = Block(first, 2, torch.device("cpu"))
    block.load_run(1, second, block.start(second))
    for name, value in start.state_dict().items():
        for slot in range(2):
            assert torch.equal(block.parameters[name][slot].detach().view(value.shape), value), name
    assert first.model.start_content[1] == hashlib.sha256(Path("bare.ckpt").read_bytes()).hexdigest()
    assert not first.setting.seeds_used()[0]
    with pytest.raises(ValueError, match="init_seed"):
        spec_of("Bare", model={"start": "bare.ckpt"}, seeds={"crossed": {"init_seed": [0, 1], "data_seed": [0]}})
    # What a sweep was begun with is kept, and a changed file makes other runs.
    Path("bare.ckpt").unlink()
    assert SweepSpec.model_validate(spec.identity()).runs()[0].run_id == first.run_id
    with torch.no_grad():
        start.head.bias += 1
    torch.save(start.state_dict(), "bare.ckpt")
    assert spec_of("Bare", model={"start": "bare.ckpt"}).runs()[0].run_id != first.run_id


class Hostile:
    def __reduce__(self):
        return (Path("ran").touch, ())


def test_a_checkpoint_that_is_no_state_of_the_module_is_refused_and_runs_nothing(start):
    torch.save({"state_dict": {"weight": Hostile()}}, "hostile.ckpt")
    torch.save([1, 2], "list.ckpt")
    torch.save(torch.nn.Linear(2, 2).state_dict(), "other.ckpt")
    for name, message in (
        ("missing.ckpt", "missing.ckpt: there is no such file"),
        ("~no-such-user/own.ckpt", "own.ckpt: there is no such file"),
        ("hostile.ckpt", r"hostile.ckpt: torch.load\(weights_only=True\) refuses it"),
        ("list.ckpt", "list.ckpt: holds no state_dict"),
        ("other.ckpt", r"start other.ckpt: Error\(s\) in loading state_dict"),
    ):
        with pytest.raises(ValueError, match=message):
            spec_of("Bare", model={"start": name})
    assert not Path("ran").exists()


def test_runs_of_a_checkpoint_that_differ_by_an_init_seed_which_draws_nothing_are_one(start):
    def document(init_seed, data_seed):
        seeds = {"crossed": {"init_seed": [init_seed], "data_seed": [data_seed]}}
        (run,) = spec_of("Bare", model={"start": "bare.ckpt"}, seeds=seeds).runs()
        row = {"run_id": run.run_id, "setting_id": run.setting_id, "init_seed": init_seed, "data_seed": data_seed}
        return {"runs": [row], "settings": {run.setting_id: run.hyperparameters()}}

    found = draw_keys([document(0, 5), document(1, 5), document(1, 6)])
    first, same, other = found.values()
    assert first == same != other
