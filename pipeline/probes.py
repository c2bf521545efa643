"""Probes: measurements during training that need weights, gradients or attention, on the statistics set.

Every probe gives (S,) numbers per slot, read-only: taking or skipping one moves no bit of training.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.block import Block
from pipeline.optim import norm
from pipeline.tasks.base import Batch

Floats = NDArray[np.float64]


class Probes:
    """All probes of a block, on `num_items` items that depend on the task alone and are the same at every step."""

    def __init__(self, block: Block, num_items: int) -> None:
        self.block, self.num_items = block, num_items
        self.keys = block.held_out_keys("probe")

    def _batch(self) -> Batch:
        # Drawn again each time: slots may differ in vector parameters of the task, label noise for one.
        return self.block.sample(self.keys, torch.zeros_like(self.block.steps_S), self.num_items)

    def measure(self) -> dict[str, Floats]:
        """Metric name -> (S,) float64 on the host; names are in docs/design.md."""
        block, batch = self.block, self._batch()
        found: dict[str, Tensor] = dict(block.last)
        with torch.no_grad():
            found["weight_norm"] = norm(block.weights_SP)
            found["init_distance"] = norm(block.weights_SP - block.initial_SP)
            found |= self._on_batch(batch)
        found |= block.task.probes(lambda inputs: block.forward(inputs).predictions, batch)
        names = list(found)
        # One transfer for all.
        stacked = torch.stack([found[name].detach().double() for name in names]).cpu().numpy()
        return dict(zip(names, stacked, strict=True))

    def _on_batch(self, batch: Batch) -> dict[str, Tensor]:
        block = self.block
        output = block.forward(batch.inputs, with_attention=True)
        found = {"probe_loss": block.task.losses(output.predictions, batch.targets).mean(1)}
        correct = block.task.correct(output.predictions, batch.targets)
        if correct is not None:
            found["probe_accuracy"] = correct.mean(1)
        targets = block.task.attention_targets(batch)
        for layer, attention in enumerate(output.attention):
            if block.model.has_softmax:
                found |= _per_head("attention_entropy", layer, attention_entropy(attention))
            for name, mask in targets.items():
                found |= _per_head(name, layer, attention_mass(attention, mask))
        return found

    @torch.no_grad()
    def attention_maps(self, num_items: int) -> list[Tensor]:
        """Per layer (S, num_items, H, L, L), on the first items of the statistics set."""
        output = self.block.forward(self._batch().inputs[:, :num_items], with_attention=True)
        return list(output.attention)


def attention_entropy(attention: Tensor) -> Tensor:
    """(S, H): entropy (nats) of the attention (S, B, H, L, L) over keys, averaged over items and queries."""
    entropy_SBH: Tensor = torch.special.entr(attention).sum(-1).mean(-1)
    return entropy_SBH.transpose(1, 2).mean(-1)


def attention_mass(attention: Tensor, mask: Tensor) -> Tensor:
    """(S, H): attention (S, B, H, L, L) that falls inside `mask` (S, B, L, L), averaged over queries that have one."""
    inside = (attention * mask.unsqueeze(2)).sum(-1)
    is_asked = mask.any(-1)
    return inside.sum(-1).transpose(1, 2).sum(-1) / is_asked.sum((1, 2)).unsqueeze(1)


def _per_head(name: str, layer: int, value_SH: Tensor) -> dict[str, Tensor]:
    return {f"{name}.l{layer}h{head}": value_SH[:, head] for head in range(value_SH.shape[1])}
