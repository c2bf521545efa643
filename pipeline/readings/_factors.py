"""The matrices of a decoder as its circuits are made of them (Elhage et al. 2021), with every axis a multiple of 8.

Zero rows and columns fill the axes up, so that in float64 each matrix fills whole lines of 64 bytes, and products over
slots round alike in each (see `pipeline/numerics/matmul.py`, whose products do the same but cost more per call).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

_UNIT = 8
_SOURCES = ("embedding", "position")


@dataclass(frozen=True)
class Factors:
    """What a decoder's heads compose, float64; D, V, L and C are padded.

    `sources` (S, V + L, D) are the rows of the embeddings, then those of the positions, less each row's mean, which a
    layer norm takes away, and divided by `scale_S`, the root mean square of an entry of their sums. `spans` gives the
    rows of each by name, `num_rows` their number without padding. `qk` (S, N, H, D, D), for N layers, gives attention
    logits from normed queries (left) and keys; `ov` (S, N, H, D, D) what a head adds to the stream, without the part
    that layer norms take away. `unembedding` (S, 1, D, C) gives logits less their mean.
    """

    sources: Tensor
    spans: Mapping[str, slice]
    num_rows: Mapping[str, int]
    scale_S: Tensor
    qk: Tensor
    ov: Tensor
    unembedding: Tensor


def factors_of(parameters: Mapping[str, Tensor], num_heads: int, num_layers: int) -> Factors:
    """The factors of a decoder's named parameters (S, rows, columns)."""
    raw = {name: _centred(parameters[name].double()) for name in _SOURCES}
    num_rows = {name: source.shape[1] for name, source in raw.items()}
    scale_S = torch.stack([source.square().flatten(1).mean(1) for source in raw.values()]).sum(0).sqrt()
    rows = [padded(source / scale_S.view(-1, 1, 1)) for source in raw.values()]
    ends = {"embedding": (0, rows[0].shape[1]), "position": (rows[0].shape[1], rows[0].shape[1] + rows[1].shape[1])}
    qk, ov = _heads(parameters, num_heads, num_layers)
    unembedding = padded(_centred(_centred(parameters["unembedding"].double()).transpose(1, 2)).transpose(1, 2))
    spans = {name: slice(*span) for name, span in ends.items()}
    return Factors(torch.cat(rows, 1), spans, num_rows, scale_S, qk, ov, unembedding.unsqueeze(1))


def _heads(parameters: Mapping[str, Tensor], num_heads: int, num_layers: int) -> tuple[Tensor, Tensor]:
    """QK and OV (S, N, H, D, D) of every layer."""

    def stacked(matrix: str, axis: int) -> Tensor:
        """(S, N, H, D, K), or (S, N, H, K, D): the entries along D less their mean, as layer norms leave them."""
        layers = [parameters[f"layer{layer}.{matrix}"].double() for layer in range(num_layers)]
        flat = torch.stack(layers, 1)
        split = flat.view(*flat.shape[:axis], num_heads, -1, *flat.shape[axis + 1 :])
        heads = split.transpose(2, 3) if axis == 3 else split
        return padded(heads - heads.mean(axis, keepdim=True) if axis == 3 else _centred(heads))

    query, key, value = (stacked(matrix, 3) for matrix in ("query", "key", "value"))
    width = parameters["layer0.query"].shape[2] // num_heads
    return product(query, key.transpose(-1, -2)) * width**-0.5, product(value, stacked("output", 2))


def _centred(rows: Tensor) -> Tensor:
    return rows - rows.mean(-1, keepdim=True)


def padded(matrix: Tensor) -> Tensor:
    """(..., rows, columns) with zeros up to the next multiple of 8 on both axes, contiguous."""
    rows, columns = matrix.shape[-2:]
    if rows % _UNIT == columns % _UNIT == 0:
        return matrix.contiguous()
    return torch.nn.functional.pad(matrix, (0, -columns % _UNIT, 0, -rows % _UNIT)).contiguous()


def product(left: Tensor, right: Tensor) -> Tensor:
    """left (S, ..., n, k) times right (S, ..., k, m), n, k and m multiples of 8."""
    assert all(size % _UNIT == 0 for size in (*left.shape[-2:], right.shape[-1])), (left.shape, right.shape)
    return torch.matmul(left, right)


def pairs(left: Tensor, right: Tensor) -> Tensor:
    """(S, N, M, rows, columns): products of each of (S, N, rows, k) with each of (S, M, k, columns)."""
    num_slots, num_left, rows, inner = left.shape
    num_right, columns = right.shape[1], right.shape[3]
    stacked = product(left.reshape(num_slots, -1, inner), right.transpose(1, 2).reshape(num_slots, inner, -1))
    return stacked.view(num_slots, num_left, rows, num_right, columns).transpose(2, 3)


def inner(left: Tensor, right: Tensor) -> Tensor:
    """(S, N, M): sums over entries of each of (S, N, D, D) times each of (S, M, D, D), D a multiple of 8."""
    num_left, num_right = left.shape[1], right.shape[1]
    rows, columns = padded(left.flatten(2)), padded(right.flatten(2))
    return product(rows, columns.transpose(1, 2))[:, :num_left, :num_right]
