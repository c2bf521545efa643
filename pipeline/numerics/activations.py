"""Activations that round alike in every slot.

Torch's gelu does not on CPUs: the vector part of its loop and the remainder differ in the last bit, so that the result
depends on a number's position in the array. Torch's tanh does; products and sums are rounded exactly.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

_SCALE = math.sqrt(2 / math.pi)
_CUBIC = 0.044715


def gelu(x: Tensor) -> Tensor:
    """x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2 (Hendrycks and Gimpel 2016, section 2), differentiable once."""
    result: Tensor = _Gelu.apply(x)  # type: ignore[no-untyped-call]
    return result


class _Gelu(torch.autograd.Function):
    """GELU with an explicit gradient, so that no fused formula of the library enters it."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        tanh = (x * x).mul_(_CUBIC).add_(1.0).mul_(x).mul_(_SCALE).tanh_()
        ctx.save_for_backward(x, tanh)
        return (tanh + 1.0).mul_(x).mul_(0.5)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        x, tanh = ctx.saved_tensors
        (gradient,) = gradients
        # d inner / d x = sqrt(2 / pi) (1 + 3 * 0.044715 x^2), and d tanh / d inner = (1 - tanh) (1 + tanh).
        slope = (x * x).mul_(3 * _CUBIC).add_(1.0).mul_(_SCALE).mul_(x).mul_(1.0 - tanh).add_(1.0)
        result: Tensor = slope.mul_(tanh + 1.0).mul_(0.5).mul_(gradient)
        return result
