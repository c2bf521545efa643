"""The contract of models, clause by clause, over the registry and every task that fits."""

from __future__ import annotations

import pytest
import torch

from pipeline.layout import Layout, stream_names
from pipeline.models.base import MODELS
from pipeline.tasks.base import TASKS
from tests.contracts.test_tasks import sample

PAIRS = [(model, task) for model in MODELS for task in TASKS if TASKS[task]().interface().kind in MODELS[model].accepts]


# Sizes that take every path of a model.
VARIANTS = {
    "attention_only": [{}, {"num_heads": 2, "num_layers": 3, "head_width": 3}, {"num_layers": 1}],
    "linear_self_attention": [{}, {"num_layers": 2}, {"num_layers": 3, "is_tied": True}],
}


def built(model_name, task_name, num_slots=3, **changes):
    """(model, task, parameters by name, inputs) with another seed in every slot."""
    model, task = MODELS[model_name](**changes), TASKS[task_name]()
    layout = Layout(model.parameter_specs(task.interface()), torch.float32)
    rows = [layout.initial_weights(dict.fromkeys(stream_names(layout.specs), seed), 1.0) for seed in range(num_slots)]
    batch = sample(task, tuple(range(num_slots)), num_rows=6)
    return model, task, layout.views(torch.stack(rows)), batch.inputs


def test_every_model_fits_some_task():
    assert {model for model, _ in PAIRS} == set(MODELS)


@pytest.mark.parametrize(("model_name", "task_name"), PAIRS)
class TestContract:
    def test_parameters_are_named_once_and_have_a_shape(self, model_name, task_name):
        specs = MODELS[model_name]().parameter_specs(TASKS[task_name]().interface())
        assert len({spec.name for spec in specs}) == len(specs) > 0
        assert all(spec.rows > 0 and spec.columns > 0 and spec.std > 0 for spec in specs)

    def test_a_slot_reads_its_own_parameters_and_inputs_alone(self, model_name, task_name):
        model, task, parameters, inputs = built(model_name, task_name)
        together = model.forward(parameters, inputs).predictions
        assert together.shape == (3, 6, task.interface().num_outputs)
        other = {name: value.clone() for name, value in parameters.items()}
        for value in other.values():
            value[1] += 1
        changed = model.forward(other, inputs).predictions
        assert torch.equal(together[[0, 2]], changed[[0, 2]])
        assert not torch.equal(together[1], changed[1])

    def test_attention_rows_are_distributions_over_the_past(self, model_name, task_name):
        model, _, parameters, inputs = built(model_name, task_name)
        maps = model.forward(parameters, inputs, with_attention=True).attention
        assert len(maps) == model.num_layers
        length = inputs.shape[2]
        for attention in maps:
            assert attention.shape[:2] == (3, 6)
            assert attention.shape[3:] == (length, length)
            if model.has_softmax:
                torch.testing.assert_close(attention.sum(-1), torch.ones(attention.shape[:-1]))
                assert not attention.triu(1).any()

    def test_predict_is_forward_without_what_the_loss_does_not_read(self, model_name, task_name):
        for changes in VARIANTS.get(model_name, [{}]):
            model, task, parameters, inputs = built(model_name, task_name, **changes)
            leaves = {name: value.double().requires_grad_(True) for name, value in parameters.items()}
            inputs = inputs if inputs.dtype == torch.int64 else inputs.double()
            targets = sample(task, (0, 1, 2), num_rows=6).targets
            found = []
            for predictions in (model.forward(leaves, inputs).predictions, model.predict(leaves, inputs)):
                loss = task.losses(predictions, targets).sum()
                found.append((predictions, *torch.autograd.grad(loss, list(leaves.values()))))
            for reference, ours in zip(*found, strict=True):
                torch.testing.assert_close(ours, reference, rtol=1e-12, atol=1e-12)

    def test_the_gradient_reaches_every_parameter_and_is_that_of_the_loss(self, model_name, task_name):
        model, task, parameters, inputs = built(model_name, task_name)
        leaves = {name: value.double().requires_grad_(True) for name, value in parameters.items()}
        inputs = inputs if inputs.dtype == torch.int64 else inputs.double()
        targets = sample(task, (0, 1, 2), num_rows=6).targets

        def loss():
            wanted = targets if targets.dtype == torch.int64 else targets.double()
            return task.losses(model.forward(leaves, inputs).predictions, wanted).mean(1).sum()

        gradients = dict(zip(leaves, torch.autograd.grad(loss(), list(leaves.values())), strict=True))
        for name, leaf in leaves.items():
            assert gradients[name].abs().max() > 0, name
            with torch.no_grad():
                place = (1, 0, 0)
                before = leaf[place].item()
                leaf[place] = before + 1e-5
                above = loss()
                leaf[place] = before - 1e-5
                slope = (above - loss()) / 2e-5
                leaf[place] = before
            assert abs(slope - gradients[name][place]) < 1e-6, name
