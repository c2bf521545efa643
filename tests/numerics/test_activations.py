"""Activations against torch's, and equal bits at every position of an array."""

from __future__ import annotations

import pytest
import torch

from pipeline.numerics.activations import gelu


def values_and_slopes(x, gradient):
    leaf = x.clone().requires_grad_(True)
    y = gelu(leaf)
    return y.detach(), *torch.autograd.grad(y, leaf, gradient)


def test_gelu_and_its_gradient_are_those_of_torch():
    x = torch.linspace(-12, 12, 997, dtype=torch.float64, requires_grad=True)
    theirs = torch.nn.functional.gelu(x, approximate="tanh")
    (slope,) = torch.autograd.grad(theirs, x, torch.cos(x))
    ours = values_and_slopes(x.detach(), torch.cos(x))
    torch.testing.assert_close(ours[0], theirs.detach(), rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(ours[1], slope, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("size", [33, 1000, 40001])
def test_gelu_rounds_a_number_alike_wherever_it_stands(size, dtype):
    generator = torch.Generator().manual_seed(0)
    x, gradient = (3 * torch.randn(2, size, dtype=dtype, generator=generator)).unbind()
    whole = values_and_slopes(x, gradient)
    for first in range(1, 17):
        part = values_and_slopes(x[first:], gradient[first:])
        assert all(torch.equal(a[first:], b) for a, b in zip(whole, part, strict=True)), first
