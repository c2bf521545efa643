"""Probes: measurements during training that need weights, gradients or attention, on the statistics set.

Every probe gives one number per run, read-only: taking or skipping one moves no bit of training.
"""

from __future__ import annotations

import torch
from torch import Tensor


def attention_entropy(attention: Tensor) -> Tensor:
    """(S, H): entropy (nats) of the attention (S, B, H, L, L) over keys, averaged over items and queries."""
    entropy_SBH: Tensor = torch.special.entr(attention).sum(-1).mean(-1)
    return entropy_SBH.transpose(1, 2).mean(-1)


def attention_mass(attention: Tensor, mask: Tensor) -> Tensor:
    """(S, H): attention (S, B, H, L, L) that falls inside `mask` (S, B, L, L), averaged over queries that have one."""
    inside = (attention * mask.unsqueeze(2)).sum(-1)
    is_asked = mask.any(-1)
    return inside.sum(-1).transpose(1, 2).sum(-1) / is_asked.sum((1, 2)).unsqueeze(1)


def per_head(name: str, layer: int, value_SH: Tensor) -> dict[str, Tensor]:
    """Metric name -> (S,)."""
    return {f"{name}.l{layer}h{head}": value_SH[:, head] for head in range(value_SH.shape[1])}
