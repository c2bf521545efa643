"""Which tokens and positions meet in the statistics set: at the targets of each skill of a task, and elsewhere.

A contrast of a bilinear map M is the mean of M over pairs (query, key) that a skill joins, less the mean over the other
pairs of the same queries. It is the sum over entries of M times a matrix that the data alone determine, the weights
computed here. They name no token, so that they serve a task whose keys and values are tokens of their own as well as
one in which every token is both.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from pipeline.readings._factors import padded
from pipeline.tasks.base import Batch, Task

# What a key holds: itself, or what an earlier layer moved there, evenly from all positions up to it or by a skill.
ITSELF, EVENLY = "", "evenly"
# Items beyond those whose one-hot rows have so many entries are left out, to bound memory in large vocabularies.
_MOST_ENTRIES = 2**24


@dataclass(frozen=True)
class Cooccurrence:
    """Weights of contrasts, by name, float64, each (rows, columns) of a padded map.

    `attention[query, key]`, of "embedding" and "position": "SKILL" or "SKILL_via_MOVE" -> weights of a map from queries
    to keys. `readout[source]`: "MOVE" -> weights of a map from what reaches the asked positions to classes: the mean
    logit of the right class, less the mean of all. `asking`: a skill -> (V,) the share of its queries that each token
    makes up.
    """

    attention: Mapping[tuple[str, str], Mapping[str, Tensor]]
    readout: Mapping[str, Mapping[str, Tensor]]
    asking: Mapping[str, Tensor]


def cooccurrence(task: Task, batch: Batch) -> tuple[Cooccurrence, ...]:
    """That of every slot, or a single one if all slots have the same items, as those of most tasks do."""
    is_shared = bool((batch.inputs == batch.inputs[:1]).all()) and bool((batch.targets == batch.targets[:1]).all())
    shape, num_asked = task.shape(), task.shape().num_query_positions
    used = max(1, min(batch.inputs.shape[1], _MOST_ENTRIES // (shape.length * max(shape.size, shape.length))))
    slots = range(1 if is_shared else len(batch.inputs))
    return tuple(
        _of_items(task, _Items(batch.inputs[slot, :used], batch.targets[slot, : used * num_asked])) for slot in slots
    )


class _Items:
    """Items of one slot, equal if their numbers are."""

    def __init__(self, inputs_BL: Tensor, targets: Tensor) -> None:
        self.inputs_BL, self.targets = inputs_BL.cpu(), targets.cpu()
        self._key = (self.inputs_BL.numpy().tobytes(), self.targets.numpy().tobytes(), tuple(inputs_BL.shape))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Items) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)


@lru_cache(maxsize=64)
def _of_items(task: Task, items: _Items) -> Cooccurrence:
    shape = task.shape()
    targets = task.attention_targets(Batch(items.inputs_BL.unsqueeze(0), items.targets.unsqueeze(0)))
    skills = {name.removesuffix("_score"): mask[0] for name, mask in targets.items()}
    past = torch.ones(shape.length, shape.length, dtype=torch.bool).tril()
    moves = {EVENLY: _rows(past).expand(len(items.inputs_BL), -1, -1)} | {s: _rows(m) for s, m in skills.items()}
    tokens_BLV = torch.nn.functional.one_hot(items.inputs_BL, shape.size).double()
    places_BLL = torch.eye(shape.length, dtype=torch.float64).expand(len(tokens_BLV), -1, -1)
    held = {"embedding": tokens_BLV, "position": places_BLL}
    return Cooccurrence(
        _attention(held, moves, {name: contrast_weights(mask, past) for name, mask in skills.items()}),
        _readout(held, moves, _right_less_mean(items.targets.view(len(tokens_BLV), -1), shape.num_outputs)),
        {name: _asking(tokens_BLV, mask) for name, mask in skills.items()},
    )


def _attention(
    held: Mapping[str, Tensor], moves: Mapping[str, Tensor], contrasts: Mapping[str, Tensor]
) -> dict[tuple[str, str], dict[str, Tensor]]:
    found: dict[tuple[str, str], dict[str, Tensor]] = {}
    for query, at_queries in held.items():
        for key, at_keys in held.items():
            carried = {ITSELF: at_keys} | {move: matrix @ at_keys for move, matrix in moves.items()}
            found[query, key] = {
                skill + (f"_via_{move}" if move else ""): padded(
                    (contrast.transpose(1, 2) @ at_queries).flatten(0, 1).T @ carrier.flatten(0, 1)
                )
                for skill, contrast in contrasts.items()
                for move, carrier in carried.items()
            }
    return found


def _readout(
    held: Mapping[str, Tensor], moves: Mapping[str, Tensor], right_BQC: Tensor
) -> dict[str, dict[str, Tensor]]:
    num_asked, num_questions = right_BQC.shape[1], right_BQC.shape[0] * right_BQC.shape[1]

    def meets(carried: Tensor) -> Tensor:
        return padded(carried[:, -num_asked:].flatten(0, 1).T @ right_BQC.flatten(0, 1) / num_questions)

    found = {}
    for source, at_positions in held.items():
        once = {move: matrix @ at_positions for move, matrix in moves.items()}
        twice = {f"{m}_{n}": moves[n] @ once[m] for m in moves for n in moves}
        found[source] = {name: meets(carried) for name, carried in ({ITSELF: at_positions} | once | twice).items()}
    return found


def _right_less_mean(targets_BQ: Tensor, num_classes: int) -> Tensor:
    right = torch.nn.functional.one_hot(targets_BQ, num_classes).double()
    return right - 1 / num_classes


def _rows(mask: Tensor) -> Tensor:
    """(..., L, L): each row that has any True, divided by their number; zeros elsewhere."""
    return mask.double() / mask.sum(-1, keepdim=True).clamp_min(1)


def contrast_weights(mask: Tensor, past_LL: Tensor) -> Tensor:
    """(..., B, L, L) weights of the mean over a mask less that over other keys, over all queries that have both."""
    others = past_LL & ~mask
    has_both = (mask.any(-1) & others.any(-1)).unsqueeze(-1)
    return (_rows(mask) - _rows(others)) * has_both / has_both.sum((-3, -2, -1), keepdim=True).clamp_min(1)


def _asking(tokens_BLV: Tensor, mask_BLL: Tensor) -> Tensor:
    counts = tokens_BLV[mask_BLL.any(-1)].sum(0)
    return counts / counts.sum().clamp_min(1)
