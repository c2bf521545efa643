"""The texts of a model and of a task's losses for blocks of threads.

What is computed of an example is the text of compiled programs, with one lane: each thread has an example of its own.
What is computed once a step, of weights or of sums over examples, is shared out among the threads of the block.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from functools import lru_cache

import torch

from pipeline.codegen.generated import drawn_task_text, planned_model, sampled_task_text
from pipeline.codegen.graph.build import NoCodeError
from pipeline.codegen.text.model_text import ModelEmitter
from pipeline.models.base import Model
from pipeline.tasks.base import Task, TaskShape

_LOOP = re.compile(r"for \(int (\w+) = (.+?); (.+?); \+\+\w+\)")
# Loops over matrices stay whole: the products in them are shared out.
_MATRICES = "for (int b ="
# Local memory of a thread (CUDA C++ Programming Guide, table of technical specifications by compute capability).
_MOST_LOCAL_BYTES = 512 * 1024
_SHARED_PRODUCT = ("  multiply<", "  multiply_by_threads<")


class ThreadModelEmitter(ModelEmitter):
    """Writes one plan as a model whose examples are computed by threads, and whose scalars they share."""

    def _tape(self) -> list[str]:
        shared = [f"  static constexpr int NUM_SCALARS = {max(1, self._plan.num_scalars)};", "  real* scalars;"]
        return [line for one in super()._tape() for line in (shared if "scalars[" in one else [one])]

    def _function(self, name: str, arguments: str, body: Sequence[str]) -> list[str]:
        return super()._function(name, arguments, by_threads(body) if name in ("begin", "finish") else body)


def by_threads(lines: Sequence[str]) -> list[str]:
    """Computations of a run, one after the other, each shared out: threads take turns in its outermost loop.

    Braces are around a computation. Its outermost loop is the first line in them; where that is no loop, as of a sum
    that is a single number, every thread computes it all.
    """
    found: list[str] = []
    depth = 0
    for line in lines:
        if "look_up<" in line:
            raise NoCodeError("no CUDA is written for a lookup that depends on no example")
        is_first = depth == 0 or (depth == 1 and found[-1] == "{")
        is_loop = line.startswith("for (") and not line.startswith(_MATRICES)
        is_rows_of_product = line.startswith("  for (int m = ")
        if (is_loop and is_first) or is_rows_of_product:
            line = _LOOP.sub(r"for (int \1 = \2 + thread_number(); \3; \1 += THREADS)", line, count=1)
        found.append(line.replace(*_SHARED_PRODUCT))
        depth += line.count("{") - line.count("}")
        if line == "}" and depth == 0:
            found.append("wait_for_all();")
    return found


@lru_cache(maxsize=64)
def thread_model_text(model: Model, task_shape: TaskShape, dtype: str, is_poisoned: bool = False) -> str:
    """The structure `Model` of a kernel. Raises NoCodeError, also where a thread has no room for an example.

    Memory `is_poisoned`, for tests: what a thread reads before it has written it is not a number.
    """
    kind: torch.dtype = getattr(torch, dtype)
    plan, places = planned_model(model, task_shape, kind)
    size = plan.num_lanes * kind.itemsize
    if size > _MOST_LOCAL_BYTES:
        raise NoCodeError(f"no CUDA is written for {size:,} bytes of one example: a thread has 512 KiB")
    return ThreadModelEmitter(plan, places, is_poisoned).text()


def thread_task_text(task: Task, dtype: str, is_drawn: bool, is_poisoned: bool = False) -> str:
    """The structure `Task` of a kernel, whose examples torch draws where it `is_drawn`. Raises NoCodeError."""
    write = drawn_task_text if is_drawn else sampled_task_text
    return write(task, dtype, is_poisoned, math.inf)
