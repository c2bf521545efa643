"""Streams: named sources of random numbers, each draw a pure function of its stream, seed and place.

The generator is Philox4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3", SC'11), computed on
tensors of 64-bit integers that hold 32-bit words. There is no state: what a run draws at step 700 does not depend on
what was drawn before, on its slot, or on how many slots there are.
"""

from __future__ import annotations

import ctypes
import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pipeline.numerics import philox_gpu
from pipeline.numerics.kernels import compiled_kernels

_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_WEYL = (0x9E3779B9, 0xBB67AE85)
_MASK = 0xFFFFFFFF
_ROUNDS = 10
_WORDS = 4


def philox4x32(counter: tuple[Tensor, Tensor, Tensor, Tensor], key: tuple[Tensor, Tensor]) -> tuple[Tensor, ...]:
    """Four 32-bit words (as int64) for each counter and key; all arguments broadcast against each other.

    Words are bit-equal to the reference implementation on every device.
    """
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for round_index in range(_ROUNDS):
        if round_index:
            k0, k1 = (k0 + _WEYL[0]) & _MASK, (k1 + _WEYL[1]) & _MASK
        # The product of two words fills 64 bits; int64 wraps, which leaves the bits right, and the shift's copies of
        # the sign bit are masked away.
        product0, product1 = c0 * _MULTIPLIERS[0], c2 * _MULTIPLIERS[1]
        high0, high1 = (product0 >> 32) & _MASK, (product1 >> 32) & _MASK
        c0, c1, c2, c3 = high1 ^ c1 ^ k0, product1 & _MASK, high0 ^ c3 ^ k1, product0 & _MASK
    return c0, c1, c2, c3


def stream_key(stream: str, seed: int) -> tuple[int, int]:
    """The Philox key, two 32-bit words, of the stream named `stream` under `seed` (>= 0, any size)."""
    digest = hashlib.sha256(_seeded(stream, seed)).digest()
    return int.from_bytes(digest[:4], "little"), int.from_bytes(digest[4:8], "little")


def stream_keys(stream: str, seeds: Sequence[int]) -> Tensor:
    """(N, 2): the keys of this stream under N seeds, their words as int64."""
    words = [hashlib.sha256(_seeded(stream, seed)).digest()[:8] for seed in seeds]
    return torch.from_numpy(np.frombuffer(b"".join(words), "<u4").astype(np.int64).reshape(-1, 2))


def _seeded(stream: str, seed: int) -> bytes:
    if seed < 0:
        raise ValueError(f"seed of stream {stream!r} must be >= 0, got {seed}")
    return f"seedbed.stream.1:{stream}:{seed}".encode()


def held_out_key(split: str, stream: str) -> tuple[int, int]:
    """The Philox key of a stream of a sweep's label set (`split` "label") or statistics set ("probe").

    It is the same for every run, and unlike that of any run's training data.
    """
    return stream_key(f"{split}/{stream}", 0)


def box_muller(unit: Tensor) -> Tensor:
    """Standard normals (..., n) from as many uniforms on (0, 1), n even: entries 2i and 2i + 1 give a pair."""
    radius = torch.sqrt(-2.0 * torch.log(unit[..., 0::2]))
    angle = (2.0 * math.pi) * unit[..., 1::2]
    return torch.stack([radius * torch.cos(angle), radius * torch.sin(angle)], dim=-1).flatten(-2)


@dataclass(frozen=True)
class Draws:
    """Random numbers of one stream for S slots, each slot under its own key and at its own step.

    `keys_S2` holds 32-bit words as int64, `steps_S` the step of each slot; both lie on one device. Every method gives
    an (S, num_rows, num_columns) array whose entry (s, r, c) depends on slot s's key and step, r, c and `substream`
    alone: a smaller array is always a corner of a larger one. Substreams 0, 1, 2, ... separate the draws of one
    step. Rows count from `first_row`. `examples_per_step`, the batch size of training, is for those who count examples
    over steps; None is as many as there are rows.
    """

    keys_S2: Tensor
    steps_S: Tensor
    num_rows: int
    first_row: int = 0
    examples_per_step: int | None = None

    def words(self, num_columns: int, substream: int) -> Tensor:
        """32-bit words as int64. Column c is word c % 4 of counter (c // 4, row, step, substream)."""
        if self._has_kernel():
            return self._by_kernel(num_columns, substream)
        device = self.keys_S2.device
        num_counters = -(-num_columns // _WORDS)
        column = torch.arange(num_counters, device=device).view(1, 1, -1)
        row = torch.arange(self.first_row, self.first_row + self.num_rows, device=device).view(1, -1, 1)
        step = self.steps_S.view(-1, 1, 1)
        key = (self.keys_S2[:, 0].view(-1, 1, 1), self.keys_S2[:, 1].view(-1, 1, 1))
        words = philox4x32((column, row, step, torch.full_like(step, substream)), key)
        shape = (len(self.steps_S), self.num_rows, num_counters)
        stacked = torch.stack([word.expand(shape) for word in words], dim=-1)
        return stacked.view(*shape[:2], -1)[:, :, :num_columns]

    def words_of(self, rows_SB: Tensor, num_columns: int, substream: int) -> Tensor:
        """(S, B, num_columns): the words that `words` gives at step 0 in these rows, whatever the step."""
        if self._has_kernel():
            numbers = (rows_SB.shape[1], 0, num_columns, substream)
            return philox_gpu.draw(self.keys_S2, self.steps_S, *numbers, rows_SB=rows_SB)
        column = torch.arange(-(-num_columns // _WORDS), device=rows_SB.device).view(1, 1, -1)
        zero = torch.zeros_like(column)
        key = (self.keys_S2[:, 0].view(-1, 1, 1), self.keys_S2[:, 1].view(-1, 1, 1))
        words = philox4x32((column, rows_SB.unsqueeze(-1), zero, zero + substream), key)
        stacked = torch.stack([word.expand(*rows_SB.shape, column.shape[2]) for word in words], dim=-1)
        return stacked.flatten(2)[:, :, :num_columns]

    def integers(self, high: int, num_columns: int, substream: int) -> Tensor:
        """int64 in [0, high), by multiply and shift: each value's probability is off by at most 2**-32.

        `high` is at most 2**31: beyond it, a product of a word overflows.
        """
        assert 0 < high <= 2**31, f"integers below {high} need more than a word each"
        if (kernels := self._kernels()) is not None:
            out = torch.empty(self._shape(num_columns), dtype=torch.int64)
            kernels.seedbed_integers(*self._arguments(num_columns, substream), ctypes.c_uint32(high), _pointer(out))
            return out
        if self._has_kernel():
            return self._by_kernel(num_columns, substream, kind=philox_gpu.INTEGERS, high=high)
        return (self.words(num_columns, substream) * high) >> 32

    def uniform(self, num_columns: int, substream: int, dtype: torch.dtype = torch.float32) -> Tensor:
        """Uniform on (0, 1): the centres of 2**23 equal cells, which float32 holds exactly; never 0 or 1."""
        if (kernels := self._kernels()) is not None:
            out = torch.empty(self._shape(num_columns), dtype=dtype)
            fill = {torch.float32: kernels.seedbed_uniform32, torch.float64: kernels.seedbed_uniform64}[dtype]
            fill(*self._arguments(num_columns, substream), _pointer(out))
            return out
        if self._has_kernel():
            return self._by_kernel(num_columns, substream, kind=philox_gpu.UNIFORM, dtype=dtype)
        return ((self.words(num_columns, substream) >> 9) * 2 + 1).to(dtype) * 2.0**-24

    def normal(self, num_columns: int, substream: int, dtype: torch.dtype = torch.float32) -> Tensor:
        """Standard normal by Box and Muller (1958); columns 2i and 2i + 1 share two words.

        Computed in float64 and rounded, so that devices agree within 2e-6. |z| < 5.77, since u >= 2**-24.
        """
        unit = self.uniform(num_columns + num_columns % 2, substream, torch.float64)
        return box_muller(unit)[:, :, :num_columns].to(dtype)

    def _kernels(self) -> ctypes.CDLL | None:
        """The C++ kernels, which give the same bits; None on other devices and without a compiler."""
        return compiled_kernels() if self.keys_S2.device.type == "cpu" else None

    def _has_kernel(self) -> bool:
        return philox_gpu.has_kernel(self.keys_S2.device)

    def _by_kernel(self, num_columns: int, substream: int, **made: Any) -> Tensor:
        numbers = (self.num_rows, self.first_row, num_columns, substream)
        return philox_gpu.draw(self.keys_S2, self.steps_S, *numbers, **made)

    def _shape(self, num_columns: int) -> tuple[int, int, int]:
        return len(self.steps_S), self.num_rows, num_columns

    def _arguments(self, num_columns: int, substream: int) -> tuple[object, ...]:
        keys, steps = self.keys_S2.contiguous(), self.steps_S.contiguous()
        numbers = (len(steps), self.num_rows, self.first_row, num_columns, substream)
        return _pointer(keys), _pointer(steps), *map(ctypes.c_int64, numbers)


def _pointer(tensor: Tensor) -> ctypes.c_void_p:
    pointer = ctypes.c_void_p(tensor.data_ptr())
    # Keeps the memory alive as long as the pointer exists.
    pointer.owner = tensor  # type: ignore[attr-defined]
    return pointer
