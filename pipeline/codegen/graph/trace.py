"""Predictions and losses of one example and their gradients, traced from torch code to lists of core operations."""

from __future__ import annotations

import linecache
import math
import sys
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, fx
from torch.fx.experimental.proxy_tensor import make_fx
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode

from pipeline.codegen.graph.draws import TracedDraws
from pipeline.codegen.graph.operations import RESHAPES
from pipeline.models.base import Model, ParameterSpec
from pipeline.numerics.matmul import plain_products
from pipeline.numerics.streams import Draws, stream_key
from pipeline.tasks.base import Batch, Task, TaskShape

_aten = torch.ops.aten
# Operations beside those that torch takes apart for every compiler, and those of which more comes of it.
_TAKEN_APART = [
    _aten.addmm,
    _aten.isinf,
    _aten.leaky_relu,
    _aten.linalg_vector_norm,
    _aten.native_group_norm,
    _aten.native_layer_norm,
]
_KEPT_WHOLE = [_aten.embedding_dense_backward.default, _aten.special_entr.default]
_OURS, _TORCHS = Path(__file__).parents[2], Path(torch.__file__).parent


class Trace(NamedTuple):
    """A graph of core ATen operations, whose inputs are parameters of these names, then what is `given`.

    The outputs of a model's are the predictions (Q, num_outputs), then the gradient of each trained parameter, or each
    layer's attention map and then its entropies; those of a loss's the loss of a question, then its slopes by the
    predictions.
    """

    graph: fx.GraphModule
    names: tuple[str, ...]
    trained: tuple[str, ...]
    given: tuple[str, ...] = ("inputs", "slopes")


def traced(model: Model, task_shape: TaskShape, dtype: torch.dtype) -> Trace:
    """Trace predictions in training for one run and a batch of one example, and their gradient by the loss's slopes."""
    made_up = ModelToTrace.of(model, task_shape, dtype)
    num_asked = task_shape.num_query_positions
    trained = tuple(spec.name for spec in made_up.specs if spec.trainable)
    names = model.noise_streams(task_shape)

    def joint(values: list[Tensor], inputs: Tensor, slopes: Tensor, noise: list[tuple[Tensor, Tensor]]) -> list[Tensor]:
        leaves = [value.requires_grad_(spec.trainable) for spec, value in zip(made_up.specs, values, strict=True)]
        parameters = made_up.named(leaves)
        with torch.enable_grad():
            draws = {name: TracedDraws(key, step, 1) for name, (key, step) in zip(names, noise, strict=True)}
            predictions = made_up.model.training_predictions(parameters, inputs, num_asked, draws)
            gradients = torch.autograd.grad(
                predictions, [parameters[name] for name in trained], slopes, materialize_grads=True
            )
        return [predictions.detach(), *gradients]

    slopes = torch.ones(1, num_asked, task_shape.num_outputs, dtype=dtype)
    noise = [(torch.tensor([stream_key(name, 0)]), torch.zeros(1, dtype=torch.int64)) for name in names]
    draws = {name: Draws(key, step, 1) for name, (key, step) in zip(names, noise, strict=True)}
    # What a model makes on its first call is not to be traced.
    made_up.model.training_predictions(made_up.named(made_up.values), made_up.inputs, num_asked, draws)
    given = ("inputs", "slopes", *("stream", "step") * len(names))
    return Trace(graph_of(joint, made_up.values, made_up.inputs, slopes, noise), made_up.names, trained, given)


def traced_maps(model: Model, task_shape: TaskShape, dtype: torch.dtype) -> Trace | None:
    """Trace `model.forward` for one example, with attention maps and their entropies.

    None of a model without maps whose predictions are the same in training.
    """
    made_up = ModelToTrace.of(model, task_shape, dtype)
    num_asked = task_shape.num_query_positions

    def whole(values: list[Tensor], inputs: Tensor) -> list[Tensor]:
        output = made_up.model.forward(
            made_up.named(values), inputs, with_attention=True, num_query_positions=num_asked
        )
        entropies = [torch.special.entr(one).sum(-1).sum(-1) for one in output.attention] if model.has_softmax else []
        return [output.predictions, *output.attention, *entropies]

    with torch.no_grad():
        if len(whole(made_up.values, made_up.inputs)) == 1 and not model.noise_streams(task_shape):
            return None
        return Trace(graph_of(whole, made_up.values, made_up.inputs), made_up.names, (), ("inputs",))


class ModelToTrace(NamedTuple):
    """A model for a task's shape, with values of its parameters and an example to be traced with."""

    model: Model
    specs: tuple[ParameterSpec, ...]
    values: list[Tensor]
    inputs: Tensor

    @staticmethod
    def of(model: Model, task_shape: TaskShape, dtype: torch.dtype) -> ModelToTrace:
        """Of weights that are drawn alike each time."""
        specs = model.parameter_specs(task_shape)
        generator = torch.Generator().manual_seed(0)
        values = [torch.randn(1, spec.rows, spec.columns, dtype=dtype, generator=generator) for spec in specs]
        return ModelToTrace(model.bind(task_shape), specs, values, made_up_inputs(task_shape, dtype))

    @property
    def names(self) -> tuple[str, ...]:
        """Of the parameters."""
        return tuple(spec.name for spec in self.specs)

    def named(self, values: list[Tensor]) -> dict[str, Tensor]:
        """Values by the parameters' names."""
        return dict(zip(self.names, values, strict=True))


def traced_loss(task: Task, task_shape: TaskShape, dtype: torch.dtype, has_classes: bool) -> Trace:
    """Trace `task.losses` for one question, and its slopes by the predictions."""

    def joint(predictions: Tensor, targets: Tensor) -> list[Tensor]:
        with torch.enable_grad():
            losses = task.losses(predictions.requires_grad_(True), targets)
            one = torch.ones(1, 1, dtype=dtype)
            return [losses.detach(), *torch.autograd.grad(losses, predictions, one, materialize_grads=True)]

    graph = graph_of(joint, *_made_up_question(task_shape, dtype, has_classes))
    return Trace(graph, (), (), ("predictions", "targets"))


def traced_correct(task: Task, task_shape: TaskShape, dtype: torch.dtype, has_classes: bool) -> Trace:
    """Trace `task.correct` for one question."""

    def joint(predictions: Tensor, targets: Tensor) -> list[Tensor | None]:
        return [task.correct(predictions, targets)]

    graph = graph_of(joint, *_made_up_question(task_shape, dtype, has_classes))
    return Trace(graph, (), (), ("predictions", "targets"))


def traced_reference(task: Task, example: Batch) -> Trace:
    """Trace the mean of `task.reference_losses` over the questions of an example such as this one."""

    def mean(inputs: Tensor, targets: Tensor) -> list[Tensor]:
        losses = task.reference_losses(Batch(inputs, targets))
        assert losses is not None, "a task that overrides `reference_losses` gives them"
        return [losses.mean(1)]

    return Trace(graph_of(mean, *(array.clone() for array in example)), (), (), ("inputs", "targets"))


def _made_up_question(task_shape: TaskShape, dtype: torch.dtype, has_classes: bool) -> tuple[Tensor, Tensor]:
    """Predictions (1, 1, num_outputs) and a target (1, 1)."""
    predictions = torch.sin(torch.arange(1, task_shape.num_outputs + 1, dtype=dtype)).view(1, 1, -1)
    return predictions, torch.zeros(1, 1, dtype=torch.int64 if has_classes else dtype)


def graph_of(function: Callable[..., Any], *arguments: Any) -> fx.GraphModule:
    """The core operations of a function of these arguments, each with the line that called it."""
    # Composite operations by their formulas, not by kernels of their own.
    of_products = torch.backends.mkldnn.flags(enabled=False, allow_tf32=None)
    of_attention = sdpa_kernel(SDPBackend.MATH)
    with fx.traceback.preserve_node_meta(), of_products, of_attention, _Formulas(), plain_products():
        graph = make_fx(function, decomposition_table=decompositions())(*arguments)
    graph.graph.eliminate_dead_code()
    return graph


def made_up_inputs(task_shape: TaskShape, dtype: torch.dtype) -> Tensor:
    """A made-up example, (1, 1, L) or (1, 1, L, D)."""
    if task_shape.kind == "tokens":
        return (torch.arange(task_shape.length) % task_shape.size).view(1, 1, -1)
    shape = (1, 1, *task_shape.input_shape)
    return torch.sin(torch.arange(1, math.prod(shape) + 1, dtype=dtype)).view(shape)


def _changed(operation: Any, first: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """What an operation in place gives that torch takes apart out of place alone."""
    return first.copy_(operation(first, *args, **kwargs))


@cache
def decompositions() -> dict[Any, Callable[..., Any]]:
    """What torch takes apart, so that no trace holds it."""
    table = {**torch._decomp.core_aten_decompositions(), **torch._decomp.get_decompositions(_TAKEN_APART)}
    for kept in _KEPT_WHOLE:
        table.pop(kept, None)
    for plain in list(table):
        in_place = getattr(getattr(_aten, f"{plain._opname}_", None), plain._overloadname, None)
        if in_place is not None and in_place not in RESHAPES:
            table.setdefault(in_place, partial(_changed, plain))
    return cast("dict[Any, Callable[..., Any]]", table)


class _Formulas(TorchFunctionMode):
    """Functions that are written out where autograd has a kernel of its own for their gradient."""

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        place = _place()
        fx.traceback.set_stack_trace([] if place is None else [place])
        formula = _FORMULAS.get(function)
        return (formula or function)(*args, **(kwargs or {}))


def _place() -> str | None:
    """FILE:LINE of the innermost code that is neither torch's nor ours, and that line; None where there is none.

    Modules of torch alone, as an nn.Sequential of them, have none. What stands beyond `graph_of` asked for the trace.
    """
    frame: FrameType | None = sys._getframe(2)
    while frame is not None and frame.f_code is not graph_of.__code__:
        if is_users(frame.f_code.co_filename):
            return line_of(frame.f_code.co_filename, frame.f_lineno)
        frame = frame.f_back
    return None


@cache
def is_users(file: str) -> bool:
    """Whether a file is neither torch's nor ours."""
    return not any(Path(file).is_relative_to(folder) for folder in (_OURS, _TORCHS))


def line_of(file: str, line: int) -> str:
    """FILE:LINE and that line."""
    return f"{file}:{line}: {linecache.getline(file, line).strip()}"


def called_at(node: fx.Node) -> str:
    """Where an operation of a trace was called, in brackets; empty where that is not known."""
    lines = (node.meta.get("stack_trace") or "").strip().splitlines()
    return f" ({lines[-1].strip()})" if lines else ""


def _convolution(num_axes: int) -> Callable[..., Tensor]:
    def convolved(
        inputs: Tensor,
        weight: Tensor,
        bias: Tensor | None = None,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
    ) -> Tensor:
        """One product for each place of the kernel: sum over places of weight[place] times the shifted inputs."""
        steps, dilations = (_each(value, num_axes) for value in (stride, dilation))
        reach = [step * (size - 1) for step, size in zip(dilations, weight.shape[2:], strict=True)]
        if padding == "same":
            pads = [(whole // 2, whole - whole // 2) for whole in reach]
        else:
            pads = [(one, one) for one in ([0] * num_axes if padding == "valid" else _each(padding, num_axes))]
        around = [one for pair in reversed(pads) for one in pair]
        padded = torch.nn.functional.pad(inputs, around) if any(around) else inputs
        sizes = [(padded.shape[2 + axis] - reach[axis] - 1) // steps[axis] + 1 for axis in range(num_axes)]
        batch, channels = inputs.shape[:2]
        total: Tensor | None = None
        for place in torch.cartesian_prod(*(torch.arange(n) for n in weight.shape[2:])).view(-1, num_axes).tolist():
            part = padded
            for axis, offset in enumerate(place):
                first = offset * dilations[axis]
                last = first + steps[axis] * (sizes[axis] - 1) + 1
                part = part[(slice(None),) * (2 + axis) + (slice(first, last, steps[axis]),)]
            kernel = weight[(slice(None), slice(None), *place)].view(groups, -1, weight.shape[1])
            moved = kernel @ part.reshape(batch, groups, channels // groups, -1)
            total = moved if total is None else total + moved
        assert total is not None
        answer = total.reshape(batch, weight.shape[0], *sizes)
        return answer if bias is None else answer + bias.view(-1, *[1] * num_axes)

    return convolved


def _each(value: Any, count: int) -> list[int]:
    return [value] * count if isinstance(value, int) else list(value) * (count // len(value))


def _attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """Softmax attention, NaN where a query may attend to nothing (torch's own gives 0 there)."""
    if enable_gqa:
        repeats = query.shape[-3] // key.shape[-3]
        key, value = (one.repeat_interleave(repeats, -3) for one in (key, value))
    scores = query @ key.transpose(-1, -2) * (1 / math.sqrt(query.shape[-1]) if scale is None else scale)
    if is_causal:
        attn_mask = torch.ones(scores.shape[-2:], dtype=torch.bool).tril()
    if attn_mask is not None:
        bias = torch.zeros(attn_mask.shape, dtype=scores.dtype).masked_fill(~attn_mask, -math.inf)
        scores = scores + (bias if attn_mask.dtype == torch.bool else attn_mask)
    shares = scores.softmax(-1)
    return (torch.dropout(shares, dropout_p, True) if dropout_p > 0 else shares) @ value


def _one_hot(classes: Tensor, num_classes: int = -1) -> Tensor:
    """Without a look at the numbers, which decides how many classes there are if that is not given."""
    if num_classes < 0:
        raise NotImplementedError("no C++ is written for one_hot without a number of classes")
    return (classes.unsqueeze(-1) == torch.arange(num_classes)).long()


_FORMULAS: dict[Any, Callable[..., Tensor]] = {
    torch.nn.functional.one_hot: _one_hot,
    torch.conv1d: _convolution(1),
    torch.conv2d: _convolution(2),
    torch.nn.functional.scaled_dot_product_attention: _attention,
}
