"""What LightningModules give to configure_optimizers: its registered equal, or a refusal by name."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from pipeline.contracts import runs
from pipeline.contracts.runs import RUN_CONTRACT
from pipeline.engine.block import Block
from pipeline.models._lightning_optimisers import configuration_of, lr_factors_of
from pipeline.own_code.imported import class_named
from pipeline.spec.sweep import STORED, SweepSpec
from tests.models.lit_sweeps import FILE, spec_of
from tests.support import configs

pytestmark = pytest.mark.usefixtures("lit_is_imported")


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
    for given, message in (
        (plateau, "looks at metrics"),
        (cycle, "OneCycleLR, which changes more than lr; give it cycle_momentum=False"),
    ):
        with pytest.raises(ValueError, match=message):
            lr_factors_of(Asking(given), None, 20)
