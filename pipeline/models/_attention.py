"""Causal attention of one pre-norm layer, for all slots at once, without biases and affine norms."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from pipeline.models.base import ParameterSpec

if TYPE_CHECKING:
    from torch import Tensor


def attention_specs(prefix: str, width: int, num_heads: int, head_width: int) -> Iterator[ParameterSpec]:
    """The four matrices of a layer, entries N(0, 1 / fan_in)."""
    inner = num_heads * head_width
    for matrix in ("query", "key", "value"):
        yield ParameterSpec(prefix + matrix, width, inner, width**-0.5)
    yield ParameterSpec(f"{prefix}output", inner, width, inner**-0.5)


def attend(
    parameters: Mapping[str, Tensor], prefix: str, x: Tensor, num_heads: int, num_queries: int, bias: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Residual update (S, B, Q, D) of x (S, B, L, D) at the last Q positions, and the attention (S, B, H, Q, L).

    `bias` (S, B, H or 1, L, L) is added to the logits.
    """
    import torch

    from pipeline.numerics.matmul import matmul

    num_slots, num_examples, length, width = x.shape
    normed = torch.nn.functional.layer_norm(x, (width,))

    def project(matrix: str, of: Tensor) -> Tensor:
        heads = matmul(of.reshape(num_slots, -1, width), parameters[prefix + matrix])
        return heads.view(num_slots, num_examples, -1, num_heads, heads.shape[-1] // num_heads).transpose(2, 3)

    query, key, value = project("query", last(normed, num_queries)), project("key", normed), project("value", normed)
    scores = matmul(query, key.transpose(-1, -2)) * (1 / math.sqrt(query.shape[-1]))
    if bias is not None:
        scores = scores + bias[..., -num_queries:, :]
    future = torch.ones(length, length, dtype=torch.bool, device=x.device).triu(1)[-num_queries:]
    attention = scores.masked_fill(future, -math.inf).softmax(-1)
    mixed = matmul(attention, value).transpose(2, 3).reshape(num_slots, num_examples * num_queries, -1)
    update = matmul(mixed, parameters[f"{prefix}output"])
    return update.view(num_slots, num_examples, num_queries, width), attention


def last(x: Tensor, num_positions: int) -> Tensor:
    """The last Q positions (S, B, Q, D) of (S, B, L, D); unsliced if Q = L, since the gradient of a slice is a copy."""
    return x if num_positions == x.shape[2] else x[:, :, -num_positions:]


def attend_last(parameters: Mapping[str, Tensor], prefix: str, x: Tensor, num_heads: int) -> Tensor:
    """The layer's residual update (S, B, 1, D) at the last position, which may attend to every position.

    Keys and values are never formed: q (W_K^T x) = (W_K q) x, and a weighted mean of W_V^T x is W_V^T of the mean.
    """
    import torch

    from pipeline.numerics.matmul import matmul

    num_slots, num_examples, _, width = x.shape
    normed = torch.nn.functional.layer_norm(x, (width,))
    queries = matmul(normed[:, :, -1], parameters[f"{prefix}query"])
    heads = (num_heads, queries.shape[-1] // num_heads)
    query = queries.view(num_slots, num_examples, *heads)
    # (S, H, D, K): one matrix for each head.
    key, value = (parameters[prefix + name].view(num_slots, width, *heads).transpose(1, 2) for name in ("key", "value"))
    looked_for_SHBD = matmul(query.transpose(1, 2), key.transpose(2, 3)) * (1 / math.sqrt(heads[1]))
    scores_SBHL = matmul(looked_for_SHBD.transpose(1, 2), normed.transpose(2, 3))
    mean_SBHD = matmul(scores_SBHL.softmax(-1), normed)
    mixed_SHBK = matmul(mean_SBHD.transpose(1, 2), value)
    mixed = mixed_SHBK.transpose(1, 2).reshape(num_slots, num_examples, -1)
    return matmul(mixed, parameters[f"{prefix}output"]).unsqueeze(2)
