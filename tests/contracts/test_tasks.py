"""The contract of tasks over the registry. Whole runs are in test_runs.py, over the same registry."""

from __future__ import annotations

import pytest

from pipeline.contracts.tasks import TASK_CONTRACT
from pipeline.tasks.base import TASKS
from tests.support import drop_in


@pytest.mark.parametrize("check", TASK_CONTRACT.checks, ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", TASKS)
def test_every_task_keeps_its_contract(name, check):
    for case in TASK_CONTRACT.cases(TASKS[name]):
        check(*case.arguments)


BROKEN = """
from pipeline.numerics.streams import Draws
from pipeline.tasks.base import Batch, TaskShape
from pipeline.tasks.dictionary_lookup import DictionaryLookup

class Broken(DictionaryLookup):
    name = "broken"

    {method}
"""
METHODS = {
    1: ("def shape(self):\n        return TaskShape('tokens', 8, 8, 4)", "inputs of split train have shape"),
    2: (
        "def sample(self, streams, vectors, dtype, split):\n"
        "        inputs, targets = super().sample(streams, vectors, dtype, split)\n"
        "        return Batch(inputs.roll(1, 0), targets)",
        "inputs of the first 5 examples of slot 0 differ",
    ),
    3: (
        "def sample(self, streams, vectors, dtype, split):\n"
        "        data = streams['data']\n"
        "        streams = {'data': Draws(data.keys_S2 * 0, data.steps_S, data.num_rows)}\n"
        "        return super().sample(streams, vectors, dtype, split)",
        "another seed and another step were tried, and under another seed 100% of 32",
    ),
    4: (
        "def losses(self, predictions, targets):\n"
        "        losses = super().losses(predictions, targets)\n"
        "        return losses - losses.mean()",
        "the losses of two questions differ",
    ),
    5: ("def floor_loss(self):\n        return 9.0", "floor_loss is 9 and chance_loss"),
    6: (
        "def reference_losses(self, batch):\n        return batch.targets * 0.0 + 1.0",
        "standard error 0.*, and floor_loss 0",
    ),
    7: (
        "def attention_targets(self, batch):\n"
        "        return {'first': batch.inputs[..., None].expand(-1, -1, -1, batch.inputs.shape[2]) > -1}",
        "first: a causal model cannot attend to what follows",
    ),
    8: (
        "def probes(self, apply, batch):\n"
        "        answers = apply(batch.inputs)\n"
        "        return {'spread': answers.flatten(1).sum(1) - answers.mean()}",
        "probe spread of slots 0 and 2 changes",
    ),
}


@pytest.mark.parametrize("clause", METHODS)
def test_a_task_that_breaks_a_clause_registers_when_dropped_in_and_is_told_so(clause, tmp_path, monkeypatch):
    method, told = METHODS[clause]
    task = drop_in(monkeypatch, tmp_path, "task", "broken", BROKEN.format(method=method))
    assert TASKS["broken"] is task
    with pytest.raises(AssertionError, match=told):
        TASK_CONTRACT.checks[clause - 1](task())


LEAKY = """
from pipeline.tasks.modular_addition import ModularAddition

class Leaky(ModularAddition):
    name = "leaky"

    def sample(self, streams, vectors, dtype, split):
        return super().sample(streams, vectors, dtype, "train" if split == "probe" else split)
"""


def test_a_task_that_measures_what_it_trains_on_and_says_otherwise_is_told_so(tmp_path, monkeypatch):
    task = drop_in(monkeypatch, tmp_path, "task", "leaky", LEAKY)
    with pytest.raises(AssertionError, match="train and probe share inputs"):
        TASK_CONTRACT.checks[8](task())


def test_a_task_whose_samples_take_no_split_is_refused_with_the_change_to_make(tmp_path, monkeypatch):
    source = LEAKY.replace(", split):", "):").replace('"train" if split == "probe" else split', '"train"')
    with pytest.raises(TypeError, match=r"line 7: Leaky\.sample takes no split; make it `def sample\(self, streams, "):
        drop_in(monkeypatch, tmp_path, "task", "leaky", source)
    drop_in(
        monkeypatch,
        tmp_path,
        "task",
        "leaky",
        LEAKY.replace("streams, vectors, dtype, split):", "*given):\n        streams, vectors, dtype, split = given"),
    )


def test_two_files_that_claim_one_name_are_refused(tmp_path, monkeypatch):
    source = BROKEN.format(method="pass").replace('"broken"', '"dictionary_lookup"')
    with pytest.raises(ValueError, match="two files define 'dictionary_lookup'"):
        drop_in(monkeypatch, tmp_path, "task", "again", source)
