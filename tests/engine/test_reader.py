"""Readings are functions of a run's weights and its task's parameters alone, whatever reads them and how many."""

from __future__ import annotations

import math

import pytest
import torch

from pipeline.contracts.runs import spec_of
from pipeline.engine.block import Block
from pipeline.engine.reader import Reader, suitable_readings
from pipeline.readings.base import READINGS, Reading
from tests.support import block_of

RUNS = spec_of("linear_regression").runs()
BLOCK = block_of(RUNS, 6, steps=7)


def registered(monkeypatch, *classes):
    """These readings beside the others until the test ends."""
    monkeypatch.setitem(vars(READINGS), "_classes", {**READINGS, **{cls.name: cls for cls in classes}})


class Items(Reading):
    """The sum and the number of inputs of the statistics set, and whether it comes in double precision."""

    name = "items"

    @classmethod
    def unsuitable(cls, task, model):
        """Models of tokens."""
        return "it reads tasks of vectors alone" if task.shape().kind == "tokens" else None

    def __call__(self, weights):
        """Three numbers."""
        inputs = weights.batch.inputs
        number = torch.full((len(inputs),), float(inputs[0, :, 0, 0].numel()))
        return {
            "items.sum": inputs.flatten(1).sum(1),
            "items.targets": weights.batch.targets.square().sum(1),
            "items.number": number,
            "items.is_double": torch.full_like(number, float(inputs.dtype == torch.float64)),
        }


TOKEN_RUNS = spec_of("dictionary_lookup").runs()
TOKEN_BLOCK = block_of(TOKEN_RUNS, 6, steps=7)


def read(slots, group_runs=16, block=BLOCK, names=("circuits",), num_items=16, runs=RUNS):
    reader = Reader(runs[0], names, num_items, group_runs)
    return reader.read(block.parameters_of(slots), [runs[slot] for slot in slots])


@pytest.mark.parametrize("name", READINGS)
@pytest.mark.parametrize("group_runs", [1, 2, 5, 16, 64])
def test_neither_order_nor_neighbours_nor_the_size_of_groups_move_a_bit(name, group_runs):
    unsuitable = READINGS[name].unsuitable(BLOCK.task, BLOCK.model)
    block, runs = (TOKEN_BLOCK, TOKEN_RUNS) if unsuitable else (BLOCK, RUNS)
    reference = read(range(6), block=block, names=(name,), runs=runs)
    for slots in ([0, 1, 2, 3, 4, 5], [5, 3, 1], [4], [2] * 7):
        found = read(slots, group_runs, block, (name,), runs=runs)
        assert found.keys() == reference.keys()
        assert all(torch.equal(found[metric], values[slots]) for metric, values in reference.items()), slots


def test_threads_and_the_settings_of_the_process_move_no_bit_and_are_restored():
    reference, threads = read(range(6)), torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        assert all(torch.equal(read(range(6))[name], values) for name, values in reference.items())
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)


def test_the_statistics_set_is_that_of_the_probes_in_double_precision_under_the_runs_own_parameters(monkeypatch):
    registered(monkeypatch, Items)
    runs = spec_of("linear_regression", vary=[{"task.label_noise": [0.0, 0.5]}]).runs()
    by_noise = {run.task.label_noise: run for run in runs}
    found = Reader(runs[0], ["items"], 16).read(BLOCK.parameters_of([0, 0, 0]), [by_noise[x] for x in (0.0, 0.5, 0.0)])
    block = Block(by_noise[0.5], 1, torch.device("cpu"))
    batch = block.sample("probe", block.steps_S, 16)
    torch.testing.assert_close(found["items.sum"][1], batch.inputs.double().sum(), rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(found["items.targets"][1], batch.targets.double().square().sum(), rtol=1e-5, atol=1e-4)
    assert found["items.sum"][0] == found["items.sum"][2] != found["items.sum"][1]
    assert found["items.number"].tolist() == [16.0] * 3
    assert found["items.is_double"].tolist() == [1.0] * 3


def test_what_is_not_finite_is_nan_in_its_own_run_alone():
    parameters = {name: value.clone() for name, value in BLOCK.parameters_of([0, 1, 2]).items()}
    for value in parameters.values():
        value[1] = 0.0
    found = Reader(RUNS[0], ["circuits"], 16).read(parameters, RUNS[:3])
    assert any(math.isnan(value[1]) for value in found.values())
    assert all(torch.equal(value[[0, 2]], read([0, 2])[name]) for name, value in found.items())


def test_a_reading_is_taken_of_the_models_that_it_can_read(monkeypatch):
    registered(monkeypatch, Items)
    (tokens,) = spec_of("dictionary_lookup", seeds={"together": [0]}, vary=[]).runs()
    assert suitable_readings(("circuits", "items"), RUNS[0]) == ("circuits", "items")
    assert suitable_readings(("circuits", "items"), tokens) == ("circuits",)
