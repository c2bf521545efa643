"""The contract of pipeline.tasks.base.Task, clause by clause, over the registry.

That whole runs keep the rule and compiled programs the numbers is in test_runs.py, over the same registry.
"""

from __future__ import annotations

import pytest
import torch

from pipeline.numerics.streams import Draws, held_out_key, stream_key
from pipeline.tasks.base import TASKS
from tests.support import drop_in, varied

SPLITS = ("train", "label", "probe")


def streams_of(task, seeds=(0,), steps=None, num_rows=8, split="train"):
    """Draws as a block gives them: under the seeds in training, and the same for every seed otherwise."""
    steps_S = torch.tensor(steps if steps is not None else [0] * len(seeds))

    def key(name, seed):
        return stream_key(name, seed) if split == "train" else held_out_key(split, name)

    return {
        name: Draws(torch.tensor([key(name, seed) for seed in seeds]), steps_S, num_rows, examples_per_step=8)
        for name in task.streams
    }


def vectors_of(task, num_slots, **given):
    values = {name: given.get(name, [float(getattr(task, name))] * num_slots) for name in task.vector_fields()}
    return {name: torch.tensor(value) for name, value in values.items()}


def sample(task, seeds=(0,), steps=None, num_rows=8, split="train"):
    streams = streams_of(task, seeds, steps, num_rows, split)
    return task.sample(streams, vectors_of(task, len(seeds)), "float32", split)


def check_1_shapes(task):
    for split in SPLITS:
        check_shapes_of(task, split)


def check_shapes_of(task, split):
    task_shape, batch = task.shape(), sample(task, (0, 1), split=split)
    rows = (2, 8, task_shape.length)
    kinds = {"tokens": rows, "vectors": (*rows, task_shape.size), "features": (*rows, task_shape.size)}
    assert batch.inputs.shape == kinds[task_shape.kind]
    assert 1 <= task_shape.num_query_positions <= task_shape.length
    assert batch.targets.shape == (2, 8 * task_shape.num_query_positions)
    if task_shape.kind == "tokens":
        assert int(batch.inputs.min()) >= 0
        assert int(batch.inputs.max()) < task_shape.size
        assert int(batch.targets.max()) < task_shape.num_outputs


def check_2_pure(task):
    values = {path.removeprefix("own."): found[1:] for path, found in varied("own", task).items()}
    for split in SPLITS:
        check_pure_in(task, values, split)


def check_pure_in(task, values, split):
    streams = streams_of(task, (3, 4), [5, 9], split=split)
    both = task.sample(streams, vectors_of(task, 2, **values), "float32", split)
    for slot, (seed, step) in enumerate([(3, 5), (4, 9)]):
        own = {name: found[slot : slot + 1] for name, found in values.items()}
        streams = streams_of(task, (seed,), [step], num_rows=5, split=split)
        alone = task.sample(streams, vectors_of(task, 1, **own), "float32", split)
        assert torch.equal(both.inputs[slot, :5], alone.inputs[0])
        assert torch.equal(both.targets[slot, : 5 * task.shape().num_query_positions], alone.targets[0])


def check_3_seeds_matter(task):
    base = sample(task, (0,), num_rows=32)
    for other in (sample(task, (1,), num_rows=32), sample(task, (0,), [1], num_rows=32)):
        same = (base.inputs == other.inputs).flatten(2).all(-1).float().mean()
        assert same < 0.5, "another seed and another step must give other examples"


def check_4_losses(task):
    task_shape, batch = task.shape(), sample(task, (0, 1))
    shape = (*batch.targets.shape, task_shape.num_outputs)
    predictions = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    losses = task.losses(predictions, batch.targets)
    assert losses.shape == batch.targets.shape
    assert torch.isfinite(losses).all()
    correct = task.correct(predictions, batch.targets)
    assert correct is None or set(correct.unique().tolist()) <= {0.0, 1.0}
    torch.testing.assert_close(task.losses(predictions[:, 1:3], batch.targets[:, 1:3]), losses[:, 1:3])


def check_5_bounds(task):
    assert task.floor_loss() >= 0
    assert task.floor_loss() < task.chance_loss()


def check_6_reference(task):
    batch = sample(task, tuple(range(8)), num_rows=512)
    reference = task.reference_losses(batch)
    if reference is not None:
        assert reference.shape == batch.targets.shape
        error = reference.std() / reference.numel() ** 0.5
        # A floor that stems from rare examples may show in none of them.
        assert abs(float(reference.mean()) - task.floor_loss()) < 4 * float(error) + 1e-3 * task.chance_loss()


def check_7_attention_targets(task):
    batch = sample(task, (0, 1))
    for mask in task.attention_targets(batch).values():
        assert mask.dtype == torch.bool
        assert mask.shape == (2, 8, task.shape().length, task.shape().length)
        assert mask.any()
        assert not mask.triu(1).any(), "a causal model cannot attend to what follows"


def check_8_probes(task):
    """With a made-up function of the inputs for a model, whose answers are `factor` times as large in each slot."""
    task_shape, batch = task.shape(), sample(task, (0, 1, 2))

    def probed(factors):
        def apply(inputs):
            seen_SB11 = torch.tanh(inputs.float().flatten(2).sum(-1))[..., None, None]
            answers = torch.linspace(0.5, 1.5, task_shape.num_query_positions * task_shape.num_outputs)
            shaped = answers.view(task_shape.num_query_positions, task_shape.num_outputs)
            return (torch.tensor(factors).view(-1, 1, 1, 1) * seen_SB11 * shaped).flatten(1, 2)

        return task.probes(apply, batch)

    found, changed = probed([1.0, 2.0, 3.0]), probed([1.0, -0.5, 3.0])
    assert found.keys() == changed.keys()
    for name, value in found.items():
        assert value.shape == (3,), name
        assert torch.isfinite(value).all(), name
        assert torch.equal(value[[0, 2]], changed[name][[0, 2]]), name


def check_9_disjoint_splits(task):
    def inputs_of(split):
        batches = [sample(task, tuple(range(4)), [step] * 4, 128, split).inputs for step in (0, 1)]
        return {tuple(example.flatten().tolist()) for batch in batches for example in batch.flatten(0, 1)}

    for one, other in task.disjoint:
        assert not inputs_of(one) & inputs_of(other), f"{one} and {other} share inputs"


CHECKS = [
    check_1_shapes,
    check_2_pure,
    check_3_seeds_matter,
    check_4_losses,
    check_5_bounds,
    check_6_reference,
    check_7_attention_targets,
    check_8_probes,
    check_9_disjoint_splits,
]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", TASKS)
def test_every_task_keeps_its_contract(name, check):
    check(TASKS[name]())


SEED_BLIND = """
from pipeline.numerics.streams import Draws
from pipeline.tasks.dictionary_lookup import DictionaryLookup

class SeedBlind(DictionaryLookup):
    name = "seed_blind"

    def sample(self, streams, vectors, dtype, split):
        data = streams["data"]
        return super().sample({"data": Draws(data.keys_S2 * 0, data.steps_S, data.num_rows)}, vectors, dtype, split)
"""


def test_a_task_that_ignores_its_seed_registers_when_dropped_in_and_fails_the_contract(tmp_path, monkeypatch):
    task = drop_in(monkeypatch, tmp_path, "task", "seed_blind", SEED_BLIND)
    assert TASKS["seed_blind"] is task
    with pytest.raises(AssertionError, match="another seed"):
        check_3_seeds_matter(task())


PROBES_LEAK = """
from pipeline.tasks.dictionary_lookup import DictionaryLookup

class ProbesLeak(DictionaryLookup):
    name = "probes_leak"

    def probes(self, apply, batch):
        answers = apply(batch.inputs)
        return {"spread": answers.flatten(1).sum(1) - answers.mean()}
"""


def test_a_task_whose_probes_look_at_other_slots_fails_the_contract(tmp_path, monkeypatch):
    with pytest.raises(AssertionError, match="spread"):
        check_8_probes(drop_in(monkeypatch, tmp_path, "task", "probes_leak", PROBES_LEAK)())


LEAKY = """
from pipeline.tasks.modular_addition import ModularAddition

class Leaky(ModularAddition):
    name = "leaky"

    def sample(self, streams, vectors, dtype, split):
        return super().sample(streams, vectors, dtype, "train" if split == "probe" else split)
"""


def test_a_task_that_measures_what_it_trains_on_and_says_otherwise_fails_the_contract(tmp_path, monkeypatch):
    with pytest.raises(AssertionError, match="train and probe share inputs"):
        check_9_disjoint_splits(drop_in(monkeypatch, tmp_path, "task", "leaky", LEAKY)())


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
    source = SEED_BLIND.replace('"seed_blind"', '"dictionary_lookup"')
    with pytest.raises(ValueError, match="two files define 'dictionary_lookup'"):
        drop_in(monkeypatch, tmp_path, "task", "again", source)
