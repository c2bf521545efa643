"""Adapts an nn.Module written for one run to all slots: parameters, initialisation, training and evaluation."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, ClassVar, NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.func import functional_call

from pipeline.models._module_noise import RunNoise, noise_from
from pipeline.models.base import ParameterSpec
from pipeline.numerics.generators import nothing_drawn
from pipeline.numerics.streams import Draws, stream_key
from pipeline.tasks.base import TaskShape

_NUM_EXAMPLES = 4
# When a spec is read a module is tried for a step, and what draws only now and then may draw nothing there.
_DRAWS_LATE = (
    "the module draws random numbers that it did not draw when it was tried, so no stream gives them; draw in every "
    "training step, by torch.rand, torch.randn, torch.bernoulli or dropout, and never in evaluation"
)


class Example(NamedTuple):
    """One run's batch: inputs (B, L) or (B, L, D), targets (B,) or (B, Q), at one of its steps."""

    inputs: Tensor
    targets: Tensor
    step: int = 0


class Builder(Protocol):
    """Factory of a run's module for the shape of a task; hashable, and its fields determine the module."""

    is_vmapped: ClassVar[bool]
    predicts_all_positions: ClassVar[bool]

    def __hash__(self) -> int: ...

    def module(self, task_shape: TaskShape) -> nn.Module:
        """A new module for one run; its parameters are drawn from torch's global generator."""
        ...

    def trained_on(self, module: nn.Module, example: Example) -> Tensor:
        """What the gradient is taken of, or comes from: the loss of a batch, or the predictions for it."""
        ...

    def evaluated_on(self, module: nn.Module, example: Example) -> Tensor:
        """Likewise, without noise and without a change to the module."""
        ...


class Traits(NamedTuple):
    """What training a module does besides computing: draw random numbers, and change these of its buffers."""

    draws: bool
    state: tuple[str, ...]

    @property
    def is_plain(self) -> bool:
        """Whether it does neither."""
        return not (self.draws or self.state)


@lru_cache(maxsize=256)
def traits(model: Builder, task_shape: TaskShape) -> Traits:
    """Those of the model's module, seen in one step on a made-up batch."""
    module = built_anew(model, task_shape, 0)
    before = {name: buffer.clone() for name, buffer in module.named_buffers()}
    with torch.random.fork_rng(devices=[]), noise_of(0) as noise:
        model.trained_on(module, example(task_shape))
    buffers = dict(module.named_buffers())
    changed = (name for name, value in before.items() if name in buffers and not same_values(value, buffers[name]))
    return Traits(noise.num_calls > 0, tuple(changed))


@lru_cache(maxsize=256)
def noise_pieces(model: Builder, task_shape: TaskShape) -> tuple[int, ...]:
    """As `Model.noise_pieces`, from the shapes that a batch of one and a batch of two draw."""
    whole, shapes = example(task_shape), []
    for count in (1, 2):
        module = built_anew(model, task_shape, 0)
        with torch.random.fork_rng(devices=[]), noise_of(0) as noise:
            model.trained_on(module, whole._replace(inputs=whole.inputs[:count], targets=whole.targets[:count]))
        shapes.append(noise.shapes)
    return tuple(_pieces(one, two) for one, two in zip(*shapes, strict=True))


def _pieces(one: Sequence[int], two: Sequence[int]) -> int:
    axes = [axis for axis, (size, double) in enumerate(zip(one, two, strict=True)) if size != double]
    if len(axes) != 1 or two[axes[0]] != 2 * one[axes[0]]:
        raise NotImplementedError("no C++ is written for random numbers that examples of a batch share")
    return math.prod(one[: axes[0]])


def same_values(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors are equal, NaN equal to NaN."""
    return one.shape == other.shape and torch.equal(one.nan_to_num(), other.nan_to_num())


def noise_of(seed: int) -> AbstractContextManager[RunNoise]:
    """The noise of some run at its first step."""
    return noise_from(Draws(torch.tensor([stream_key("noise", seed)]), torch.zeros(1, dtype=torch.int64), 1))


def specs_of(model: Builder, task_shape: TaskShape) -> tuple[ParameterSpec, ...]:
    """One matrix per parameter, initialised by the module itself, and one per buffer that training changes."""
    module = _built(model, task_shape, 0)
    found = [parameter_spec(model, task_shape, name, value) for name, value in module.named_parameters()]
    for name in traits(model, task_shape).state:
        found.append(parameter_spec(model, task_shape, name, module.get_buffer(name), is_state=True))
    return tuple(found)


def parameter_spec(
    model: Builder, task_shape: TaskShape, name: str, value: Tensor, is_state: bool = False
) -> ParameterSpec:
    """That of a parameter, or of a buffer that is state, which is `value` in some module."""
    start = ModuleInitialiser(model, task_shape, name)
    return ParameterSpec(name, *_matrix(value), 1.0, start, not is_state and value.requires_grad, is_state)


def _matrix(value: Tensor) -> tuple[int, int]:
    """(rows, columns) of a parameter of any shape."""
    return (1, value.numel()) if value.dim() < 2 else (value.shape[0], math.prod(value.shape[1:]))


@dataclass(frozen=True)
class ModuleInitialiser:
    """The module's own initialisation of one of its parameters or buffers, as a function of the seed."""

    model: Builder
    task_shape: TaskShape
    name: str

    def __call__(self, seed: int) -> Tensor:
        """(rows, columns)."""
        module = _built(self.model, self.task_shape, seed)
        value = {**dict(module.named_buffers()), **dict(module.named_parameters())}[self.name].detach()
        return value.reshape(_matrix(value))


def built_anew(model: Builder, task_shape: TaskShape, seed: int) -> nn.Module:
    """The module initialised under a seed, on the CPU."""
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        torch.default_generator.manual_seed(_torch_seed(seed))
        return model.module(task_shape).train()


# All parameters of a run usually come from one module; a stream with its own seed needs another.
@lru_cache(maxsize=8)
def _built(model: Builder, task_shape: TaskShape, seed: int) -> nn.Module:
    """The same, kept. Must not be modified."""
    return built_anew(model, task_shape, seed)


def _torch_seed(seed: int) -> int:
    # Torch's generator reads 32 bits of its seed: larger seeds are hashed, so that s and s + 2^32 differ.
    return seed if seed < 2**32 else stream_key("init", seed)[0]


@lru_cache(maxsize=32)
def template(
    model: Builder, task_shape: TaskShape, dtype: torch.dtype, device: torch.device, is_training: bool = True
) -> nn.Module:
    """The module whose code and constant buffers are used, with real buffers in `dtype`, in training mode or not.

    Its parameters, and the buffers that training changes, are not used.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        module = model.module(task_shape).train(is_training).to(device, dtype)
    return module.requires_grad_(False)


class _Called(nn.Module):
    """A module whose call is any function of it, so that `functional_call` puts parameters in place for that."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, call: Callable[[nn.Module], Tensor]) -> Tensor:
        return call(self.module)


def each_slot(
    module: nn.Module,
    parameters: Mapping[str, Tensor],
    call: Callable[[nn.Module, int], Tensor],
    noise: Draws | None = None,
) -> tuple[Tensor, dict[str, Tensor]]:
    """`call(module, slot)` under every slot's own parameters, (S, ...), and what it left in buffers of `parameters`.

    Buffers are (S, rows, columns) like parameters. `noise` has the keys and steps of all slots; None: nothing is drawn.
    Raises RuntimeError where the call draws otherwise.
    """
    answers, left = [], []
    called = _Called(module)
    device = next(iter(parameters.values())).device
    with nullcontext() if module.training else _no_fast_path(), nothing_drawn(_DRAWS_LATE, device):
        for slot, own in enumerate(_slots(module, parameters)):
            with nullcontext() if noise is None else noise_from(_of_slot(noise, slot)):
                answers.append(functional_call(called, own, (lambda inner, slot=slot: call(inner, slot),)))
            left.append(own)
    result: Tensor = _Stacked.apply(*answers)  # type: ignore[no-untyped-call]
    names = [name for name, _ in module.named_buffers() if name in parameters]
    with torch.no_grad():
        state = {
            name: torch.stack([own[f"module.{name}"] for own in left]).to(parameters[name]).reshape_as(parameters[name])
            for name in names
        }
    return result, state


def _of_slot(noise: Draws, slot: int) -> Draws:
    return replace(noise, keys_S2=noise.keys_S2[slot : slot + 1], steps_S=noise.steps_S[slot : slot + 1])


@contextmanager
def _no_fast_path() -> Iterator[None]:
    """Torch's attention in evaluation mode by the operations of training, which round alike with and without grad."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


def by_slot(module: nn.Module, parameters: Mapping[str, Tensor], inputs: Tensor) -> Tensor:
    """The module's outputs (S, B, ...), computed slot by slot."""
    return by_slot_with_state(module, parameters, inputs, None)[0]


def by_slot_with_state(
    module: nn.Module, parameters: Mapping[str, Tensor], inputs: Tensor, noise: Draws | None
) -> tuple[Tensor, dict[str, Tensor]]:
    """The same, and the module's state, see `each_slot`.

    All inputs of a slot's arithmetic begin on a 64-byte boundary, since the rounding of kernels depends on alignment:
    parameters are laid out so in a block, inputs and gradients are copied.
    """
    parts = inputs.unbind()
    return each_slot(module, parameters, lambda inner, slot: inner(parts[slot].clone()), noise)


def vmapped(module: nn.Module, parameters: Mapping[str, Tensor], inputs: Tensor) -> Tensor:
    """The module's outputs (S, B, ...), computed for all slots at once by vmap."""
    shapes = {name: value.shape for name, value in module.named_parameters()}
    batched = {name: parameters[name].reshape(-1, *shape) for name, shape in shapes.items()}
    answers: Tensor = torch.func.vmap(lambda own, one: functional_call(module, own, (one,)))(batched, inputs)
    return answers


def _slots(module: nn.Module, parameters: Mapping[str, Tensor]) -> Iterator[dict[str, Tensor]]:
    """The module's parameters in each slot, in their own shapes, and copies of its buffers among `parameters`."""
    # unbind, not indexing: the gradient of an index is as large as all slots together.
    columns = {
        f"module.{name}": [matrix.reshape(value.shape) for matrix in parameters[name].unbind()]
        for name, value in module.named_parameters()
    }
    columns |= {
        f"module.{name}": [
            matrix.detach().reshape(value.shape).to(value.dtype, copy=True) for matrix in parameters[name]
        ]
        for name, value in module.named_buffers()
        if name in parameters
    }
    return (dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True))


class _Stacked(torch.autograd.Function):
    """torch.stack whose gradients are contiguous copies, one per slot."""

    @staticmethod
    def forward(ctx: Any, *parts: Tensor) -> Tensor:
        return torch.stack(parts)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, ...]:
        return tuple(part.clone(memory_format=torch.contiguous_format) for part in gradients[0].unbind())


def with_values(module: nn.Module, values: Mapping[str, Sequence[Any] | Tensor]) -> nn.Module:
    """The module with parameters and buffers set to `values`, each of as many numbers as it has; in evaluation mode."""
    return put_values(module, values).eval()


def put_values(module: nn.Module, values: Mapping[str, Sequence[Any] | Tensor]) -> nn.Module:
    """The same, in the mode that it is in."""
    own = {**dict(module.named_buffers()), **dict(module.named_parameters())}
    with torch.no_grad():
        for name, value in values.items():
            own[name].copy_(torch.as_tensor(value).reshape(own[name].shape))
    return module


def example(task_shape: TaskShape) -> Example:
    """A made-up batch in which no two examples are equal."""
    num_asked = task_shape.num_query_positions
    count = torch.arange(_NUM_EXAMPLES * num_asked).view(_NUM_EXAMPLES, -1)
    targets = torch.cos(count.float()) if task_shape.num_outputs == 1 else count % task_shape.num_outputs
    targets = targets if num_asked > 1 else targets[:, 0]
    if task_shape.kind == "tokens":
        count = torch.arange(_NUM_EXAMPLES * task_shape.length).view(_NUM_EXAMPLES, -1)
        return Example((count * count // 3 + count) % task_shape.size, targets)
    shape = (_NUM_EXAMPLES, task_shape.length, task_shape.size)
    return Example(torch.sin(torch.arange(math.prod(shape), dtype=torch.float32)).view(shape), targets)
