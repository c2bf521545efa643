"""A single run is read beside a copy of itself, so that its numbers are those that it has among others."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

import torch
from torch import Tensor

from pipeline.numerics.alignment import plan_row
from pipeline.readings.base import Weights
from pipeline.tasks.base import Batch


def in_company(
    name: str, numbers: Callable[[Weights], Iterable[tuple[str, Tensor]]], weights: Weights
) -> dict[str, Tensor]:
    """`NAME.NUMBER` -> (S,) of the numbers of these weights.

    A sum over the entries of a single slot is one over a whole tensor, which libraries take in an order of their own.
    """
    num_slots = len(weights.batch.inputs)
    read = numbers(weights if num_slots > 1 else _doubled(weights))
    return {f"{name}.{number}": value[:num_slots] for number, value in read}


def _doubled(weights: Weights) -> Weights:
    batch = Batch(*(torch.cat([part, part]) for part in weights.batch))
    return replace(weights, parameters=_rows(weights.parameters, 2), batch=batch)


def _rows(parameters: Mapping[str, Tensor], num_slots: int) -> dict[str, Tensor]:
    """Copies (S, rows, columns) of the parameters of a single slot, each on a 64-byte boundary in every slot."""
    some = next(iter(parameters.values()))
    row = plan_row([value[0].numel() for value in parameters.values()], some.element_size())
    rows_SP = some.new_zeros(num_slots, row.width)
    found = {}
    for (name, value), first in zip(parameters.items(), row.offsets, strict=True):
        found[name] = rows_SP[:, first : first + value[0].numel()].view(num_slots, *value.shape[1:])
        found[name].copy_(value.detach().expand_as(found[name]))
    return found
