"""The contract of `pipeline.readings.base.Reading`, on every task and model that a reading can read."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pipeline.contracts.contract import Case, Contract, require
from pipeline.contracts.small_sweeps import fitting
from pipeline.contracts.tasks import streams_of, vectors_of
from pipeline.engine.parameter_layout import Layout, stream_names
from pipeline.models.base import MODELS, Model
from pipeline.readings.base import Reading, Weights
from pipeline.tasks.base import TASKS, Batch, Task

# Models whose heads and their bases the fifth clause turns, with every number of heads and layers that they may have.
_WITH_HEADS = {"attention_only", "transformer", "linear_self_attention"}


def parts_read(task_name: str, model_name: str, **changes: Any) -> tuple[Task, Model]:
    """A tiny task, and the model for it with these changes where it has such parameters."""
    task = TASKS[task_name].tiny()
    model = MODELS[model_name].tiny(task)
    known = {name: value for name, value in changes.items() if name in type(model).model_fields}
    return task, type(model).model_validate(model.model_dump() | known)


def weights_read(task_name: str, model_name: str, seeds: Sequence[int] = (0, 1, 2), **changes: Any) -> Weights:
    """Weights at init with these seeds, moved off the values that an initialisation gives exactly."""
    task, model = parts_read(task_name, model_name, **changes)
    layout = Layout(model.parameter_specs(task.shape()), torch.float64)
    rows = [layout.initial_weights(dict.fromkeys(stream_names(layout.specs), seed), 1.0) for seed in seeds]
    views = layout.views(torch.stack(rows))
    for view in views.values():
        place = torch.arange(view[0].numel(), dtype=torch.float64).view(view.shape[1:])
        view += 0.05 * torch.stack([torch.cos(place * (2.1 + seed)) for seed in seeds])
    streams, vectors = streams_of(task, (0,) * len(seeds), num_rows=6), vectors_of(task, len(seeds))
    batch = task.sample(streams, vectors, "float64", "probe")
    return Weights(task, model.bind(task.shape()), views, batch)


def _chosen(weights: Weights, slots: Sequence[int]) -> Weights:
    """These slots, each of its parameters on a 64-byte boundary, as a reader lays them out."""
    specs = weights.model.parameter_specs(weights.task.shape())
    layout = Layout(specs, torch.float64)
    views = layout.views(torch.zeros(len(slots), layout.row_width, dtype=torch.float64))
    chosen = list(slots)
    for name, view in views.items():
        view.copy_(weights.parameters[name][chosen])
    batch = Batch(weights.batch.inputs[chosen].clone(), weights.batch.targets[chosen].clone())
    return replace(weights, parameters=views, batch=batch)


def _different(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> str | None:
    """The first metric whose values differ by a bit, or that one of the two lacks; None if they are equal."""
    for name in dict.fromkeys([*one, *other]):
        if name not in one or name not in other or not torch.equal(one[name].nan_to_num(7), other[name].nan_to_num(7)):
            return name
    return None


def _check_1_why_a_model_cannot_be_read_is_said_in_a_sentence(
    cls: type[Reading], task_name: str, model_name: str
) -> None:
    for task, model in _pairs():
        why = cls.unsuitable(*parts_read(task, model))
        told = f"`unsuitable` says {why!r} of task {task} and model {model}: a sentence, or None"
        require(why is None or (isinstance(why, str) and len(why.split()) > 2), told)
    why = cls.unsuitable(*parts_read(task_name, model_name))
    require(why is None, f"`unsuitable` says {why!r} the second time that it is asked")


def _check_2_the_output_is_a_number_per_run_and_its_names_depend_on_task_and_model(
    cls: type[Reading], task_name: str, model_name: str
) -> None:
    weights = weights_read(task_name, model_name)
    found = cls()(weights)
    require(found, "it gives no metric")
    for name, value in found.items():
        is_named = name.startswith(f"{cls.name}.") and len(name) > len(cls.name) + 1
        require(is_named, f"a metric is called {name!r}, which does not begin with {cls.name + '.'!r}")
        require(tuple(value.shape) == (3,), f"{name} has shape {tuple(value.shape)} for three runs")
        require(value.dtype in (torch.float32, torch.float64), f"{name} is {value.dtype}")
        require(not value.requires_grad, f"{name} is not detached")
    tells = any(len(set(value.tolist())) == 3 for value in found.values())
    require(tells, "no number tells the runs apart")
    other = weights_read(task_name, model_name, seeds=(5,))
    zero = replace(other, parameters={name: value * 0 for name, value in other.parameters.items()})
    for again in (cls()(other), cls()(zero)):
        told = f"metrics are {', '.join(found)}, and of other weights {', '.join(again)}"
        require(list(again) == list(found), told)


def _check_3_the_values_of_a_run_depend_on_no_other_and_on_no_number_of_them(
    cls: type[Reading], task_name: str, model_name: str
) -> None:
    weights = weights_read(task_name, model_name, seeds=tuple(range(9)))
    whole = cls()(weights)
    for slots in ([0], [8], [3, 1], [8, 7, 6, 5, 4, 3, 2, 1, 0], [2] * 16, [0, 1, 2, 3, 5, 6, 7, 8]):
        name = _different(cls()(_chosen(weights, slots)), {name: value[slots] for name, value in whole.items()})
        require(name is None, f"{name} of runs {slots} out of nine differs once they are read by themselves")


def _settings() -> tuple[Any, ...]:
    """What a reading must leave as it is in the process."""
    states = (torch.get_rng_state().tolist(), random.getstate(), np.random.get_state()[1].tolist())  # type: ignore[index]
    torch_modes = (torch.is_grad_enabled(), torch.get_default_dtype(), torch.are_deterministic_algorithms_enabled())
    return states, torch_modes, torch.get_num_threads(), torch.get_float32_matmul_precision()


def _check_4_it_changes_nothing_and_draws_nothing(cls: type[Reading], task_name: str, model_name: str) -> None:
    weights = weights_read(task_name, model_name)
    tensors = {**weights.parameters, "inputs": weights.batch.inputs, "targets": weights.batch.targets}
    before = {name: value.clone() for name, value in tensors.items()}
    unchanged = _settings()
    name = _different(cls()(weights), cls()(weights))
    require(name is None, f"{name} is another the second time")
    require(_settings() == unchanged, "it draws from a random generator of the process, or changes a setting of it")
    for name, value in tensors.items():
        require(torch.equal(value, before[name]), f"it changes {name}")
    is_detached = not any(value.requires_grad or value.grad is not None for value in weights.parameters.values())
    require(is_detached, "it leaves gradients on the weights")


def _turned(weights: Weights, seed: int) -> Weights:
    """The same functions: heads permuted inside each layer, and Q M and K M^-T in the place of each head's Q and K."""
    draw = torch.Generator().manual_seed(seed)
    num_heads, found = int(weights.model.num_heads), dict(weights.parameters)  # type: ignore[attr-defined]
    last = weights.model.name == "linear_self_attention"  # its heads are rows of Q, K and V
    out = "projection" if last else "output"
    for prefix in sorted({name.rpartition(".")[0] for name in found if name.endswith(".query")}):
        order = torch.randperm(num_heads, generator=draw)

        def heads(matrix: str, axis: int, prefix: str = prefix) -> Tensor:
            rows_first = found[f"{prefix}.{matrix}"].movedim(axis, 1)
            return rows_first.reshape(len(rows_first), num_heads, -1, *rows_first.shape[2:])

        def put(matrix: str, axis: int, value: Tensor, prefix: str = prefix, order: Tensor = order) -> None:
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


def _check_5_heads_and_the_basis_inside_a_head_do_not_matter(
    cls: type[Reading], task_name: str, model_name: str
) -> None:
    if model_name not in _WITH_HEADS:
        return
    for num_heads in (1, 2):
        weights = weights_read(task_name, model_name, num_heads=num_heads)
        other = _turned(weights, num_heads)
        assert not torch.equal(other.parameters["layer0.query"], weights.parameters["layer0.query"])
        # The functions are the same, or the check says nothing.
        inputs, asked = weights.batch.inputs, weights.task.shape().num_query_positions
        ours, theirs = (w.model.predict(w.parameters, inputs, asked) for w in (weights, other))
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)
        found, expected = cls()(other), cls()(weights)
        for name, value in expected.items():
            is_close = torch.allclose(found[name], value, rtol=1e-6, atol=1e-6, equal_nan=True)
            told = f"{name} is {found[name].tolist()} once heads and their bases are turned"
            require(is_close, f"{told}, and was {value.tolist()}")


def _check_6_what_is_not_defined_is_nan_and_never_an_error(cls: type[Reading], task_name: str, model_name: str) -> None:
    weights = weights_read(task_name, model_name)
    expected = cls()(weights)
    for broken in (np.nan, np.inf, -1e300, 0.0):
        parameters = {name: value.clone() for name, value in weights.parameters.items()}
        for value in parameters.values():
            value[1] = broken
        found = cls()(replace(weights, parameters=parameters))
        others, before = ({n: v[[0, 2]] for n, v in values.items()} for values in (found, expected))
        name = _different(others, before)
        require(name is None, f"{name} of runs 0 and 2 differs where the weights of run 1 are all {broken}")
        if np.isnan(broken):
            numbers = [name for name, value in found.items() if not torch.isnan(value[1])]
            require(not numbers, f"{', '.join(numbers)} is a number where all weights are NaN")


def _pairs() -> Iterator[tuple[str, str]]:
    """Names of every registered task and of the models that fit it."""
    for name, task in TASKS.items():
        for model in fitting(task.tiny()):
            yield name, model


def _cases(cls: type[Reading]) -> list[Case]:
    suited = [(task, model) for task, model in _pairs() if cls.unsuitable(*parts_read(task, model)) is None]
    return [Case(f"on task {task}, model {model}", (cls, task, model)) for task, model in suited]


READING_CONTRACT = Contract(
    Reading.__doc__ or "",
    (
        _check_1_why_a_model_cannot_be_read_is_said_in_a_sentence,
        _check_2_the_output_is_a_number_per_run_and_its_names_depend_on_task_and_model,
        _check_3_the_values_of_a_run_depend_on_no_other_and_on_no_number_of_them,
        _check_4_it_changes_nothing_and_draws_nothing,
        _check_5_heads_and_the_basis_inside_a_head_do_not_matter,
        _check_6_what_is_not_defined_is_nan_and_never_an_error,
    ),
    _cases,
)
