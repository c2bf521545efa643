"""Clipping, and known values of optimisers and schedules; their contracts are in tests/contracts."""

from __future__ import annotations

import math

import pytest
import torch

from pipeline.engine.norms import clip, norm
from pipeline.optimisers.base import OPTIMISERS
from pipeline.schedules.base import SCHEDULES

START = torch.randn(3, 32, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def columns(**values):
    """(S, 1) float64 columns of these values, one per slot."""
    return {name: torch.tensor(value, dtype=torch.float64).unsqueeze(1) for name, value in values.items()}


def test_each_row_is_clipped_as_torch_clips_the_gradient_of_one_run():
    limits, clipped = (math.inf, 1.0, 0.01), START.clone()
    clip(clipped, norm(clipped), torch.tensor(limits, dtype=torch.float64).unsqueeze(1))
    for slot, limit in enumerate(limits):
        weights = START[slot].clone()
        weights.grad = START[slot].clone()
        torch.nn.utils.clip_grad_norm_([weights], limit)
        torch.testing.assert_close(clipped[slot], weights.grad, rtol=1e-12, atol=0)


def test_decoupled_weight_decay_of_sgd_shrinks_by_lr_times_decay():
    weights, zero = START.clone(), torch.zeros_like(START)
    values = columns(lr=[0.1] * 3, momentum=[0.9] * 3, weight_decay=[0.5] * 3)
    OPTIMISERS["sgd"].tiny().update(weights, zero, {"velocity": zero.clone()}, values)
    torch.testing.assert_close(weights, START * 0.95)


def test_gradient_descent_on_a_quadratic_shrinks_weights_by_one_minus_lr_at_each_step():
    weights, velocity = START.clone(), torch.zeros_like(START)
    values = columns(lr=[0.1, 0.2, 0.3], momentum=[0.0] * 3, weight_decay=[0.0] * 3)
    for _ in range(7):
        OPTIMISERS["sgd"].tiny().update(weights, weights.clone(), {"velocity": velocity}, values)
    torch.testing.assert_close(weights, START * (1 - values["lr"]) ** 7, rtol=1e-12, atol=0)


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
    values = columns(warmup_steps=[4.0] * 2, horizon=[104.0] * 2, final_fraction=[0.1] * 2)
    found = SCHEDULES[name].tiny().fraction(torch.tensor([step, step]), values)
    torch.testing.assert_close(found, torch.full((2, 1), expected, dtype=torch.float64))
