"""Optimisers and schedules, slot by slot, against torch's own for one run."""

from __future__ import annotations

import math

import pytest
import torch

from pipeline.optimisers.update import OPTIMISERS, clip, norm, scheduled_fraction

NUM_SLOTS, NUM_PARAMETERS, NUM_STEPS = 3, 32, 40
GENERATOR = torch.Generator().manual_seed(0)
START = torch.randn(NUM_SLOTS, NUM_PARAMETERS, generator=GENERATOR, dtype=torch.float64)
GRADIENTS = torch.randn(NUM_STEPS, NUM_SLOTS, NUM_PARAMETERS, generator=GENERATOR, dtype=torch.float64)
HYPERPARAMETERS = {
    "adamw": [
        {"lr": 1e-2, "beta1": 0.9, "beta2": 0.98, "eps": 1e-8, "weight_decay": 0.0, "clip": math.inf},
        {"lr": 3e-3, "beta1": 0.8, "beta2": 0.999, "eps": 1e-6, "weight_decay": 0.1, "clip": 1.0},
        {"lr": 1e-1, "beta1": 0.0, "beta2": 0.9, "eps": 1e-8, "weight_decay": 0.01, "clip": 0.01},
    ],
    "sgd": [
        {"lr": 1e-2, "momentum": 0.0, "weight_decay": 0.0, "clip": math.inf},
        {"lr": 3e-3, "momentum": 0.9, "weight_decay": 0.0, "clip": 1.0},
        {"lr": 1e-1, "momentum": 0.5, "weight_decay": 0.0, "clip": 0.1},
    ],
}


def reference(name, hyperparameters, slot):
    """Weights after all steps by torch's optimiser and clip_grad_norm_."""
    weights = START[slot].clone().requires_grad_(True)
    h = hyperparameters
    if name == "adamw":
        betas = (h["beta1"], h["beta2"])
        optimiser = torch.optim.AdamW([weights], lr=h["lr"], betas=betas, eps=h["eps"], weight_decay=h["weight_decay"])
    else:
        optimiser = torch.optim.SGD([weights], lr=h["lr"], momentum=h["momentum"])
    for gradient in GRADIENTS[:, slot]:
        weights.grad = gradient.clone()
        torch.nn.utils.clip_grad_norm_([weights], h["clip"])
        optimiser.step()
    return weights.detach()


@pytest.mark.parametrize("name", OPTIMISERS)
def test_every_slot_moves_as_torchs_optimiser_moves_one_run(name):
    rows, optimiser, weights = HYPERPARAMETERS[name], OPTIMISERS[name], START.clone()
    columns = {key: torch.tensor([[row[key]] for row in rows], dtype=torch.float64) for key in rows[0]}
    state = {key: torch.zeros_like(weights) for key in optimiser.moments}
    state |= {key: torch.full((NUM_SLOTS,), optimiser.start(key), dtype=torch.float64) for key in optimiser.scalars}
    for gradient in GRADIENTS:
        clipped = gradient.clone()
        clip(clipped, norm(clipped), columns["clip"])
        optimiser.update(weights, clipped, state, columns)
    for slot, row in enumerate(rows):
        torch.testing.assert_close(weights[slot], reference(name, row, slot), rtol=1e-10, atol=1e-12)


def test_decoupled_weight_decay_of_sgd_shrinks_by_lr_times_decay():
    weights, zero = START.clone(), torch.zeros_like(START)
    columns = {name: torch.full((NUM_SLOTS, 1), value) for name, value in (("lr", 0.1), ("momentum", 0.9))}
    columns["weight_decay"] = torch.full((NUM_SLOTS, 1), 0.5)
    OPTIMISERS["sgd"].update(weights, zero, {"velocity": zero.clone()}, columns)
    torch.testing.assert_close(weights, START * 0.95)


@pytest.mark.parametrize(
    ("name", "step", "expected"),
    [
        ("constant", 0, 1 / 5),
        ("constant", 3, 4 / 5),
        ("constant", 4, 1.0),
        ("constant", 999, 1.0),
        ("linear", 4, 1.0),
        ("linear", 54, 0.55),
        ("linear", 104, 0.1),
        ("linear", 500, 0.1),
        ("cosine", 4, 1.0),
        ("cosine", 29, 0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi / 4))),
        ("cosine", 104, 0.1),
        ("cosine", 500, 0.1),
    ],
)
def test_schedules_have_these_values(name, step, expected):
    columns = {"warmup_steps": 4.0, "horizon": 104.0, "final_fraction": 0.1}
    tensors = {key: torch.full((2, 1), value, dtype=torch.float64) for key, value in columns.items()}
    found = scheduled_fraction(name, torch.tensor([step, step]), tensors)
    torch.testing.assert_close(found, torch.full((2, 1), expected, dtype=torch.float64))


def test_each_slot_is_at_its_own_place_of_its_own_schedule():
    columns = {"warmup_steps": [[0.0], [9.0]], "horizon": [[10.0], [20.0]], "final_fraction": [[0.0], [0.5]]}
    tensors = {key: torch.tensor(value, dtype=torch.float64) for key, value in columns.items()}
    found = scheduled_fraction("linear", torch.tensor([5, 4]), tensors)
    torch.testing.assert_close(found, torch.tensor([[0.5], [0.5]], dtype=torch.float64))
