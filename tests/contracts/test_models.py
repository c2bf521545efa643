"""The contract of pipeline.models.base.Model, clause by clause, over the registry and every task that fits.

That whole runs keep the rule and compiled programs the numbers is in test_runs.py, over the same registries.
"""

from __future__ import annotations

import pytest
import torch

from pipeline.engine.parameter_layout import Layout, stream_names
from pipeline.models.base import MODELS
from pipeline.numerics.streams import Draws, stream_key
from pipeline.tasks.base import TASKS
from tests.contracts.test_tasks import sample

PAIRS = [(model, task) for model in MODELS for task in TASKS if MODELS[model].incompatibility(TASKS[task]()) is None]


# Sizes that take every path of a model.
VARIANTS = {
    "attention_only": [{}, {"num_heads": 2, "num_layers": 3, "head_width": 3}, {"num_layers": 1}],
    "embedded_self_attention": [{"width": 5, "mlp_width": 3}, {"attention": "gradient_step", "step_size": 0.2}],
    "linear_self_attention": [
        {},
        {"num_layers": 2, "num_heads": 2},
        {"num_layers": 3, "is_tied": True},
        {"num_layers": 2, "softmax": "first", "position_width": 4},
        {"num_heads": 2, "softmax": "every"},
        {"num_layers": 2, "mlp_width": 5},
        {"num_layers": 2, "token_limit": 0.3},
    ],
    "merged_softmax_attention": [{}, {"width": 11, "basis": "one_hot"}],
    "transformer": [
        {"width": 6, "mlp_width": 5},
        {"num_heads": 1, "num_layers": 3, "head_width": 3},
        {"num_layers": 1},
    ],
}


def built(model_name, task_name, num_slots=3, **changes):
    """(model, task, parameters by name, inputs) with another seed in every slot."""
    model, task = MODELS[model_name](**changes), TASKS[task_name]()
    layout = Layout(model.parameter_specs(task.shape()), torch.float32)
    rows = [layout.initial_weights(dict.fromkeys(stream_names(layout.specs), seed), 1.0) for seed in range(num_slots)]
    batch = sample(task, tuple(range(num_slots)), num_rows=6)
    return model.bind(task.shape()), task, layout.views(torch.stack(rows)), batch.inputs


def test_every_model_fits_some_task():
    assert {model for model, _ in PAIRS} == set(MODELS)


def check_1_accepts_names_the_kinds_that_fit(model_name, task_name):
    model = MODELS[model_name]
    assert model.accepts
    assert TASKS[task_name]().shape().kind in model.accepts
    for task in TASKS.values():
        kind = task().shape().kind
        assert kind in model.accepts or kind in (model.incompatibility(task()) or "")


def check_2_parameters_are_named_once_and_have_a_shape(model_name, task_name):
    specs = MODELS[model_name]().parameter_specs(TASKS[task_name]().shape())
    assert len({spec.name for spec in specs}) == len(specs) > 0
    assert all(spec.rows > 0 and spec.columns > 0 and spec.std >= 0 for spec in specs)


def check_3_a_slot_reads_its_own_parameters_and_inputs_alone(model_name, task_name):
    model, task, parameters, inputs = built(model_name, task_name)
    num_query_positions = task.shape().num_query_positions
    together = model.forward(parameters, inputs, num_query_positions=num_query_positions).predictions
    assert together.shape == (3, 6 * num_query_positions, task.shape().num_outputs)
    other = {name: value.clone() for name, value in parameters.items()}
    for value in other.values():
        value[1] += 1
    changed = model.forward(other, inputs, num_query_positions=num_query_positions).predictions
    assert torch.equal(together[[0, 2]], changed[[0, 2]])
    assert not torch.equal(together[1], changed[1])


def check_4_attention_rows_are_distributions_over_the_past(model_name, task_name):
    model, task, parameters, inputs = built(model_name, task_name)
    maps = model.forward(parameters, inputs, with_attention=True).attention
    assert len(maps) == getattr(model, "num_layers", 1) or not (maps or model.has_softmax)
    length = inputs.shape[2]
    for attention in maps:
        assert attention.shape[:2] == (3, 6)
        assert attention.shape[3:] == (length, length)
        if model.has_softmax:
            torch.testing.assert_close(attention.sum(-1), torch.ones(attention.shape[:-1]))
            # Features stand in no order.
            assert task.shape().kind == "features" or not attention.triu(1).any()
    check_bias(model, parameters, inputs, maps)


def check_bias(model, parameters, inputs, maps):
    """A bias of 0 keeps every bit, and one of -inf takes the first key away from all queries but the first."""
    if not model.has_softmax:
        with pytest.raises(AssertionError, match="no softmax attention"):
            model.forward(parameters, inputs, attention_bias=[torch.zeros(())])
        return
    zero = [torch.zeros_like(attention[:, :, :1]) for attention in maps]
    same = model.forward(parameters, inputs, with_attention=True, attention_bias=zero)
    assert all(torch.equal(*pair) for pair in zip(same.attention, maps, strict=True))
    plain = model.forward(parameters, inputs).predictions
    assert torch.equal(plain, model.forward(parameters, inputs, attention_bias=zero).predictions)
    for layer in range(len(maps)):
        removed = [bias.clone() for bias in zero]
        removed[layer][..., 1:, 0] = -torch.inf
        output = model.forward(parameters, inputs, with_attention=True, attention_bias=removed)
        left = output.attention[layer]
        assert not left[..., 1:, 0].any()
        torch.testing.assert_close(left.sum(-1), torch.ones(left.shape[:-1]))
        assert not torch.equal(output.predictions, plain)


def check_5_the_gradient_reaches_every_parameter_and_is_that_of_the_loss(model_name, task_name):
    model, task, parameters, inputs = built(model_name, task_name)
    leaves = {name: value.double().requires_grad_(True) for name, value in parameters.items()}
    inputs = inputs if inputs.dtype == torch.int64 else inputs.double()
    targets = sample(task, (0, 1, 2), num_rows=6).targets

    def loss():
        wanted = targets if targets.dtype == torch.int64 else targets.double()
        predictions = model.forward(leaves, inputs, num_query_positions=task.shape().num_query_positions).predictions
        return task.losses(predictions, wanted).mean(1).sum()

    gradients = dict(zip(leaves, torch.autograd.grad(loss(), list(leaves.values())), strict=True))
    trained = {spec.name for spec in model.parameter_specs(task.shape()) if spec.trainable}
    for name, leaf in leaves.items():
        assert name not in trained or gradients[name].abs().max() > 0, name
        with torch.no_grad():
            place = (1, 0, 0)
            before = leaf[place].item()
            leaf[place] = before + 1e-5
            above = loss()
            leaf[place] = before - 1e-5
            slope = (above - loss()) / 2e-5
            leaf[place] = before
        assert abs(slope - gradients[name][place]) < 1e-6, name


def check_6_predict_is_forward_without_what_the_loss_does_not_read(model_name, task_name):
    for changes in VARIANTS.get(model_name, [{}]):
        model, task, parameters, inputs = built(model_name, task_name, **changes)
        leaves = {name: value.double().requires_grad_(True) for name, value in parameters.items()}
        inputs = inputs if inputs.dtype == torch.int64 else inputs.double()
        targets = sample(task, (0, 1, 2), num_rows=6).targets
        found = []
        asked = task.shape().num_query_positions
        whole = model.forward(leaves, inputs, num_query_positions=asked).predictions
        for predictions in (whole, model.predict(leaves, inputs, asked)):
            loss = task.losses(predictions, targets).sum()
            found.append((predictions, *torch.autograd.grad(loss, list(leaves.values()))))
        for reference, ours in zip(*found, strict=True):
            torch.testing.assert_close(ours, reference, rtol=1e-12, atol=1e-12)


def check_7_what_is_answered_at_a_position_does_not_depend_on_how_many_are_asked(model_name, task_name):
    if not MODELS[model_name].predicts_all_positions:
        return
    for changes in VARIANTS.get(model_name, [{}]):
        model, _, parameters, inputs = built(model_name, task_name, **changes)
        leaves = {name: value.double().requires_grad_(True) for name, value in parameters.items()}
        length = inputs.shape[2]
        everywhere = model.forward(leaves, inputs, num_query_positions=length).predictions.unflatten(1, (6, length))
        for asked in (1, 2, length):
            wanted = everywhere[:, :, -asked:].flatten(1, 2)
            slopes = torch.autograd.grad(wanted.square().sum(), list(leaves.values()), retain_graph=True)
            for ours in (
                model.forward(leaves, inputs, num_query_positions=asked).predictions,
                model.predict(leaves, inputs, asked),
            ):
                torch.testing.assert_close(ours, wanted, rtol=1e-12, atol=1e-12)
                for one, other in zip(
                    torch.autograd.grad(ours.square().sum(), list(leaves.values())), slopes, strict=True
                ):
                    torch.testing.assert_close(one, other, rtol=1e-11, atol=1e-11)


def check_8_probes_are_numbers_of_a_slot_by_itself(model_name, task_name):
    model, _, parameters, inputs = built(model_name, task_name)
    other = {name: value.clone() for name, value in parameters.items()}
    for value in other.values():
        value[1] += 1
    found, changed = model.probes(parameters, inputs), model.probes(other, inputs)
    assert found.keys() == changed.keys()
    for name, value in found.items():
        assert value.shape == (3,), name
        assert torch.equal(value[[0, 2]], changed[name][[0, 2]]), name


def check_9_losses_in_training_are_of_a_slot_by_itself_and_those_of_predict_without_noise(model_name, task_name):
    model, task, parameters, _ = built(model_name, task_name)
    batch, steps_S = sample(task, (0, 1, 2), num_rows=6), torch.tensor([0, 1, 2])

    def losses(slot):
        """With other parameters, and another stream of noise, in this slot alone."""
        own = {name: value.clone() for name, value in parameters.items()}
        for value in own.values() if slot is not None else ():
            value[slot] += 1
        seeds = [100 + place if place == slot else place for place in range(3)]
        streams = {
            name: Draws(torch.tensor([stream_key(name, seed) for seed in seeds]), steps_S, 1)
            for name in model.noise_streams(task.shape())
        }
        return model.training_losses(own, task, batch, steps_S, streams).losses_S

    together, changed = losses(None), losses(1)
    assert together.shape == (3,)
    assert torch.equal(together[[0, 2]], changed[[0, 2]])
    assert together[1] != changed[1]
    if not model.noise_streams(task.shape()):
        predictions = model.predict(parameters, batch.inputs, task.shape().num_query_positions)
        assert torch.equal(together, task.losses(predictions, batch.targets).mean(1))


# Each is called with the name of a model and of a task that it fits.
CHECKS = [
    check_1_accepts_names_the_kinds_that_fit,
    check_2_parameters_are_named_once_and_have_a_shape,
    check_3_a_slot_reads_its_own_parameters_and_inputs_alone,
    check_4_attention_rows_are_distributions_over_the_past,
    check_5_the_gradient_reaches_every_parameter_and_is_that_of_the_loss,
    check_6_predict_is_forward_without_what_the_loss_does_not_read,
    check_7_what_is_answered_at_a_position_does_not_depend_on_how_many_are_asked,
    check_8_probes_are_numbers_of_a_slot_by_itself,
    check_9_losses_in_training_are_of_a_slot_by_itself_and_those_of_predict_without_noise,
]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize(("model_name", "task_name"), PAIRS)
def test_every_model_keeps_its_contract(model_name, task_name, check):
    check(model_name, task_name)
