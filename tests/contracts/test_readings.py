"""The contract of pipeline.readings.base.Reading, clause by clause, over the registry, and every model and task."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import ClassVar

import numpy as np
import pytest
import torch

from pipeline.engine.parameter_layout import Layout, stream_names
from pipeline.models.base import MODELS
from pipeline.readings.base import READINGS, Reading, Weights
from pipeline.tasks.base import TASKS, Batch
from tests.contracts.test_tasks import streams_of, vectors_of
from tests.support import fitting

PAIRS = [(task, model) for task in TASKS for model in fitting(TASKS[task].tiny())]
CASES = [
    (name, task, model)
    for name in READINGS
    for task, model in PAIRS
    if READINGS[name].unsuitable(TASKS[task].tiny(), MODELS[model].tiny(TASKS[task].tiny())) is None
]
# Models whose heads and their bases the fifth clause turns, with every number of heads and layers that they may have.
WITH_HEADS = {"attention_only", "transformer", "linear_self_attention"}


def parts(task_name, model_name, **changes):
    """A tiny task, and the model for it with these changes where it has such parameters."""
    task = TASKS[task_name].tiny()
    model = MODELS[model_name].tiny(task)
    known = {name: value for name, value in changes.items() if name in type(model).model_fields}
    return task, type(model).model_validate(model.model_dump() | known)


def weights_of(task_name, model_name, seeds=(0, 1, 2), **changes):
    """Weights at init with these seeds, moved off the values that an initialisation gives exactly."""
    task, model = parts(task_name, model_name, **changes)
    layout = Layout(model.parameter_specs(task.shape()), torch.float64)
    rows = [layout.initial_weights(dict.fromkeys(stream_names(layout.specs), seed), 1.0) for seed in seeds]
    views = layout.views(torch.stack(rows))
    for view in views.values():
        place = torch.arange(view[0].numel(), dtype=torch.float64).view(view.shape[1:])
        view += 0.05 * torch.stack([torch.cos(place * (2.1 + seed)) for seed in seeds])
    batch = task.sample(
        streams_of(task, (0,) * len(seeds), num_rows=6), vectors_of(task, len(seeds)), "float64", "probe"
    )
    return Weights(task, model.bind(task.shape()), views, batch)


def chosen(weights, slots):
    """These slots, each of its parameters on a 64-byte boundary, as a reader lays them out."""
    specs = weights.model.parameter_specs(weights.task.shape())
    layout = Layout(specs, torch.float64)
    views = layout.views(torch.zeros(len(slots), layout.row_width, dtype=torch.float64))
    for name, view in views.items():
        view.copy_(weights.parameters[name][slots])
    batch = Batch(weights.batch.inputs[slots].clone(), weights.batch.targets[slots].clone())
    return replace(weights, parameters=views, batch=batch)


def equal(one, other):
    return one.keys() == other.keys() and all(
        torch.equal(one[name].nan_to_num(7), other[name].nan_to_num(7)) for name in one
    )


def check_1_why_a_model_cannot_be_read_is_said_in_a_sentence(cls, task_name, model_name):
    for task, model in PAIRS:
        why = cls.unsuitable(*parts(task, model))
        assert why is None or (isinstance(why, str) and len(why.split()) > 2)
    assert cls.unsuitable(*parts(task_name, model_name)) is None


def check_2_the_output_is_a_number_per_run_and_its_names_depend_on_task_and_model(cls, task_name, model_name):
    weights = weights_of(task_name, model_name)
    found = cls()(weights)
    assert found
    for name, value in found.items():
        assert name.startswith(f"{cls.name}.")
        assert len(name) > len(cls.name) + 1
        assert value.shape == (3,)
        assert value.dtype in (torch.float32, torch.float64)
        assert not value.requires_grad
    assert any(len(set(value.tolist())) == 3 for value in found.values()), "no number tells the runs apart"
    other = weights_of(task_name, model_name, seeds=(5,))
    zero = replace(other, parameters={name: value * 0 for name, value in other.parameters.items()})
    assert list(cls()(other)) == list(cls()(zero)) == list(found)


def check_3_the_values_of_a_run_depend_on_no_other_and_on_no_number_of_them(cls, task_name, model_name):
    weights = weights_of(task_name, model_name, seeds=tuple(range(9)))
    whole = cls()(weights)
    for slots in ([0], [8], [3, 1], [8, 7, 6, 5, 4, 3, 2, 1, 0], [2] * 16, [0, 1, 2, 3, 5, 6, 7, 8]):
        assert equal(cls()(chosen(weights, slots)), {name: value[slots] for name, value in whole.items()}), slots


def check_4_it_changes_nothing_and_draws_nothing(cls, task_name, model_name):
    weights = weights_of(task_name, model_name)
    tensors = {**weights.parameters, "inputs": weights.batch.inputs, "targets": weights.batch.targets}
    before = {name: value.clone() for name, value in tensors.items()}

    def settings():
        states = (torch.get_rng_state().tolist(), random.getstate(), np.random.get_state()[1].tolist())
        torch_modes = (torch.is_grad_enabled(), torch.get_default_dtype(), torch.are_deterministic_algorithms_enabled())
        return states, torch_modes, torch.get_num_threads(), torch.get_float32_matmul_precision()

    unchanged = settings()
    assert equal(cls()(weights), cls()(weights))
    assert settings() == unchanged
    assert all(torch.equal(value, before[name]) for name, value in tensors.items())
    assert not any(value.requires_grad or value.grad is not None for value in weights.parameters.values())


def turned(weights, seed):
    """The same functions: heads permuted inside each layer, and Q M and K M^-T in the place of each head's Q and K."""
    draw = torch.Generator().manual_seed(seed)
    num_heads, found = weights.model.num_heads, dict(weights.parameters)
    last = weights.model.name == "linear_self_attention"  # its heads are rows of Q, K and V
    out = "projection" if last else "output"
    for prefix in sorted({name.rpartition(".")[0] for name in found if name.endswith(".query")}):
        order = torch.randperm(num_heads, generator=draw)

        def heads(matrix, axis, prefix=prefix):
            return found[f"{prefix}.{matrix}"].movedim(axis, 1).unflatten(1, (num_heads, -1))

        def put(matrix, axis, value, prefix=prefix, order=order):
            found[f"{prefix}.{matrix}"] = value[:, order].flatten(1, 2).movedim(1, axis).contiguous()

        axis = 1 if last else 2
        query = heads("query", axis)
        width = query.shape[2]
        basis = torch.linalg.qr(torch.randn(width, width, generator=draw, dtype=torch.float64))[0]
        put("query", axis, torch.einsum("shkd,kj->shjd", query, basis))
        put("key", axis, torch.einsum("shkd,kj->shjd", heads("key", axis), torch.linalg.inv(basis).T))
        put("value", axis, heads("value", axis))
        put(out, 2 if last else 1, heads(out, 2 if last else 1))
    return replace(weights, parameters=found)


def check_5_heads_and_the_basis_inside_a_head_do_not_matter(cls, task_name, model_name):
    if model_name not in WITH_HEADS:
        return
    for num_heads in (1, 2):
        weights = weights_of(task_name, model_name, num_heads=num_heads)
        other = turned(weights, num_heads)
        assert not torch.equal(other.parameters["layer0.query"], weights.parameters["layer0.query"])
        # The functions are the same, or the check says nothing.
        inputs, asked = weights.batch.inputs, weights.task.shape().num_query_positions
        ours, theirs = (w.model.predict(w.parameters, inputs, asked) for w in (weights, other))
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)
        found, expected = cls()(other), cls()(weights)
        for name, value in expected.items():
            torch.testing.assert_close(found[name], value, rtol=1e-6, atol=1e-6, equal_nan=True, msg=name)


def check_6_what_is_not_defined_is_nan_and_never_an_error(cls, task_name, model_name):
    weights = weights_of(task_name, model_name)
    expected = cls()(weights)
    for broken in (np.nan, np.inf, -1e300, 0.0):
        parameters = {name: value.clone() for name, value in weights.parameters.items()}
        for value in parameters.values():
            value[1] = broken
        found = cls()(replace(weights, parameters=parameters))
        assert equal({n: v[[0, 2]] for n, v in found.items()}, {n: v[[0, 2]] for n, v in expected.items()})
        if np.isnan(broken):
            assert all(torch.isnan(value[1]) for value in found.values())


CHECKS = [
    check_1_why_a_model_cannot_be_read_is_said_in_a_sentence,
    check_2_the_output_is_a_number_per_run_and_its_names_depend_on_task_and_model,
    check_3_the_values_of_a_run_depend_on_no_other_and_on_no_number_of_them,
    check_4_it_changes_nothing_and_draws_nothing,
    check_5_heads_and_the_basis_inside_a_head_do_not_matter,
    check_6_what_is_not_defined_is_nan_and_never_an_error,
]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize(("name", "task_name", "model_name"), CASES)
def test_every_reading_keeps_its_contract(name, task_name, model_name, check):
    check(READINGS[name], task_name, model_name)


def test_every_reading_can_read_some_model():
    assert {name for name, _, _ in CASES} == set(READINGS)


class Sound(Reading):
    """The norm of all weights, for what follows to break."""

    name: ClassVar[str] = "sound"

    @classmethod
    def unsuitable(cls, task, model):
        """Every model can be read."""

    def __call__(self, weights):
        """One number."""
        return {"sound.norm": torch.cat([value.flatten(1) for value in weights.parameters.values()], 1).norm(dim=1)}


class Silent(Sound):
    """Says no word on why it reads nothing."""

    @classmethod
    def unsuitable(cls, task, model):
        """Nothing."""
        return ""


class Nameless(Sound):
    """Leaves out its name."""

    def __call__(self, weights):
        """The same number."""
        return {"norm": super().__call__(weights)["sound.norm"]}


class Crowded(Sound):
    """Measures a run by the others."""

    def __call__(self, weights):
        """The norm less the mean of all."""
        (norm,) = super().__call__(weights).values()
        return {"sound.norm": norm - norm.mean()}


class Rough(Sound):
    """Draws a random number."""

    def __call__(self, weights):
        """The same number."""
        torch.rand(1)
        return super().__call__(weights)


class Based(Sound):
    """Reads an entry of a head's query matrix."""

    def __call__(self, weights):
        """One entry."""
        return {"sound.entry": weights.parameters["layer0.query"][:, 0, 0]}


class Blind(Sound):
    """Gives a number where there is none."""

    def __call__(self, weights):
        """The norm of what is finite."""
        parameters = {name: value.nan_to_num() for name, value in weights.parameters.items()}
        return super().__call__(replace(weights, parameters=parameters))


def test_the_checks_pass_a_reading_that_is_sound():
    for check in CHECKS:
        check(Sound, "dictionary_lookup", "attention_only")


@pytest.mark.parametrize(
    ("broken", "clause"), [(Silent, 1), (Nameless, 2), (Crowded, 3), (Rough, 4), (Based, 5), (Blind, 6)]
)
def test_a_reading_that_breaks_a_clause_fails_its_check(broken, clause):
    with pytest.raises(AssertionError):
        CHECKS[clause - 1](broken, "dictionary_lookup", "attention_only")
