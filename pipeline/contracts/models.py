"""The contract of `pipeline.models.base.Model`, on every task that a model fits."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor

from pipeline.contracts.contract import BrokenClauseError, Case, Contract, require
from pipeline.contracts.small_sweeps import by_default, tasks_for
from pipeline.contracts.tasks import sample
from pipeline.engine.parameter_layout import Layout, stream_names
from pipeline.models.base import Model
from pipeline.numerics.streams import Draws, stream_key
from pipeline.tasks.base import TASKS, Task

_CLOSE_NUMBERS = partial(torch.testing.assert_close, rtol=1e-12, atol=1e-12)
_CLOSE_SLOPES = partial(torch.testing.assert_close, rtol=1e-11, atol=1e-11)

# Model, task, parameters by name, and inputs, of three slots.
_Built = tuple[Model, Task, dict[str, Tensor], Tensor]


def _built(cls: type[Model], task_cls: type[Task], **changes: Any) -> _Built:
    """With another seed in every slot, and six examples."""
    task = by_default(task_cls)
    model = _model(cls, task, **changes)
    layout = Layout(model.parameter_specs(task.shape()), torch.float32)
    rows = [layout.initial_weights(dict.fromkeys(stream_names(layout.specs), seed), 1.0) for seed in range(3)]
    return model.bind(task.shape()), task, layout.views(torch.stack(rows)), sample(task, (0, 1, 2), num_rows=6).inputs


def _model(cls: type[Model], task: Task, **changes: Any) -> Model:
    """Every parameter that is not given at its default, or as in the small model where it has none."""
    try:
        return cls(**changes)
    except ValidationError:
        return cls.model_validate(cls.tiny(task).model_dump() | changes)


def _built_in_float64(cls: type[Model], task_cls: type[Task], **changes: Any) -> _Built:
    """The same in double precision, with parameters that gradients are taken of; of what is state none are."""
    model, task, parameters, inputs = _built(cls, task_cls, **changes)
    state = {spec.name for spec in model.parameter_specs(task.shape()) if spec.is_state}
    leaves = {name: value.double().requires_grad_(name not in state) for name, value in parameters.items()}
    return model, task, leaves, inputs if inputs.dtype == torch.int64 else inputs.double()


def _differentiated(leaves: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: leaf for name, leaf in leaves.items() if leaf.requires_grad}


def _other_in_slot_1(parameters: Mapping[str, Tensor]) -> dict[str, Tensor]:
    other = {name: value.clone() for name, value in parameters.items()}
    for value in other.values():
        value[1] += 1
    return other


def _check_1_accepts_names_the_kinds_that_fit(cls: type[Model], task_cls: type[Task]) -> None:
    require(cls.accepts, "`accepts` names no kind")
    for other in (task_cls, *TASKS.values()):
        task = by_default(other)
        kind, why = task.shape().kind, cls.incompatibility(task) or ""
        told = f"task {other.name} gives {kind}, which `accepts` does not name, and `incompatibility` says {why!r}"
        require(kind in cls.accepts or kind in why, told)


def _check_2_parameters_are_named_once_and_have_a_shape(cls: type[Model], task_cls: type[Task]) -> None:
    task = by_default(task_cls)
    specs = _model(cls, task).parameter_specs(task.shape())
    require(specs, "it has no parameters")
    names = [spec.name for spec in specs]
    require(len(set(names)) == len(names), f"a parameter is named twice: {', '.join(names)}")
    for spec in specs:
        told = f"{spec.name} is {spec.rows} x {spec.columns} with standard deviation {spec.std}"
        require(spec.rows > 0 and spec.columns > 0 and spec.std >= 0, told)


def _check_3_a_slot_reads_its_own_parameters_and_inputs_alone(cls: type[Model], task_cls: type[Task]) -> None:
    model, task, parameters, inputs = _built(cls, task_cls)
    shape = task.shape()
    asked = shape.num_query_positions
    together = model.forward(parameters, inputs, num_query_positions=asked).predictions
    expected = (3, 6 * asked, shape.num_outputs)
    require(tuple(together.shape) == expected, f"predictions have shape {tuple(together.shape)}, not {expected}")
    changed = model.forward(_other_in_slot_1(parameters), inputs, num_query_positions=asked).predictions
    told = "predictions of slots 0 and 2 change with the parameters of slot 1"
    require(torch.equal(together[[0, 2]], changed[[0, 2]]), told)
    require(not torch.equal(together[1], changed[1]), "predictions of a slot do not change with its parameters")


def _check_4_attention_rows_are_distributions_over_the_past(cls: type[Model], task_cls: type[Task]) -> None:
    model, task, parameters, inputs = _built(cls, task_cls)
    maps = model.forward(parameters, inputs, with_attention=True).attention
    expected = getattr(model, "num_layers", 1)
    told = f"{len(maps)} maps of attention of {expected} layers"
    require(len(maps) == expected or not (maps or model.has_softmax), told)
    length = inputs.shape[2]
    for attention in maps:
        shape = tuple(attention.shape)
        is_map = shape[:2] == (3, 6) and shape[3:] == (length, length)
        require(is_map, f"a map of attention has shape {shape}, not (3, 6, heads, {length}, {length})")
        if model.has_softmax:
            torch.testing.assert_close(attention.sum(-1), torch.ones(attention.shape[:-1]))
            # Features stand in no order.
            is_causal = task.shape().kind == "features" or not attention.triu(1).any()
            require(is_causal, "attention to what follows")
    _require_bias(model, parameters, inputs, maps)


def _require_bias(model: Model, parameters: Mapping[str, Tensor], inputs: Tensor, maps: tuple[Tensor, ...]) -> None:
    """A bias of 0 keeps every bit, and one of -inf takes the first key away from all queries but the first."""
    if not model.has_softmax:
        _require_refused_bias(model, parameters, inputs)
        return
    zero = [torch.zeros_like(attention[:, :, :1]) for attention in maps]
    same = model.forward(parameters, inputs, with_attention=True, attention_bias=zero)
    plain = model.forward(parameters, inputs).predictions
    is_same = all(torch.equal(*pair) for pair in zip(same.attention, maps, strict=True))
    is_same = is_same and torch.equal(plain, model.forward(parameters, inputs, attention_bias=zero).predictions)
    require(is_same, "an `attention_bias` of 0 changes what it gives")
    for layer in range(len(maps)):
        removed = [bias.clone() for bias in zero]
        removed[layer][..., 1:, 0] = -torch.inf
        output = model.forward(parameters, inputs, with_attention=True, attention_bias=removed)
        left = output.attention[layer]
        require(not left[..., 1:, 0].any(), f"layer {layer} attends to a key that a bias of -inf took away")
        torch.testing.assert_close(left.sum(-1), torch.ones(left.shape[:-1]))
        told = f"predictions do not change once layer {layer} cannot attend to the first key"
        require(not torch.equal(output.predictions, plain), told)


def _require_refused_bias(model: Model, parameters: Mapping[str, Tensor], inputs: Tensor) -> None:
    try:
        model.forward(parameters, inputs, attention_bias=[torch.zeros(())])
    except AssertionError as error:
        require("no softmax attention" in str(error), f"an `attention_bias` is refused, but by {str(error)!r}")
    else:
        raise BrokenClauseError("an `attention_bias` is taken without a word, and there is no softmax attention")


def _check_5_the_gradient_reaches_every_parameter_and_is_that_of_the_loss(
    cls: type[Model], task_cls: type[Task]
) -> None:
    model, task, leaves, inputs = _built_in_float64(cls, task_cls)
    targets = sample(task, (0, 1, 2), num_rows=6).targets
    wanted = targets if targets.dtype == torch.int64 else targets.double()

    def loss() -> Tensor:
        predictions = model.forward(leaves, inputs, num_query_positions=task.shape().num_query_positions).predictions
        return task.losses(predictions, wanted).mean(1).sum()

    own = _differentiated(leaves)
    gradients = dict(zip(own, torch.autograd.grad(loss(), list(own.values())), strict=True))
    trained = {spec.name for spec in model.parameter_specs(task.shape()) if spec.trainable}
    for name, leaf in own.items():
        require(name not in trained or gradients[name].abs().max() > 0, f"no gradient reaches {name}, which is trained")
        with torch.no_grad():
            place = (1, 0, 0)
            before = leaf[place].item()
            leaf[place] = before + 1e-5
            above = loss()
            leaf[place] = before - 1e-5
            slope = float((above - loss()) / 2e-5)
            leaf[place] = before
        found = float(gradients[name][place])
        told = f"the gradient of {name}[{place}] is {found:g}, and the loss's slope {slope:g}"
        require(abs(slope - found) < 1e-6, told)


def _check_6_predict_is_forward_without_what_the_loss_does_not_read(
    cls: type[Model], task_cls: type[Task], **changes: Any
) -> None:
    model, task, leaves, inputs = _built_in_float64(cls, task_cls, **changes)
    targets = sample(task, (0, 1, 2), num_rows=6).targets
    asked = task.shape().num_query_positions
    whole = model.forward(leaves, inputs, num_query_positions=asked).predictions
    found = []
    for predictions in (whole, model.predict(leaves, inputs, asked)):
        loss = task.losses(predictions, targets).sum()
        found.append((predictions, *torch.autograd.grad(loss, list(_differentiated(leaves).values()))))
    for reference, ours in zip(*found, strict=True):
        _CLOSE_NUMBERS(ours, reference)


def _check_7_what_is_answered_at_a_position_does_not_depend_on_how_many_are_asked(
    cls: type[Model], task_cls: type[Task], **changes: Any
) -> None:
    if not cls.predicts_all_positions:
        return
    model, _, leaves, inputs = _built_in_float64(cls, task_cls, **changes)
    length = inputs.shape[2]
    own = list(_differentiated(leaves).values())
    everywhere = model.forward(leaves, inputs, num_query_positions=length).predictions.reshape(3, 6, length, -1)
    for asked in (1, 2, length):
        wanted = everywhere[:, :, -asked:].flatten(1, 2)
        slopes = torch.autograd.grad(wanted.square().sum(), own, retain_graph=True)
        by_forward = model.forward(leaves, inputs, num_query_positions=asked).predictions
        for ours in (by_forward, model.predict(leaves, inputs, asked)):
            _CLOSE_NUMBERS(ours, wanted)
            for one, other in zip(torch.autograd.grad(ours.square().sum(), own), slopes, strict=True):
                _CLOSE_SLOPES(one, other)


def _check_8_probes_are_numbers_of_a_slot_by_itself(cls: type[Model], task_cls: type[Task]) -> None:
    model, _, parameters, inputs = _built(cls, task_cls)
    found, changed = model.probes(parameters, inputs), model.probes(_other_in_slot_1(parameters), inputs)
    require(found.keys() == changed.keys(), "the names of probes depend on the weights")
    for name, value in found.items():
        require(tuple(value.shape) == (3,), f"probe {name} has shape {tuple(value.shape)}, not (3,)")
        told = f"probe {name} of slots 0 and 2 changes with the parameters of slot 1"
        require(torch.equal(value[[0, 2]], changed[name][[0, 2]]), told)


def _check_9_losses_in_training_are_of_a_slot_by_itself_and_those_of_predict_without_noise(
    cls: type[Model], task_cls: type[Task]
) -> None:
    model, task, parameters, _ = _built(cls, task_cls)
    batch, steps_S = sample(task, (0, 1, 2), num_rows=6), torch.tensor([0, 1, 2])
    noise = model.noise_streams(task.shape())

    def losses(slot: int | None) -> Tensor:
        """With other parameters, and another stream of noise, in this slot alone."""
        own = {name: value.clone() for name, value in parameters.items()}
        for value in own.values() if slot is not None else ():
            # Not the same for all: a constant on an unembedding moves no loss.
            value[slot] += torch.arange(value[slot].numel(), dtype=value.dtype).cos().view_as(value[slot])
        seeds = [100 + place if place == slot else place for place in range(3)]
        keys = {name: torch.tensor([stream_key(name, seed) for seed in seeds]) for name in noise}
        streams = {name: Draws(keys_S2, steps_S, 1) for name, keys_S2 in keys.items()}
        return model.training_losses(own, task, batch, steps_S, streams).losses_S

    together, changed = losses(None), losses(1)
    require(tuple(together.shape) == (3,), f"losses in training have shape {tuple(together.shape)} of three slots")
    told = "losses in training of slots 0 and 2 change with the parameters and draws of slot 1"
    require(torch.equal(together[[0, 2]], changed[[0, 2]]), told)
    require(together[1] != changed[1], "the loss in training of a slot does not change with its parameters")
    if not noise and not any(spec.is_state for spec in model.parameter_specs(task.shape())):
        predictions = model.predict(parameters, batch.inputs, task.shape().num_query_positions)
        is_same = torch.equal(together, task.losses(predictions, batch.targets).mean(1))
        require(is_same, "losses in training are not the task's losses of `predict`, and it draws from no stream")


def _cases(cls: type[Model]) -> list[Case]:
    return [Case(f"on task {task.name}", (cls, task)) for task in tasks_for(cls)]


MODEL_CONTRACT = Contract(
    Model.__doc__ or "",
    (
        _check_1_accepts_names_the_kinds_that_fit,
        _check_2_parameters_are_named_once_and_have_a_shape,
        _check_3_a_slot_reads_its_own_parameters_and_inputs_alone,
        _check_4_attention_rows_are_distributions_over_the_past,
        _check_5_the_gradient_reaches_every_parameter_and_is_that_of_the_loss,
        _check_6_predict_is_forward_without_what_the_loss_does_not_read,
        _check_7_what_is_answered_at_a_position_does_not_depend_on_how_many_are_asked,
        _check_8_probes_are_numbers_of_a_slot_by_itself,
        _check_9_losses_in_training_are_of_a_slot_by_itself_and_those_of_predict_without_noise,
    ),
    _cases,
)
