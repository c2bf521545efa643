"""Examples of a task, traced from `Task.sample` for one example."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from pipeline.codegen.graph.draws import TracedDraws
from pipeline.codegen.graph.trace import Trace, graph_of
from pipeline.numerics.streams import Draws, held_out_key, stream_key
from pipeline.tasks.base import Batch, Split, Task

# Seed, step and rows with which what was traced is compared with the task's own examples.
_SEED, _STEP, _NUM_ROWS = 11, 5, 4


def traced_sample(task: Task, dtype: str, split: Split) -> Trace:
    """Trace `task.sample` for one example: inputs, then targets.

    Raises NotImplementedError where an example depends on others or on how many there are, or on anything but its
    streams, its step and the run's vector parameters.
    """
    names, vectors = task.streams, task.vector_fields()

    def sample(keys: list[Tensor], step: Tensor, values: list[Tensor]) -> list[Tensor]:
        streams: dict[str, Draws] = {
            name: TracedDraws(key, step, num_rows=1) for name, key in zip(names, keys, strict=True)
        }
        return list(task.sample(streams, dict(zip(vectors, values, strict=True)), dtype, split))

    real = getattr(torch, dtype)
    # Numbers that are unlike those at which they do nothing.
    values = [torch.full((1,), 0.25, dtype=real) for _ in vectors]
    keys, step = _keys(task, split, 0), torch.zeros(1, dtype=torch.int64)
    # What a task makes on its first call is not to be traced.
    task.sample(_streams(task, keys, step), dict(zip(vectors, values, strict=True)), dtype, split)
    graph = graph_of(sample, keys, step, values)
    _refuse_others(task, dtype, split, graph, values)
    given = (*("stream" for _ in names), "step", *("vectors" for _ in vectors))
    return Trace(graph, (), (), given)


def _keys(task: Task, split: Split, seed: int) -> list[Tensor]:
    pairs = [stream_key(name, seed) if split == "train" else held_out_key(split, name) for name in task.streams]
    return [torch.tensor([pair]) for pair in pairs]


def _streams(task: Task, keys: list[Tensor], step: Tensor, num_rows: int = 1, first_row: int = 0) -> dict[str, Draws]:
    return {name: Draws(key, step, num_rows, first_row) for name, key in zip(task.streams, keys, strict=True)}


def _refuse_others(task: Task, dtype: str, split: Split, graph: Any, values: list[Tensor]) -> None:
    """Raises NotImplementedError unless examples of another seed and step are what was traced, each by itself."""
    keys, step = _keys(task, split, _SEED), torch.tensor([_STEP])
    vectors = dict(zip(task.vector_fields(), values, strict=True))
    whole = task.sample(_streams(task, keys, step, _NUM_ROWS), vectors, dtype, split)
    for row in range(_NUM_ROWS):
        single = task.sample(_streams(task, keys, step, 1, row), vectors, dtype, split)
        if not _same(single, Batch(whole.inputs[:, row : row + 1], whole.targets.view(1, _NUM_ROWS, -1)[:, row])):
            raise NotImplementedError("no C++ is written for an example that depends on others, or their number")
    first = task.sample(_streams(task, keys, step), vectors, dtype, split)
    if not _same(first, Batch(*graph(keys, step, values))):
        raise NotImplementedError("no C++ is written for what `sample` makes of other things than its arguments")


def _same(one: Batch, other: Batch) -> bool:
    return all(torch.equal(a, b) and a.dtype == b.dtype for a, b in zip(one, other, strict=True))
