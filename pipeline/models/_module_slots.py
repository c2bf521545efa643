"""Adapts an nn.Module written for one run to all slots: parameters, initialisation, forward pass, checks."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor, nn
from torch.func import functional_call

from pipeline.models.base import ParameterSpec
from pipeline.numerics.streams import stream_key
from pipeline.tasks.base import TaskShape

_NUM_EXAMPLES = 4


class Builder(Protocol):
    """Factory of a run's module for the shape of a task; hashable, and its fields determine the module."""

    is_vmapped: ClassVar[bool]
    predicts_all_positions: ClassVar[bool]

    def __hash__(self) -> int: ...

    def module(self, task_shape: TaskShape) -> nn.Module:
        """A new module for one run; its parameters are drawn from torch's global generator."""
        ...


def specs_of(model: Builder, task_shape: TaskShape) -> tuple[ParameterSpec, ...]:
    """One matrix per parameter, initialised by the module itself."""
    parameters = dict(_built(model, task_shape, 0).named_parameters())
    return tuple(
        ParameterSpec(name, *_matrix(value), 1.0, ModuleInitialiser(model, task_shape, name), value.requires_grad)
        for name, value in parameters.items()
    )


def _matrix(value: Tensor) -> tuple[int, int]:
    """(rows, columns) of a parameter of any shape."""
    return (1, value.numel()) if value.dim() < 2 else (value.shape[0], math.prod(value.shape[1:]))


@dataclass(frozen=True)
class ModuleInitialiser:
    """The module's own initialisation of one of its parameters, as a function of the seed."""

    model: Builder
    task_shape: TaskShape
    name: str

    def __call__(self, seed: int) -> Tensor:
        """(rows, columns)."""
        value = _built(self.model, self.task_shape, seed).get_parameter(self.name).detach()
        return value.reshape(_matrix(value))


# All parameters of a run usually come from one module; a stream with its own seed needs another.
@lru_cache(maxsize=8)
def _built(model: Builder, task_shape: TaskShape, seed: int) -> nn.Module:
    """The module initialised under a seed, on the CPU. Must not be modified."""
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        torch.default_generator.manual_seed(_torch_seed(seed))
        return model.module(task_shape).train()


def _torch_seed(seed: int) -> int:
    # Torch's generator reads 32 bits of its seed: larger seeds are hashed, so that s and s + 2^32 differ.
    return seed if seed < 2**32 else stream_key("init", seed)[0]


@lru_cache(maxsize=32)
def template(model: Builder, task_shape: TaskShape, dtype: torch.dtype, device: torch.device) -> nn.Module:
    """The module whose code and buffers are used, with real buffers in `dtype`; its parameters are not used."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        module = model.module(task_shape).train().to(device, dtype)
    return module.requires_grad_(False)


def by_slot(module: nn.Module, parameters: Mapping[str, Tensor], inputs: Tensor) -> Tensor:
    """The module's outputs (S, B, ...), computed slot by slot.

    All inputs of a slot's arithmetic begin on a 64-byte boundary, since the rounding of kernels depends on alignment:
    parameters are laid out so in a block, inputs and gradients are copied.
    """
    slots = _slots(module, parameters)
    answers = [functional_call(module, own, (one.clone(),)) for own, one in zip(slots, inputs.unbind(), strict=True)]
    result: Tensor = _Stacked.apply(*answers)  # type: ignore[no-untyped-call]
    return result


def vmapped(module: nn.Module, parameters: Mapping[str, Tensor], inputs: Tensor) -> Tensor:
    """The module's outputs (S, B, ...), computed for all slots at once by vmap."""
    shapes = {name: value.shape for name, value in module.named_parameters()}
    batched = {name: parameters[name].reshape(-1, *shape) for name, shape in shapes.items()}
    answers: Tensor = torch.func.vmap(lambda own, one: functional_call(module, own, (one,)))(batched, inputs)
    return answers


def _slots(module: nn.Module, parameters: Mapping[str, Tensor]) -> Iterator[dict[str, Tensor]]:
    """The module's parameters in each slot, in their own shapes."""
    # unbind, not indexing: the gradient of an index is as large as all slots together.
    columns = [
        [matrix.reshape(value.shape) for matrix in parameters[name].unbind()]
        for name, value in module.named_parameters()
    ]
    names = [name for name, _ in module.named_parameters()]
    return (dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True))


class _Stacked(torch.autograd.Function):
    """torch.stack whose gradients are contiguous copies, one per slot."""

    @staticmethod
    def forward(ctx: Any, *parts: Tensor) -> Tensor:
        return torch.stack(parts)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, ...]:
        return tuple(part.clone(memory_format=torch.contiguous_format) for part in gradients[0].unbind())


@lru_cache(maxsize=256)
def module_problems(model: Builder, task_shape: TaskShape) -> tuple[str, ...]:
    """Why the module cannot be trained in a pack, one sentence each: from its submodules, else from a trial run."""
    module = _built(model, task_shape, 0)
    with torch.random.fork_rng(devices=[]):
        wrong = [*_wrong_parts(module), *_wrong_parameters(module)]
        wrong = wrong or [*_wrong_starts(model, task_shape), *_wrong_answers(model, task_shape)]
        return tuple(wrong or _wrong_slots(model, task_shape))


def _wrong_parts(module: nn.Module) -> Iterator[str]:
    for name, part in module.named_modules():
        what = f"{name or 'the module'} is {type(part).__name__}"
        if isinstance(part, nn.modules.batchnorm._BatchNorm):
            yield f"{what}, in which an output depends on the other examples of its batch; use LayerNorm or GroupNorm"
        share = part.p if isinstance(part, nn.modules.dropout._DropoutNd) else getattr(part, "dropout", 0.0)
        if isinstance(share, float) and share > 0:
            yield f"{what} with dropout {share}, which draws random numbers outside the streams; set it to 0"


def _wrong_parameters(module: nn.Module) -> Iterator[str]:
    parameters = dict(module.named_parameters())
    if not any(value.requires_grad for value in parameters.values()):
        yield "the module has no parameter that is trained"
    for name, value in parameters.items():
        if isinstance(value, nn.parameter.UninitializedParameter):
            yield f"parameter {name} is lazy; give its size"
        elif not value.dtype.is_floating_point or value.numel() == 0:
            yield f"parameter {name} is {value.dtype} of shape {tuple(value.shape)}; it needs at least one real number"


def _wrong_starts(model: Builder, task_shape: TaskShape) -> Iterator[str]:
    """Parameters whose initial values depend on more than the seed, and buffers that depend on the seed."""
    first, other = (_built(model, task_shape, seed) for seed in (0, 1))
    again = _built.__wrapped__(model, task_shape, 0)
    for name, value in first.named_parameters():
        if not torch.equal(value, again.get_parameter(name)):
            yield f"parameter {name} is initialised differently under the same seed; draw from torch's generator alone"
    for name, buffer in first.named_buffers():
        if not torch.equal(buffer, other.get_buffer(name)):
            yield f"buffer {name} differs between seeds; make it a parameter with requires_grad=False"


def _wrong_answers(model: Builder, task_shape: TaskShape) -> Iterator[str]:
    module = _built.__wrapped__(model, task_shape, 0)
    inputs = _example(task_shape)
    buffers = {name: buffer.clone() for name, buffer in module.named_buffers()}
    before = torch.default_generator.get_state()
    answers = module(inputs)
    if not torch.equal(before, torch.default_generator.get_state()):
        yield "forward draws random numbers outside the streams; leave out dropout"
    for name, buffer in module.named_buffers():
        if not torch.equal(buffer, buffers[name]):
            yield f"forward changes buffer {name}; buffers must be constant"
    everywhere = (task_shape.length, task_shape.num_outputs)
    shape = everywhere if model.predicts_all_positions else (task_shape.num_outputs,)
    if tuple(answers.shape[1:]) not in {shape, everywhere} or len(answers) != len(inputs):
        yield f"forward gives {tuple(answers.shape)} for {len(inputs)} examples, not {(len(inputs), *shape)}"
    if not _agree(module(inputs[:1]), answers[:1]):
        yield "the output for an example depends on the others of its batch"
    trained = {name: value for name, value in module.named_parameters() if value.requires_grad}
    gradients: tuple[Tensor | None, ...] = torch.autograd.grad(answers.sum(), list(trained.values()), allow_unused=True)
    for name, gradient in zip(trained, gradients, strict=True):
        if gradient is None:
            yield f"forward does not read parameter {name}; leave it out, or give it requires_grad=False"


def _wrong_slots(model: Builder, task_shape: TaskShape) -> Iterator[str]:
    """Problems where the outputs in slots differ from those of single modules with the same seeds."""
    inputs = torch.stack([_example(task_shape), _example(task_shape).flip(0)])
    modules = [_built(model, task_shape, seed) for seed in (0, 1)]
    alone = torch.stack([module(one) for module, one in zip(modules, inputs, strict=True)])
    names = [name for name, _ in modules[0].named_parameters()]
    parameters = {
        name: torch.stack([ModuleInitialiser(model, task_shape, name)(seed) for seed in (0, 1)]) for name in names
    }
    common = template(model, task_shape, torch.float32, torch.device("cpu"))
    if not _agree(by_slot(common, parameters, inputs), alone):
        yield "forward must read its parameters as attributes of their modules, not through copies"
    elif model.is_vmapped and not _agree(vmapped(common, parameters, inputs), alone):
        yield "the outputs under vmap differ; leave out is_vmapped"


def _agree(one: Tensor, other: Tensor) -> bool:
    return torch.allclose(one, other, rtol=1e-3, atol=1e-4)


def _example(task_shape: TaskShape) -> Tensor:
    """Inputs (B, L) or (B, L, D) in which no two examples are equal."""
    if task_shape.kind == "tokens":
        count = torch.arange(_NUM_EXAMPLES * task_shape.length).view(_NUM_EXAMPLES, -1)
        return (count * count // 3 + count) % task_shape.size
    shape = (_NUM_EXAMPLES, task_shape.length, task_shape.size)
    return torch.sin(torch.arange(math.prod(shape), dtype=torch.float32)).view(shape)
