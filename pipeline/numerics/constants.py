"""Constant tensors that a GPU is given once: the host would wait for a copy at every step."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor


def constant(numbers: tuple[float, ...], like: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """(n,): these numbers on the device of `like`, in its dtype or in this one; not to be written to.

    On a GPU all calls give one tensor.
    """
    if like.device.type == "cpu":
        return like.new_tensor(numbers, dtype=dtype)
    return _on_gpu(numbers, like.device, like.dtype if dtype is None else dtype)


@cache
def _on_gpu(numbers: tuple[float, ...], device: torch.device, dtype: torch.dtype) -> Tensor:
    return torch.tensor(numbers, dtype=dtype, device=device)
