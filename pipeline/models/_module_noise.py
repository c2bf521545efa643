"""Random numbers that a module draws while it trains, such as dropout's masks, taken from the stream of one run."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from pipeline.numerics.streams import Draws

_aten = torch.ops.aten


class RunNoise(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Torch's random operations, drawn from one run's stream at its step; torch's own generator is left alone.

    The i-th operation under it takes substream i, its element e column e, so what is drawn depends on the stream's key,
    the step and the place alone, and is the same on every device but for the last digits of normal numbers. It acts
    below autograd, where dropout inside torch's own layers (attention, GRU) is seen too. Operations that it does not
    know draw from torch's generator.
    """

    def __init__(self, draws: Draws) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.draws, self.num_calls = draws, 0

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """The operation itself, or what replaces it."""
        drawn, given = _DRAWN.get(func), kwargs or {}
        if drawn is None:
            return func(*args, **given)
        given.pop("generator", None)
        return drawn(self, *args, **given)

    def unit(self, like: Tensor) -> Tensor:
        """Uniform on (0, 1), float32, in the shape and on the device of `like`."""
        return self._numbers(like.device).uniform(like.numel(), self._place()).view(like.shape)

    def uniform(self, like: Tensor) -> Tensor:
        """The same in the dtype of `like`."""
        return self.unit(like).to(like.dtype)

    def normal(self, like: Tensor) -> Tensor:
        """Standard normal, likewise."""
        return self._numbers(like.device).normal(like.numel(), self._place(), torch.float64).view(like.shape).to(like)

    def integers(self, low: int, high: int, shape: Sequence[int], device: torch.device) -> Tensor:
        """int64 in [low, high)."""
        return self._numbers(device).integers(high - low, math.prod(shape), self._place()).view(shape) + low

    def order(self, size: int, device: torch.device) -> Tensor:
        """A permutation of 0 to size - 1, (size,) int64."""
        return self._numbers(device).words(size, self._place()).view(size).argsort(stable=True)

    def _numbers(self, device: torch.device) -> Draws:
        return Draws(self.draws.keys_S2.to(device), self.draws.steps_S.to(device), 1)

    def _place(self) -> int:
        self.num_calls += 1
        return self.num_calls - 1


def _factory(fill: Callable[[RunNoise, Tensor], Tensor]) -> Callable[..., Tensor]:
    """rand and randn: their arguments are those of empty."""
    return lambda noise, size, **given: fill(noise, torch.empty(tuple(size), **given))


def _like(fill: Callable[[RunNoise, Tensor], Tensor]) -> Callable[..., Tensor]:
    return lambda noise, tensor, **given: fill(noise, torch.empty_like(tensor, **given))


def _dropout(noise: RunNoise, tensor: Tensor, share: float, is_training: bool | None) -> tuple[Tensor, Tensor]:
    if is_training is False:
        return tensor, torch.ones_like(tensor, dtype=torch.bool)
    kept = noise.unit(tensor) < 1 - share
    return tensor * kept / (1 - share), kept


def _integers(noise: RunNoise, low: int, high: int, size: Sequence[int], **given: Any) -> Tensor:
    found = noise.integers(low, high, tuple(size), torch.device(given.get("device") or "cpu"))
    return found.to(given.get("dtype") or torch.int64)


def _normal(noise: RunNoise, mean: Tensor | float, std: Tensor | float) -> Tensor:
    return noise.normal(mean + torch.zeros_like(torch.as_tensor(std))) * std + mean


_DRAWN: dict[Any, Callable[..., Any]] = {
    _aten.bernoulli_.float: lambda noise, tensor, p=0.5: tensor.copy_(noise.unit(tensor) < p),
    _aten.bernoulli_.Tensor: lambda noise, tensor, p: tensor.copy_(noise.unit(tensor) < p),
    _aten.bernoulli.default: lambda noise, p: (noise.unit(p) < p).to(p.dtype),
    _aten.bernoulli.p: lambda noise, tensor, p: (noise.unit(tensor) < p).to(tensor.dtype),
    _aten.native_dropout.default: _dropout,
    _aten.uniform_.default: lambda noise, tensor, low=0.0, high=1.0: tensor.copy_(
        noise.uniform(tensor) * (high - low) + low
    ),
    _aten.normal_.default: lambda noise, tensor, mean=0.0, std=1.0: tensor.copy_(noise.normal(tensor) * std + mean),
    _aten.exponential_.default: lambda noise, tensor, rate=1.0: tensor.copy_(-noise.uniform(tensor).log() / rate),
    _aten.normal.Tensor_Tensor: _normal,
    _aten.normal.Tensor_float: lambda noise, mean, std=1.0: _normal(noise, mean, std),
    _aten.normal.float_Tensor: _normal,
    _aten.rand.default: _factory(RunNoise.uniform),
    _aten.randn.default: _factory(RunNoise.normal),
    _aten.rand_like.default: _like(RunNoise.uniform),
    _aten.randn_like.default: _like(RunNoise.normal),
    _aten.randint.default: lambda noise, high, size, **given: _integers(noise, 0, high, size, **given),
    _aten.randint.low: _integers,
    _aten.randperm.default: lambda noise, size, **given: noise.order(size, torch.device(given.get("device") or "cpu")),
}
