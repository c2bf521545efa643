"""The C++ of a model, written from its torch code, for the shapes of a task."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import torch

from pipeline.codegen.build import GraphBuilder, NoCodeError
from pipeline.codegen.emit import Emitter
from pipeline.codegen.plan import ProgramPlan, planned
from pipeline.codegen.sums import BatchSums
from pipeline.codegen.trace import traced
from pipeline.models.base import Model
from pipeline.tasks.base import TaskShape


class Generated(NamedTuple):
    """The text of a header that holds a `Model`, or why there is none."""

    text: str | None
    why_not: str = ""


@lru_cache(maxsize=64)
def generated_or_why(model: Model, task_shape: TaskShape, dtype: str) -> Generated:
    """The C++ of a model, or the reason in words why none is written."""
    if not model.is_traceable(task_shape):
        return Generated(None, "no C++ is written for what it does in training")
    if not all(spec.trainable for spec in model.parameter_specs(task_shape)):
        return Generated(None, "no C++ is written for parameters that are not trained")
    try:
        return Generated(_text(model, task_shape, getattr(torch, dtype)))
    except NoCodeError as error:
        return Generated(None, str(error))


def _text(model: Model, task_shape: TaskShape, dtype: torch.dtype) -> str:
    return Emitter(*planned_model(model, task_shape, dtype)).text()


def planned_model(model: Model, task_shape: TaskShape, dtype: torch.dtype) -> tuple[ProgramPlan, list[int]]:
    """The plan of a model's program, and the numbers of the parameters that are trained. Raises NoCodeError."""
    trace = traced(model, task_shape, dtype)
    builder = GraphBuilder(trace)
    predictions, *slopes = builder.outputs()
    sums = BatchSums(builder)
    plan = planned(builder, predictions, tuple(sums.of(one) for one in slopes))
    places = {name: place for place, name in enumerate(trace.names)}
    return plan, [places[name] for name in trace.trained]
