"""LightningModules under Trainers of their own: their hooks, their checkpoints in the store, and what is refused."""

from __future__ import annotations

import re
from dataclasses import replace

import lightning
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from pipeline.contracts import runs
from pipeline.contracts.runs import RUN_CONTRACT
from pipeline.engine.trainer_block import TrainerBlock
from pipeline.launch.planned import plan_on
from pipeline.models._lightning_trainer import trainer_engine
from pipeline.own_code.imported import class_named
from pipeline.planning.packs import Machine
from pipeline.spec.sweep import SweepSpec
from pipeline.training.abilities import Abilities
from tests.models.lit_sweeps import FILE
from tests.support import configs, opened, tiny, trained

CPU = torch.device("cpu")
pytestmark = pytest.mark.usefixtures("lit_is_imported")


def spec_of(lit="Gan", **changes):
    section = {"name": "lightning", "module": f"{FILE}:{lit}", "trainer": True, **changes.pop("model", {})}
    data = tiny().identity() | {"model": section, "imports": [FILE], "resources": {}}
    del data["optimiser"], data["schedule"]
    return SweepSpec.model_validate(data | changes)


def ends_of(store):
    return [end for record in store.newest_records().values() for end in record.ends.values()]


def test_a_module_with_two_optimisers_resumes_from_its_trainers_checkpoint_and_replays_to_the_bit(monkeypatch):
    changes = {"seeds": {"together": [0, 1]}, "model": {"steps_per_epoch": 7}}
    monkeypatch.setattr(runs, "spec_of", lambda **given: spec_of(**changes | {"snapshots": given["snapshots"]}))
    (check,) = (check for check in RUN_CONTRACT.checks if "resumed_and_replayed" in check.__name__)
    check({})


def test_three_seeds_are_trained_with_all_that_a_run_records(tmp_path):
    spec = spec_of(seeds={"together": [0, 1, 2]}, budget=20, model={"steps_per_epoch": 10})
    store = trained(spec, tmp_path / "results")
    history = store.history()
    assert {end.reason for end in ends_of(store)} == {"budget"}
    assert {"label_loss", "probe_loss", "grad_norm", "update_norm", "weight_norm"} <= history.values.keys()
    # Its training_step returns no loss.
    assert np.isnan(history.values["train_loss"]).all()
    label_loss = history.values["label_loss"]
    assert np.isfinite(label_loss[:, -1]).all()
    assert len(set(label_loss[:, -1])) == 3


def test_a_run_has_the_weights_that_the_users_own_trainer_gives(tmp_path):
    (run,) = configs(spec_of("Called", seeds={"together": [5]}, optimiser={"name": "configured", "clip": 0.3}))
    block = TrainerBlock(run, CPU)
    batches = [block.sample("train", torch.full_like(block.steps_S, step), run.batch_size) for step in range(24)]
    torch.manual_seed(5)
    module = class_named(f"{FILE}:Called")()
    trainer = lightning.Trainer(
        max_epochs=1, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, gradient_clip_val=0.3, default_root_dir=tmp_path, limit_val_batches=0,
    )  # fmt: skip
    trainer.fit(module, DataLoader([(batch.inputs[0], batch.targets[0]) for batch in batches], batch_size=None))
    block.train(10)
    block.train(14)
    for name, value in module.named_parameters():
        assert torch.equal(block.parameters[name][0].detach().view(value.shape), value), name


def test_hooks_of_steps_epochs_and_ends_are_called_as_in_one_fit():
    (run,) = configs(spec_of("Called", seeds={"together": [0]}, model={"steps_per_epoch": 2}))
    block, calls = TrainerBlock(run, CPU), class_named(f"{FILE}:Called").calls
    calls.clear()
    block.train(2)
    block.train(1)
    state = block.run_state(0)
    block.unload_run(0)
    first = ["batch 0 of epoch 0", "batch 1 of epoch 0", "epoch ends", "batch 0 of epoch 1"]
    assert calls == [*first, "epoch ends", "ends"]
    calls.clear()
    block.load_run(0, run, state)
    block.train(2)
    assert calls == ["batch 1 of epoch 1", "epoch ends", "batch 0 of epoch 2"]


def test_what_a_module_draws_depends_on_seed_and_step_alone_and_leaves_other_generators_alone():
    first, second = configs(spec_of(seeds={"together": [0, 1]}))
    torch.manual_seed(1)
    whole, before = TrainerBlock(first, CPU), torch.get_rng_state()
    whole.train(6)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    pieces = TrainerBlock(second, CPU)
    pieces.load_run(0, first, pieces.start(first))
    pieces.train(4)
    pieces.evaluate(20)
    # Goes on from its checkpoint.
    pieces.load_run(0, first, pieces.run_state(0))
    pieces.train(2)
    assert torch.equal(whole.weights_SP, pieces.weights_SP)
    assert whole.run_state(0).arrays["trainer"].tobytes() == pieces.run_state(0).arrays["trainer"].tobytes()


@pytest.mark.parametrize(
    ("lit", "model", "num_failed", "said"),
    [
        ("Breaking", {}, 1, "RuntimeError: cannot go on"),
        ("Gan", {"stops_at": 13}, 2, "TrainerEndedError: the Trainer stopped by itself"),
    ],
)
def test_a_run_that_raises_or_stops_its_trainer_fails_alone_and_says_why(lit, model, num_failed, said, tmp_path):
    store = trained(spec_of(lit, model=model, seeds={"together": [2, 3]}, budget=20), tmp_path / "r")
    failed = [end for end in ends_of(store) if end.reason == "failed"]
    assert len(failed) == num_failed
    assert {end.step for end in failed} == {10}
    assert all(said in end.cause for end in failed)


REFUSED = [
    ("Bare", {}, {}, "Bare has no validation_step; under a Trainer it says what the loss is"),
    ("Stopping", {}, {}, "configure_callbacks gives EarlyStopping; a run ends at its budget"),
    ("Keeping", {}, {}, "configure_callbacks gives ModelCheckpoint; `snapshots` keeps states"),
    ("Unplain", {}, {}, "torch.load(weights_only=True) refuses its checkpoint"),
    ("Plateau", {}, {}, "raises on a batch of inputs (4, 9) int64"),
    ("Gan", {"monitor": "val_ce"}, {}, "validation_step logs val_loss, not val_ce"),
    ("Gan", {"trainer": False}, {}, "is true, or left out"),
    ("Gan", {}, {"optimiser": {"name": "adamw", "lr": 0.1}}, "adamw has no effect beside model.trainer"),
    ("Gan", {}, {"schedule": {"name": "constant"}}, "constant has no effect beside model.trainer"),
    ("Gan", {}, {"optimiser": {"name": "configured", "lr": 0.5}}, "lr has no effect beside model.trainer"),
    ("Gan", {}, {"optimiser": {"name": "configured", "clip": 1.0}}, "clip has no effect on Gan"),
]


@pytest.mark.parametrize(("lit", "model", "changes", "message"), REFUSED, ids=[row[3][:40] for row in REFUSED])
def test_what_no_trainer_here_can_do_is_refused_when_the_spec_is_read(lit, model, changes, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        spec_of(lit, model=model, **changes)


def test_its_packs_have_one_slot_and_name_the_lightning_that_trains_them():
    pack = plan_on(spec_of(resources={"slots": 4}), Machine.cpu(1)).packs[0]
    assert (pack.numerics.slots, pack.numerics.engine) == (1, trainer_engine())
    here = Abilities.here()
    assert here.lacks(pack.numerics) is None
    assert "planned" not in (other := replace(here, lightning="1.0").lacks(pack.numerics))
    assert other.startswith(f"lightning {here.lightning}, and this machine")


def test_asking_for_a_compiled_program_is_refused(tmp_path):
    with pytest.raises(Exception, match="engine is compiled, and lightning"):
        opened(spec_of(resources={"engine": "compiled"}), tmp_path / "r")
