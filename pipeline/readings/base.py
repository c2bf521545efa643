"""Base class of readings, with its contract, what a reading is given, and their registry."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from pipeline.models.base import Model
from pipeline.registry import Registry
from pipeline.tasks.base import Batch, Task

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Weights:
    """The weights of S runs at one step each: `parameters[name]` is (S, rows, columns), detached.

    `task` and `model` (bound to the task's shape) are those of all S; `batch` (S, B, ...) holds items of the statistics
    set, which depend on the task alone and are the same at every step.
    """

    task: Task
    model: Model
    parameters: Mapping[str, Tensor]
    batch: Batch


class Reading(ABC):
    """Numbers read from the weights of a run. Torch is imported inside methods only. The contract:

    1. `unsuitable(task, model)` says in a sentence why a model cannot be read, or is None.
    2. The output is a dict of metric name -> (S,), each name `NAME.WHAT` with the reading's own name; names depend on
       task and model alone.
    3. Slot by slot: a run's values do not depend on the others in the batch, nor on how many there are, bit for bit.
    4. Read-only: it changes no argument, draws no random number, and leaves the process's settings alone.
    5. Heads of a layer are exchangeable, and so is the orthonormal basis inside a head: permuting heads, or Q -> Q M,
       K -> K M with M orthogonal in a head, moves no value beyond rounding.
    6. A value that is not defined (a spectrum of non-finite weights) is NaN, never an error.
    """

    name: ClassVar[str]

    @classmethod
    @abstractmethod
    def unsuitable(cls, task: Task, model: Model) -> str | None:
        """Why this model on this task cannot be read so; None if it can."""

    @abstractmethod
    def __call__(self, weights: Weights) -> dict[str, Tensor]:
        """Metric name -> (S,), float32 or float64."""


READINGS: Registry[Reading] = Registry("pipeline.readings", Reading)  # type: ignore[type-abstract]
