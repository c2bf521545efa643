"""The C++ of each part of a run, written from its torch code."""

from __future__ import annotations

import json
import traceback
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple, TypeVar

import torch

from pipeline.codegen.graph.build import GraphBuilder, NoCodeError
from pipeline.codegen.graph.nodes import in_order
from pipeline.codegen.graph.noise import NoiseBuilder, own_pieces, refuse_shared
from pipeline.codegen.graph.trace import Trace, is_users, line_of, traced, traced_correct, traced_loss, traced_maps
from pipeline.codegen.graph.updates import Sizes, traced_factor, traced_update
from pipeline.codegen.kept_text import is_ours, kept_text
from pipeline.codegen.passes.plan import ProgramPlan, planned
from pipeline.codegen.passes.sums import BatchSums
from pipeline.codegen.sampling import Sampling, has_classes, sampling_of
from pipeline.codegen.text.loss_text import QuestionEmitter, task_text
from pipeline.codegen.text.model_text import ModelEmitter
from pipeline.codegen.text.probe_text import NO_MAPS, OTHER_MAPS, ProbeEmitter
from pipeline.codegen.text.update_text import optimiser_text, schedule_text
from pipeline.models.base import Model
from pipeline.optimisers.base import Optimiser
from pipeline.schedules.base import Schedule
from pipeline.tasks.base import Task, TaskShape

_Part = TypeVar("_Part", Optimiser, Schedule)
# What torch says of a trace -> what the code does.
_IN_WORDS = {
    "aten._local_scalar_dense": "Python takes a number out of a tensor, as for a branch or a loop",
    "has been modified inplace": "it changes parameters or inputs in place",
}
# Vector hyperparameters -> slots and weights, of the traces of one update, whose texts have to be equal.
_SIZES = {1.0: Sizes(2, 3), 2.0: Sizes(3, 5)}


class Generated(NamedTuple):
    """The text of a header that holds a `Model`, `Task`, `Optimiser` or `Schedule`, or why there is none.

    `why_drawn`: why the program does not draw a task's examples itself, empty where it does.
    """

    text: str | None
    why_not: str = ""
    why_drawn: str = ""


@lru_cache(maxsize=64)
def generated_or_why(model: Model, task_shape: TaskShape, dtype: str) -> Generated:
    """The C++ of a model, or the reason in words why none is written."""
    if any(spec.is_state for spec in model.parameter_specs(task_shape)):
        return Generated(None, "no C++ is written for buffers that training changes, as averages over batches")
    if not model.is_traceable(task_shape):
        return Generated(None, "no C++ is written for what it does in training")

    def write() -> str:
        return model_text(model, task_shape, getattr(torch, dtype))

    if not is_ours(model):
        return _tried(write)
    identity = repr((type(model), model.model_dump_json(include=set(model.static_fields())), task_shape, dtype))
    return _tried(lambda: kept_text(identity, write))


def model_text(model: Model, task_shape: TaskShape, dtype: torch.dtype, is_poisoned: bool = False) -> str:
    """The structures `Model`, which is trained, and `Probe`, which is measured. Raises NoCodeError."""
    return ModelEmitter(*planned_model(model, task_shape, dtype), is_poisoned).text() + _probe_text(
        model, task_shape, dtype, is_poisoned
    )


def _probe_text(model: Model, task_shape: TaskShape, dtype: torch.dtype, is_poisoned: bool) -> str:
    """Maps for which no C++ can be written are left to torch: the model is trained by its program all the same.

    Not so of a model that draws in training, which `Probe` evaluates. Raises NoCodeError.
    """
    trace = traced_maps(model, task_shape, dtype)
    if trace is None:
        return NO_MAPS
    try:
        builder = GraphBuilder(trace)
        predictions, *others = builder.outputs()
        num_maps = sum(len(one.shape) == 5 for one in others)
        length = task_shape.length
        if any(one.shape[-2:] != (length, length) for one in others[:num_maps]):
            return OTHER_MAPS
        return ProbeEmitter(planned(builder, predictions, tuple(others)), num_maps, is_poisoned).text()
    except NoCodeError:
        if model.noise_streams(task_shape):
            raise
        return OTHER_MAPS


def _tried(write: Callable[[], str]) -> Generated:
    """What is written, or why nothing is: code of a user's own may raise anything when it is traced."""
    try:
        return Generated(write())
    except NoCodeError as error:
        return Generated(None, str(error))
    except Exception as error:
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        first = next((ours for theirs, ours in _IN_WORDS.items() if theirs in first), first)
        frames = traceback.extract_tb(error.__traceback__)
        lines = [line_of(one.filename, one.lineno) for one in frames if one.lineno and is_users(one.filename)]
        return Generated(None, f"it cannot be traced: {first}{f' ({lines[-1]})' if lines else ''}")


def planned_model(model: Model, task_shape: TaskShape, dtype: torch.dtype) -> tuple[ProgramPlan, list[int]]:
    """The plan of a model's program, and the numbers of the parameters that are trained. Raises NoCodeError."""
    trace = traced(model, task_shape, dtype)
    pieces = own_pieces(model, task_shape)
    builder = NoiseBuilder(trace, dtype, pieces) if pieces else GraphBuilder(trace)
    predictions, *slopes = builder.outputs()
    if pieces:
        refuse_shared(model, task_shape, dtype, pieces)
    sums = BatchSums(builder)
    plan = planned(builder, predictions, tuple(sums.of(one) for one in slopes))
    places = {name: place for place, name in enumerate(trace.names)}
    return plan, [places[name] for name in trace.trained]


@lru_cache(maxsize=64)
def generated_task_or_why(task: Task, dtype: str) -> Generated:
    """The C++ of a task, which draws its examples if that can be written, or the reason in words why there is none."""

    def write() -> str:
        return json.dumps(_written_task(task, dtype))

    if not is_ours(task) or task.functions():
        return _written_task(task, dtype)
    static = task.model_dump_json(include=set(task.static_fields()))
    identity = repr((type(task), static, task.shape(), has_classes(task, dtype), dtype))
    return Generated(*json.loads(kept_text(identity, write)))


def _written_task(task: Task, dtype: str) -> Generated:
    found = _tried(lambda: sampled_task_text(task, dtype))
    if found.text is not None:
        return found
    return _tried(lambda: drawn_task_text(task, dtype))._replace(why_drawn=found.why_not)


def sampled_task_text(task: Task, dtype: str, *memory: Any) -> str:
    """The structure `Task` that draws its examples; `memory` as of `sampling_of`. Raises NoCodeError."""
    return _task_text(task, dtype, sampling_of(task, dtype, *memory), *memory)


def drawn_task_text(task: Task, dtype: str, *memory: Any) -> str:
    """The structure `Task` whose examples torch draws, likewise."""
    return _task_text(task, dtype, Sampling(()), *memory)


def _task_text(task: Task, dtype: str, sampling: Sampling, *memory: Any) -> str:
    return task_text(task.shape(), has_classes(task, dtype), question_emitters(task, dtype, *memory), *sampling)


def question_emitters(task: Task, dtype: str, *memory: Any) -> list[QuestionEmitter]:
    """What writes `loss` and, where the task has accuracies, `correct`. Raises NoCodeError."""
    arguments = task, task.shape(), getattr(torch, dtype), has_classes(task, dtype)
    traces = {"loss": traced_loss(*arguments)} | (
        {"correct": traced_correct(*arguments)} if task.has_accuracy() else {}
    )
    return [QuestionEmitter(_planned(trace), name, *memory) for name, trace in traces.items()]


def _planned(trace: Trace) -> ProgramPlan:
    builder = GraphBuilder(trace)
    value, *slopes = builder.outputs()
    forward = in_order([value.node])
    for node in in_order([one.node for one in slopes]):
        node.is_backward = node not in forward
    return planned(builder, value, tuple(slopes))


def generated_optimiser_or_why(optimiser: Optimiser, dtype: str) -> Generated:
    """The C++ of an optimiser, or the reason in words why none is written."""
    if type(optimiser).in_rows is not Optimiser.in_rows:
        return Generated(None, "no C++ is written for what tells the parameters of a model apart")
    return _update_or_why(_with_vectors(optimiser, 1.0), dtype)


def generated_schedule_or_why(schedule: Schedule, dtype: str) -> Generated:
    """The C++ of a schedule, or the reason in words why none is written."""
    if type(schedule).fraction is not Schedule.fraction:
        return Generated(None, "no C++ is written for a warm-up of its own, `fraction`")
    return _update_or_why(_with_vectors(schedule, 1.0), dtype)


def _with_vectors(part: _Part, value: float) -> _Part:
    """The part with this for each vector hyperparameter, all of which it is to read from what the trace is given."""
    return part.model_copy(update=dict.fromkeys(part.vector_fields(), value))


@lru_cache(maxsize=64)
def _update_or_why(part: Optimiser | Schedule, dtype: str) -> Generated:
    real = getattr(torch, dtype)

    def text() -> str:
        if isinstance(part, Optimiser):
            return optimiser_text([traced_update(_with_vectors(part, k), sizes, real) for k, sizes in _SIZES.items()])
        return schedule_text([traced_factor(_with_vectors(part, k), sizes, real) for k, sizes in _SIZES.items()])

    if not is_ours(part):
        return _tried(text)
    static = part.model_dump_json(include=set(part.static_fields()))
    return _tried(lambda: kept_text(repr((type(part), static, dtype)), text))
