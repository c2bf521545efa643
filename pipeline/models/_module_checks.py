"""What would keep a torch module from being trained in a pack under the rule, found when a spec is read."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from functools import lru_cache

import torch
from torch import Tensor, nn

from pipeline.models._module_slots import (
    Builder,
    Example,
    ModuleInitialiser,
    built_anew,
    by_slot,
    each_slot,
    example,
    noise_of,
    same_values,
    template,
    traits,
    vmapped,
)
from pipeline.numerics.generators import generator_states
from pipeline.numerics.streams import Draws, stream_key
from pipeline.own_code.places import place_of
from pipeline.tasks.base import TaskShape

# What stands between the class and the shapes where an error of the user's own code is told.
RAISED = " raises on a batch of "


@lru_cache(maxsize=256)
def module_problems(model: Builder, task_shape: TaskShape) -> tuple[str, ...]:
    """Why the module cannot be trained in a pack, one sentence each: from its parameters, else from a trial run."""
    try:
        return problems_of(model, task_shape) or tuple(_wrong_answers(model, task_shape))
    except Exception as error:
        return (raised(type(model), example(task_shape), error),)


def raised(cls: type, batch: Example, error: Exception) -> str:
    """A sentence on an error of a class of the user's own, met when it was tried on a batch: what it was, and where."""
    shapes = f"inputs {_shown(batch.inputs)} and targets {_shown(batch.targets)}"
    told = next(iter(str(error).splitlines()), "no message")
    return f"{cls.__name__}{RAISED}{shapes}: {type(error).__name__}: {told} ({place_of(cls, error)})"


def _shown(tensor: Tensor) -> str:
    return f"{tuple(tensor.shape)} {str(tensor.dtype).removeprefix('torch.')}"


def problems_of(model: Builder, task_shape: TaskShape) -> tuple[str, ...]:
    """Those that any module can have, whatever it gives."""
    with torch.random.fork_rng(devices=[]):
        wrong = list(wrong_parameters(built_anew(model, task_shape, 0)))
        wrong = wrong or [*_wrong_starts(model, task_shape), *_wrong_training(model, task_shape)]
        return tuple(wrong or [*_wrong_evaluation(model, task_shape), *_wrong_slots(model, task_shape)])


def wrong_parameters(module: nn.Module) -> Iterator[str]:
    """Parameters that cannot be kept or trained."""
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
    first, again, other = (built_anew(model, task_shape, seed) for seed in (0, 0, 1))
    state = traits(model, task_shape).state
    for name, value in first.named_parameters():
        if not torch.equal(value, again.get_parameter(name)):
            yield f"parameter {name} is initialised differently under the same seed; draw from torch's generator alone"
    for name, buffer in first.named_buffers():
        if name not in state and not torch.equal(buffer, other.get_buffer(name)):
            yield f"buffer {name} differs between seeds; make it a parameter with requires_grad=False"


def _wrong_training(model: Builder, task_shape: TaskShape) -> Iterator[str]:
    """Whether a step is a function of parameters, state, batch and stream, and reads what is trained."""
    batch = example(task_shape)
    module = built_anew(model, task_shape, 0)
    buffers = {name: buffer.clone() for name, buffer in module.named_buffers()}
    before = generator_states()
    with noise_of(0):
        answers = model.trained_on(module, batch)
    if generator_states() != before:
        yield (
            "training draws random numbers by an operation that the stream `noise` does not have, or from generators "
            "of numpy or Python; draw them by torch.rand, torch.randn, torch.bernoulli or dropout"
        )
        return
    trained = {name: value for name, value in module.named_parameters() if value.requires_grad}
    gradients = _gradients(answers, trained, seed=0)
    for name, gradient in gradients.items():
        if gradient is None:
            yield f"forward does not read parameter {name}; leave it out, or give it requires_grad=False"
    put_buffers(module, buffers)
    with noise_of(0):
        repeated = model.trained_on(module, batch)
    if not same_values(answers.detach(), repeated.detach()):
        yield "training on the same batch with the same parameters gives another result the second time"
    elif not _is_same_gradient(gradients, _gradients(repeated, trained, seed=1)):
        yield "the gradient draws random numbers of its own, as torch.utils.checkpoint does; keep them out of it"
    for name in traits(model, task_shape).state:
        buffer = buffers[name]
        if not buffer.dtype.is_floating_point and buffer.dtype not in (torch.int64, torch.int32):
            yield f"training changes buffer {name}, which is {buffer.dtype}; it must hold real or whole numbers"


def _gradients(answers: Tensor, trained: Mapping[str, Tensor], seed: int) -> dict[str, Tensor | None]:
    """The gradient of each parameter, None where it is not read; torch's own generator begins at a seed."""
    torch.default_generator.manual_seed(seed)
    found = torch.autograd.grad(answers.sum(), list(trained.values()), allow_unused=True)
    return dict(zip(trained, found, strict=True))


def _is_same_gradient(one: Mapping[str, Tensor | None], other: Mapping[str, Tensor | None]) -> bool:
    pairs = ((value, other[name]) for name, value in one.items())
    return all(a is None or b is None or same_values(a, b) or agree(a, b) for a, b in pairs)


def put_buffers(module: nn.Module, buffers: Mapping[str, Tensor]) -> None:
    """Give a module's buffers these values."""
    with torch.no_grad():
        for name, buffer in module.named_buffers():
            if name in buffers:
                buffer.copy_(buffers[name])


def _wrong_evaluation(model: Builder, task_shape: TaskShape) -> Iterator[str]:
    """Whether evaluation draws nothing and changes nothing."""
    module, batch = built_anew(model, task_shape, 0).eval(), example(task_shape)
    buffers = {name: buffer.clone() for name, buffer in module.named_buffers()}
    before = generator_states()
    with torch.no_grad(), noise_of(0) as noise:
        model.evaluated_on(module, batch)
    if noise.num_calls or generator_states() != before:
        yield "evaluation draws random numbers; draw them only while self.training is True"
    for name, buffer in module.named_buffers():
        if name in buffers and not same_values(buffer, buffers[name]):
            yield f"evaluation changes buffer {name}; change it only while self.training is True"


def _wrong_answers(model: Builder, task_shape: TaskShape) -> Iterator[str]:
    """What is wrong with predictions: their shape, and whether an example's depend on others of its batch."""
    module, inputs = built_anew(model, task_shape, 0).eval(), example(task_shape).inputs
    with torch.no_grad():
        answers, first = module(inputs), module(inputs[:2])
    everywhere = (task_shape.length, task_shape.num_outputs)
    shape = everywhere if model.predicts_all_positions else (task_shape.num_outputs,)
    if tuple(answers.shape[1:]) not in {shape, everywhere} or len(answers) != len(inputs):
        yield f"forward gives {tuple(answers.shape)} for {len(inputs)} examples, not {(len(inputs), *shape)}"
    if not agree(first, answers[:2]):
        yield "the output for an example depends on the others of its batch, in evaluation too"


def _wrong_slots(model: Builder, task_shape: TaskShape) -> Iterator[str]:
    """Problems where what slots compute in training differs from single modules with the same seeds."""
    batches = [example(task_shape)._replace(step=step) for step in (0, 1)]
    batches[1] = batches[1]._replace(inputs=batches[1].inputs.flip(0))
    modules = [built_anew(model, task_shape, seed) for seed in (0, 1)]
    names = [name for name, _ in modules[0].named_parameters()] + list(traits(model, task_shape).state)
    parameters = {
        name: torch.stack([ModuleInitialiser(model, task_shape, name)(seed) for seed in (0, 1)]) for name in names
    }
    keys_S2 = torch.tensor([stream_key("noise", seed) for seed in (0, 1)])
    alone = []
    for module, batch, seed in zip(modules, batches, (0, 1), strict=True):
        with noise_of(seed):
            alone.append(model.trained_on(copy.deepcopy(module), batch))
    common = template(model, task_shape, torch.float32, torch.device("cpu"))
    noise = Draws(keys_S2, torch.zeros(2, dtype=torch.int64), 1)
    found, _ = each_slot(common, parameters, lambda inner, slot: model.trained_on(inner, batches[slot]), noise)
    if not agree(found, torch.stack(alone)):
        yield "forward must read its parameters as attributes of their modules, not through copies"
    elif model.is_vmapped and not traits(model, task_shape).is_plain:
        yield "leave out is_vmapped, under which no random numbers are drawn and no buffer is changed"
    elif model.is_vmapped:
        inputs = torch.stack([batch.inputs for batch in batches])
        if not agree(vmapped(common, parameters, inputs), by_slot(common, parameters, inputs)):
            yield "the outputs under vmap differ; leave out is_vmapped"


def agree(one: Tensor, other: Tensor) -> bool:
    """Whether two results are equal but for rounding."""
    return torch.allclose(one, other, rtol=1e-3, atol=1e-4)
