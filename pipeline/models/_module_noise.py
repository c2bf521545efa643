"""Random numbers that a module draws while it trains, such as dropout's masks, taken from the stream of one run."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from pipeline.numerics.streams import Draws

_aten = torch.ops.aten
_MOST_OF_A_WORD, _MOST_INTEGERS = 2**31, 2**63
# Each function's place of `dropout_p`.
_ATTENTION = {
    torch.nn.functional.scaled_dot_product_attention: 4,
    torch.nn.functional.multi_head_attention_forward: 10,
}
_RECURRENT = (torch.lstm, torch.gru, torch.rnn_tanh, torch.rnn_relu)
# What arguments of operations that may draw are called: the share that is dropped, and whether it trains.
_SHARES, _TRAINS = ("dropout_p", "dropout"), ("train", "training")


@contextmanager
def noise_from(draws: Draws) -> Iterator[RunNoise]:
    """Whatever draws in it draws from this stream, on any device: `RunNoise`, and kernels that it can see into."""
    with SeparateDropout(), RunNoise(draws) as noise:
        yield noise


class SeparateDropout(TorchFunctionMode):
    """Attention and recurrent layers of torch that drop, by kernels in which dropout is an operation of its own.

    Fused attention and cuDNN draw inside their kernels, from the generator of the GPU. Layers that drop nothing keep
    their kernels, and so their bits.
    """

    def __torch_function__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """What the function gives."""
        with _kernels_for(func, args, kwargs or {}):
            return func(*args, **kwargs or {})


def _kernels_for(func: Any, args: Sequence[Any], given: Mapping[str, Any]) -> Any:
    """The context in which a function of torch is called."""
    if func in _ATTENTION:
        share = given.get("dropout_p", next(iter(args[_ATTENTION[func] :]), 0.0))
        return sdpa_kernel(SDPBackend.MATH) if share > 0 else nullcontext()
    drops = func in _RECURRENT and any(isinstance(arg, float) and arg > 0 for arg in args)
    return torch.backends.cudnn.flags(enabled=False) if drops else nullcontext()


def draws_unseen(func: Any, args: Sequence[Any], given: Mapping[str, Any]) -> bool:
    """Whether an operation of torch draws, called so, from a generator of torch's instead of the run's stream."""
    if func in _DRAWN or torch.Tag.nondeterministic_seeded not in getattr(func, "tags", ()):
        return False
    names = [argument.name for argument in func._schema.arguments]
    known = {**dict(zip(names, args, strict=False)), **given}
    share = next((known[name] for name in _SHARES if name in known), None if set(names).isdisjoint(_SHARES) else 0.0)
    return share != 0 and all(known.get(name, True) for name in _TRAINS)


class RunNoise(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Torch's random operations, drawn from one run's stream at its step; torch's own generator is left alone.

    The i-th operation under it takes substream i, its element e column e, so what is drawn depends on the stream's key,
    the step and the place alone, and is the same on every device but for the last digits of normal numbers. It acts
    below autograd, where dropout inside torch's own layers (attention, GRU) is seen too, but not inside their fused
    kernels: see `noise_from`. Operations that it does not know draw from torch's generator on the CPU, which is looked
    at when a spec is read; on other devices they raise ValueError. `shapes` are those of what was drawn, in order.
    """

    def __init__(self, draws: Draws) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.draws = draws
        self.shapes: list[tuple[int, ...]] = []

    @property
    def num_calls(self) -> int:
        """How many operations have drawn."""
        return len(self.shapes)

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """The operation itself, or what replaces it."""
        drawn, given = _DRAWN.get(func), kwargs or {}
        if drawn is None:
            if self.draws.keys_S2.device.type != "cpu" and draws_unseen(func, args, given):
                raise ValueError(
                    f"{func} draws from the generator of the device, which no run's stream `noise` reaches; "
                    "draw by torch.rand, torch.randn, torch.bernoulli or dropout, or set resources.device to cpu"
                )
            return func(*args, **given)
        given.pop("generator", None)
        return drawn(self, *args, **given)

    def unit(self, like: Tensor) -> Tensor:
        """Uniform on (0, 1), float32, in the shape and on the device of `like`."""
        return self._numbers(like.device).uniform(like.numel(), self._place(like.shape)).view(like.shape)

    def uniform(self, like: Tensor) -> Tensor:
        """The same in the dtype of `like`."""
        return self.unit(like).to(like.dtype)

    def normal(self, like: Tensor) -> Tensor:
        """Standard normal, likewise."""
        place = self._place(like.shape)
        return self._numbers(like.device).normal(like.numel(), place, torch.float64).view(like.shape).to(like)

    def integers(self, low: int, high: int, shape: Sequence[int], device: torch.device) -> Tensor:
        """int64 in [low, high), of at most 2^63 values: from one word each, or two where there are more than 2^31."""
        numbers, count, size = self._numbers(device), math.prod(shape), high - low
        if not 0 < size <= _MOST_INTEGERS:
            raise ValueError(f"torch.randint from {low} to {high}: a run's stream gives 1 to 2^63 different numbers")
        if size <= _MOST_OF_A_WORD:
            return numbers.integers(size, count, self._place(shape)).view(shape) + low
        words = numbers.words(2 * count, self._place(shape)).view(*shape, 2)
        drawn = (words[..., 0] >> 1 << 32) | words[..., 1]
        return (drawn if size == _MOST_INTEGERS else drawn % size) + low

    def order(self, size: int, device: torch.device) -> Tensor:
        """A permutation of 0 to size - 1, (size,) int64."""
        return self._numbers(device).words(size, self._place((size,))).view(size).argsort(stable=True)

    def _numbers(self, device: torch.device) -> Draws:
        return replace(self.draws, keys_S2=self.draws.keys_S2.to(device), steps_S=self.draws.steps_S.to(device))

    def _place(self, shape: Sequence[int]) -> int:
        self.shapes.append(tuple(shape))
        return len(self.shapes) - 1


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
