"""What writes the draws of a task into a program, from its torch code."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch

from pipeline.codegen.graph.build import GraphBuilder, NoCodeError
from pipeline.codegen.graph.nodes import Operand, SourceNode, in_order
from pipeline.codegen.graph.sample_trace import traced_sample
from pipeline.codegen.graph.sampling import SampleBuilder
from pipeline.codegen.graph.trace import traced_reference
from pipeline.codegen.passes.plan import ProgramPlan, planned
from pipeline.codegen.text.loss_text import REFERENCE, QuestionEmitter
from pipeline.codegen.text.sample_text import ReferenceEmitter, SampleEmitter, choice_of_split
from pipeline.numerics.streams import Draws, held_out_key
from pipeline.tasks.base import Batch, Split, Task

_SPLITS: tuple[Split, ...] = ("train", "label", "probe")


class Sampling(NamedTuple):
    """What writes a task's examples and reference losses, and lines that choose by the split."""

    emitters: tuple[QuestionEmitter, ...]
    choice: tuple[str, ...] = ()


def sampling_of(task: Task, dtype: str, *memory: Any) -> Sampling:
    """What draws the examples of a task in a program. Raises NoCodeError where torch has to.

    `memory`: the last arguments of a `QuestionEmitter`.
    """
    example = one_example(task, dtype)
    is_whole = tuple(not array.dtype.is_floating_point for array in example)
    if is_whole[0] != (task.shape().kind == "tokens"):
        raise NoCodeError("no C++ is written for inputs of another type than the task's shape says")

    def emitter(split: Split, name: str) -> SampleEmitter:
        return SampleEmitter(plans[split], name, (is_whole[0], is_whole[1]), *memory)

    plans = {split: planned_sample(task, dtype, split) for split in _SPLITS}
    texts = [(*one.lines(), *one.memory()) for one in (emitter(split, "sample") for split in _SPLITS)]
    references = _references(task, dtype, *memory)
    if all(text == texts[0] for text in texts):
        return Sampling((emitter("train", "sample"), *references))
    keys: dict[str, tuple[int, int]] = {
        split: held_out_key(split, task.streams[0]) for split in _SPLITS if split != "train"
    }
    return Sampling(
        (*(emitter(split, f"sample_{split}") for split in _SPLITS), *references), tuple(choice_of_split(keys))
    )


def planned_sample(task: Task, dtype: str, split: Split) -> ProgramPlan:
    """The plan whose predictions are inputs, and whose gradient the targets, of one example. Raises NoCodeError."""
    builder = SampleBuilder(traced_sample(task, dtype, split), dtype)
    inputs, targets = builder.outputs()
    shape = task.shape()
    expected = (1, 1, *shape.input_shape), (1, shape.num_query_positions)
    if (inputs.shape, targets.shape) != expected:
        raise NoCodeError(f"`sample` gives shapes {inputs.shape} and {targets.shape}, not {expected[0]}, {expected[1]}")
    if shape.kind == "tokens":
        _refuse_beyond(builder, "tokens", inputs, shape.size)
    if has_classes(task, dtype):
        _refuse_beyond(builder, "classes", targets, shape.num_outputs)
    ends = [inputs.node, targets.node]
    if any(isinstance(node, SourceNode) and node.name in ("step", "stream") for node in in_order(ends)):
        raise NoCodeError("no C++ is written for examples that depend on the step but by their draws")
    return planned(builder, inputs, (targets,), [shape.kind != "tokens", not has_classes(task, dtype)])


def _refuse_beyond(builder: SampleBuilder, what: str, numbers: Operand, size: int) -> None:
    """Raises NoCodeError unless whole numbers are known to be at least 0 and below `size`."""
    low, high = builder.ranges.of(numbers).bounds()
    if not 0 <= low <= high <= size - 1:
        raise NoCodeError(f"its {what} may be {low:g} to {high:g} by the ranges of its draws, not 0 to {size - 1}")


def _references(task: Task, dtype: str, *memory: Any) -> tuple[QuestionEmitter, ...]:
    if type(task).reference_losses is Task.reference_losses:
        return ()
    builder = GraphBuilder(traced_reference(task, one_example(task, dtype)))
    (loss,) = builder.outputs()
    return (ReferenceEmitter(planned(builder, loss, (), [True]), REFERENCE, *memory),)


def has_classes(task: Task, dtype: str) -> bool:
    """Whether targets are whole numbers, from one example."""
    return not one_example(task, dtype).targets.dtype.is_floating_point


def one_example(task: Task, dtype: str) -> Batch:
    """An example of the statistics set, as a batch of one slot."""
    keys = {name: torch.tensor([held_out_key("probe", name)]) for name in task.streams}
    streams = {name: Draws(key_12, torch.zeros(1, dtype=torch.int64), 1) for name, key_12 in keys.items()}
    vectors = {name: torch.tensor([float(getattr(task, name) or 0)]) for name in task.vector_fields()}
    return task.sample(streams, vectors, dtype, "probe")
