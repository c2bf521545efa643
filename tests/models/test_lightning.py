"""LightningModules of the user's own in packs: their numbers beside a Trainer's, their seeds, and what is refused."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import lightning
import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from pipeline.contracts import runs
from pipeline.contracts.runs import RUN_CONTRACT
from pipeline.engine.block import Block, to_host
from pipeline.models._lightning_optimisers import configuration_of, lr_factors_of
from pipeline.own_code.imported import class_named, forget, load
from pipeline.spec.draws import draw_keys
from pipeline.spec.errors import SpecError
from pipeline.spec.sweep import STORED, SweepSpec, load_spec
from pipeline.training.replay import model as model_at
from pipeline.training.sources import source_hashes
from tests.support import configs, tiny, trained

FILE = str(Path(__file__).parent / "lit.py")


@pytest.fixture(autouse=True)
def _imported():
    load(FILE)
    yield
    forget(FILE)


def spec_of(lit="Lit", **changes):
    data = tiny().identity() | {"model": {"name": "lightning", "module": f"{FILE}:{lit}", **changes.pop("model", {})}}
    del data["optimiser"], data["schedule"]
    return SweepSpec.model_validate(data | {"imports": [FILE]} | changes)


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


class Asking(nn.Module):
    """A module whose configure_optimizers is any function of it."""

    def __init__(self, given):
        super().__init__()
        self.one, self.two, self.given = nn.Linear(2, 2), nn.Linear(2, 2), given

    def configure_optimizers(self):
        return self.given(self)


def adamw(module, lr=0.1, **more):
    return torch.optim.AdamW(module.parameters(), lr, **more)


def scheduled(make, **more):
    def given(module):
        optimiser = adamw(module)
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": make(optimiser), "interval": "step"} | more}

    return given


ASKED = [
    (adamw, ("adamw", {"lr": 0.1, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "weight_decay": 0.01})),
    (lambda module: [torch.optim.Adam(module.parameters(), 0.2, (0.8, 0.9), 1e-6)],
     ("adamw", {"lr": 0.2, "beta1": 0.8, "beta2": 0.9, "eps": 1e-6, "weight_decay": 0.0})),
    (lambda module: torch.optim.SGD(module.parameters(), 0.3, momentum=0.5),
     ("sgd", {"lr": 0.3, "momentum": 0.5, "weight_decay": 0.0})),
    (lambda module: torch.optim.SGD(module.parameters(), 0), "gives lr=0.0; what is to stand still"),
    (lambda module: torch.optim.SGD(module.parameters(), 0.3, 0.9, nesterov=True), "asks for nesterov=True"),
    (lambda module: torch.optim.Adagrad(module.parameters()), "gives Adagrad; AdamW, Adam and SGD have"),
    (lambda module: [adamw(module), adamw(module)], "gives 2 optimisers"),
    (lambda module: adamw(module.one), "leaves out parameter two.weight"),
    (lambda module: torch.optim.Adam([{"params": [*part.parameters()], "betas": (beta, 0.9)} for part, beta in
                                      ((module.one, 0.5), (module.two, 0.6))]),
     "groups of parameters that differ in their betas"),
    (lambda module: torch.optim.SGD([{"params": [*module.one.parameters()]},
                                     {"params": [*module.two.parameters()], "nesterov": True, "momentum": 0.5}]),
     "asks for nesterov=True"),
    (lambda module: None, "gives NoneType, not an optimiser"),
    (lambda module: adamw(module, 1 / module.trainer.estimated_stepping_batches), "raises AttributeError: .* has no"),
]  # fmt: skip


@pytest.mark.parametrize(("given", "expected"), ASKED)
def test_an_optimiser_is_its_registered_equal_or_refused_by_name(given, expected):
    if isinstance(expected, tuple):
        assert configuration_of(Asking(given)) == (*expected, {}, False)
    else:
        with pytest.raises(ValueError, match=expected):
            configuration_of(Asking(given))


@pytest.mark.parametrize("kind", ["AdamW", "Adam", "SGD"])
def test_groups_and_decay_of_the_gradient_move_runs_as_torchs_own_optimiser(kind):
    seeds = {"seeds": {"together": [3, 4]}, "dtype": "float64", "model": {"kind": kind}}
    runs_of_pack = configs(spec_of("Groups", **seeds, vary=[{"optimiser.lr": [1.0, 0.5]}]))
    block = Block(runs_of_pack[0], len(runs_of_pack), torch.device("cpu"))
    for slot, run in enumerate(runs_of_pack):
        block.load_run(slot, run, block.start(run))
    batches = [
        block.sample("train", torch.full_like(block.steps_S, step), runs_of_pack[0].batch_size) for step in range(12)
    ]
    block.train(12)
    for slot, run in enumerate(runs_of_pack):
        torch.manual_seed(run.init_seed)
        module = class_named(f"{FILE}:Groups")(kind).double()
        (optimiser,), (scheduled,) = module.configure_optimizers()
        for group in optimiser.param_groups:
            group["lr"] *= run.optimiser.lr
        for batch in batches:
            optimiser.zero_grad()
            module.training_step((batch.inputs[slot], batch.targets[slot])).backward()
            optimiser.step()
            scheduled["scheduler"].step()
        for name, value in module.named_parameters():
            found = block.parameters[name][slot].detach().view(value.shape)
            torch.testing.assert_close(found, value.detach(), rtol=1e-9, atol=1e-9)


def test_runs_with_groups_keep_the_rule_resume_and_replay_to_the_bit(monkeypatch):
    factor = {"optimiser.lr": [0.5, 1.0, 2.0], "optimiser.clip": [None, 0.1, 1.0]}
    changes = {"vary": [factor], "seeds": {"together": [0, 1]}}
    monkeypatch.setattr(runs, "spec_of", lambda **given: spec_of("Groups", **changes | given))
    for check in RUN_CONTRACT.checks:
        check({})


def test_a_scheduler_that_moves_groups_differently_is_refused():
    def given(module):
        parts = [{"params": [*part.parameters()], "lr": lr} for part, lr in ((module.one, 1.0), (module.two, 2.0))]
        optimiser = torch.optim.SGD(parts)
        return [optimiser], [torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, 9, 0.5)]

    with pytest.raises(ValueError, match="CosineAnnealingLR, which moves the lr of groups differently"):
        lr_factors_of(Asking(given), 1, 9)


SCHEDULERS = {
    "cosine": lambda optimiser: torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, 9, 0.01),
    "one cycle": lambda optimiser: torch.optim.lr_scheduler.OneCycleLR(optimiser, 0.5, 20, cycle_momentum=False),
    "lambda": lambda optimiser: torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: min(1.0, (step + 1) / 5)),
    "exponential": lambda optimiser: torch.optim.lr_scheduler.ExponentialLR(optimiser, 0.9),
}


@pytest.mark.parametrize("name", SCHEDULERS)
def test_factors_are_those_of_torchs_own_scheduler(name):
    module = Asking(scheduled(SCHEDULERS[name]))
    base = configuration_of(module).hyperparameters["lr"]
    optimiser = adamw(module)
    scheduler = SCHEDULERS[name](optimiser)
    rates = []
    for _ in range(18):
        rates.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        scheduler.step()
    np.testing.assert_allclose(base * lr_factors_of(module, None, 18), rates, rtol=1e-12)


def test_a_scheduler_that_ends_keeps_its_last_factor_so_that_tables_may_be_longer():
    module = Asking(scheduled(SCHEDULERS["one cycle"]))
    whole = lr_factors_of(module, None, 1024)
    assert whole[:20].tolist() == lr_factors_of(module, None, 20).tolist()
    assert set(whole[20:]) == {whole[19]}
    assert whole[19] < whole[18]


def test_a_budget_beyond_the_end_of_a_scheduler_is_refused_in_new_sweeps():
    more = {"schedule": {"name": "configured"}}
    within = spec_of("OneCycle", budget=40, **more)
    assert within.runs()[0].schedule.num_updates() == 40
    with pytest.raises(ValueError, match=r"budget\n *is more than the 40 updates for which the model"):
        spec_of("OneCycle", budget=60, **more)
    with pytest.raises(ValueError, match=r"is more than the 40 updates") as caught:
        spec_of("OneCycle", budget=40, vary=[{"model.hidden": [3, 4, 5], "budget": [20, 40, 60]}], **more)
    assert caught.value.errors()[0]["loc"][:2] == ("vary", 0)
    stored = spec_of("OneCycle", budget=40, **more).identity() | {"budget": 60}
    assert SweepSpec.model_validate(stored, context=STORED).budget == 60
    assert spec_of("Lit", budget=60).runs()[0].schedule.num_updates() is None


def test_a_scheduler_of_epochs_needs_their_length_and_holds_lr_within_each():
    module = Asking(lambda own: ([optimiser := adamw(own)], [torch.optim.lr_scheduler.StepLR(optimiser, 2, 0.5)]))
    with pytest.raises(ValueError, match="counts epochs"):
        lr_factors_of(module, None, 4)
    assert lr_factors_of(module, 2, 9).tolist() == [1, 1, 1, 1, 0.5, 0.5, 0.5, 0.5, 0.25]


def test_schedulers_that_look_at_metrics_or_move_the_betas_are_refused():
    plateau = scheduled(torch.optim.lr_scheduler.ReduceLROnPlateau)
    cycle = scheduled(lambda optimiser: torch.optim.lr_scheduler.OneCycleLR(optimiser, 0.5, 20))
    for given, message in ((plateau, "looks at metrics"), (cycle, "OneCycleLR, which changes more than lr")):
        with pytest.raises(ValueError, match=message):
            lr_factors_of(Asking(given), None, 20)


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
