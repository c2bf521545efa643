"""The contract of `pipeline.tasks.base.Task`."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pipeline.contracts.contract import Case, Contract, require
from pipeline.contracts.small_sweeps import by_default, varied
from pipeline.numerics.streams import Draws, held_out_key, stream_key
from pipeline.tasks.base import Batch, Split, Task

_SPLITS: tuple[Split, ...] = ("train", "label", "probe")


def streams_of(
    task: Task,
    seeds: Sequence[int] = (0,),
    steps: Sequence[int] | None = None,
    num_rows: int = 8,
    split: Split = "train",
) -> dict[str, Draws]:
    """Draws as a block gives them: under the seeds in training, and the same for every seed otherwise.

    For `num_rows` examples of each slot, at these steps (None: 0).
    """
    steps_S = torch.tensor(steps if steps is not None else [0] * len(seeds))

    def key(name: str, seed: int) -> tuple[int, int]:
        return stream_key(name, seed) if split == "train" else held_out_key(split, name)

    return {
        name: Draws(torch.tensor([key(name, seed) for seed in seeds]), steps_S, num_rows, examples_per_step=8)
        for name in task.streams
    }


def vectors_of(task: Task, num_slots: int, **given: Sequence[float]) -> dict[str, Tensor]:
    """The task's vector parameters, (S,) each: its own value in every slot, or those given."""
    values = {name: given.get(name, [float(getattr(task, name))] * num_slots) for name in task.vector_fields()}
    return {name: torch.tensor(value) for name, value in values.items()}


def sample(
    task: Task,
    seeds: Sequence[int] = (0,),
    steps: Sequence[int] | None = None,
    num_rows: int = 8,
    split: Split = "train",
) -> Batch:
    """A batch of a task in float32, with a seed in each slot."""
    streams = streams_of(task, seeds, steps, num_rows, split)
    return task.sample(streams, vectors_of(task, len(seeds)), "float32", split)


def _check_1_shapes_are_as_stated(task: Task) -> None:
    for split in _SPLITS:
        _require_stated(task, split)


def _require_stated(task: Task, split: Split) -> None:
    task_shape, batch = task.shape(), sample(task, (0, 1), split=split)
    rows = (2, 8, task_shape.length)
    kinds = {"tokens": rows, "vectors": (*rows, task_shape.size), "features": (*rows, task_shape.size)}
    require(task_shape.kind in kinds, f"kind is {task_shape.kind!r}, which is none of {', '.join(kinds)}")
    _require_shape(f"inputs of split {split}", batch.inputs, kinds[task_shape.kind])
    asked = task_shape.num_query_positions
    require(1 <= asked <= task_shape.length, f"{asked} positions are asked, of {task_shape.length}")
    _require_shape(f"targets of split {split}", batch.targets, (2, 8 * asked))
    if task_shape.kind == "tokens":
        least, most = int(batch.inputs.min()), int(batch.inputs.max())
        require(0 <= least <= most < task_shape.size, f"tokens are {least} to {most}, of {task_shape.size} kinds")
        largest = int(batch.targets.max())
        require(largest < task_shape.num_outputs, f"a target is {largest}, of {task_shape.num_outputs} classes")


def _require_shape(what: str, found: Tensor, expected: tuple[int, ...]) -> None:
    require(tuple(found.shape) == expected, f"{what} have shape {tuple(found.shape)}, not {expected}")


def _check_2_an_example_depends_on_its_own_slot_alone(task: Task) -> None:
    for split in _SPLITS:
        _require_own(task, split)


def _require_own(task: Task, split: Split) -> None:
    values = {path.removeprefix("own."): found[1:] for path, found in varied("own", task).items()}
    streams = streams_of(task, (3, 4), [5, 9], split=split)
    both = task.sample(streams, vectors_of(task, 2, **values), "float32", split)
    for slot, (seed, step) in enumerate([(3, 5), (4, 9)]):
        own = {name: found[slot : slot + 1] for name, found in values.items()}
        streams = streams_of(task, (seed,), [step], num_rows=5, split=split)
        alone = task.sample(streams, vectors_of(task, 1, **own), "float32", split)
        asked = 5 * task.shape().num_query_positions
        for what, beside, by_itself in (
            ("inputs", both.inputs[slot, :5], alone.inputs[0]),
            ("targets", both.targets[slot, :asked], alone.targets[0]),
        ):
            told = f"{what} of the first 5 examples of slot {slot} differ once it is sampled by itself, 5 of 8 examples"
            require(torch.equal(beside, by_itself), f"{told}, split {split}")


def _check_3_seeds_matter(task: Task) -> None:
    base = sample(task, (0,), num_rows=32)
    for what, other in (("seed", sample(task, (1,), num_rows=32)), ("step", sample(task, (0,), [1], num_rows=32))):
        share = (base.inputs == other.inputs).flatten(2).all(-1).float().mean()
        told = f"another {what} must give other examples: another seed and another step were tried, and"
        require(share < 0.5, f"{told} under another {what} {share:.0%} of 32 were the same")


def _check_4_losses_are_of_single_questions(task: Task) -> None:
    task_shape, batch = task.shape(), sample(task, (0, 1))
    shape = (*batch.targets.shape, task_shape.num_outputs)
    predictions = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    losses = task.losses(predictions, batch.targets)
    _require_shape("losses", losses, tuple(batch.targets.shape))
    require(torch.isfinite(losses).all(), "some losses of finite predictions are not finite")
    correct = task.correct(predictions, batch.targets)
    if correct is not None:
        wrong = sorted(set(correct.flatten().tolist()) - {0.0, 1.0})
        require(not wrong, f"`correct` gives {wrong[:3]}, where it may give 0 and 1")
    part = task.losses(predictions[:, 1:3], batch.targets[:, 1:3])
    message = "the losses of two questions differ once they are asked by themselves"
    torch.testing.assert_close(part, losses[:, 1:3], msg=lambda told: f"{message}: {told}")


def _check_5_the_floor_is_below_chance(task: Task) -> None:
    floor, chance = task.floor_loss(), task.chance_loss()
    require(0 <= floor < chance, f"floor_loss is {floor:g} and chance_loss {chance:g}")


def _check_6_the_best_predictor_reaches_the_floor(task: Task) -> None:
    batch = sample(task, tuple(range(8)), num_rows=512)
    reference = task.reference_losses(batch)
    if reference is not None:
        _require_shape("reference losses", reference, tuple(batch.targets.shape))
        error = float(reference.std()) / reference.numel() ** 0.5
        away = abs(float(reference.mean()) - task.floor_loss())
        # A floor that stems from rare examples may show in none of them.
        most = 4 * error + 1e-3 * task.chance_loss()
        mean = float(reference.mean())
        told = f"the mean of {reference.numel()} reference losses is {mean:g} (standard error {error:g})"
        require(away < most, f"{told}, and floor_loss {task.floor_loss():g}")


def _check_7_attention_targets_are_masks_of_the_past(task: Task) -> None:
    length = task.shape().length
    for name, mask in task.attention_targets(sample(task, (0, 1))).items():
        require(mask.dtype == torch.bool, f"{name} is {mask.dtype}, not bool")
        _require_shape(f"masks of {name}", mask, (2, 8, length, length))
        require(mask.any(), f"{name} marks nothing")
        require(not mask.triu(1).any(), f"{name}: a causal model cannot attend to what follows")


def _check_8_probes_are_of_single_slots(task: Task) -> None:
    """With a made-up function of the inputs for a model, whose answers are `factor` times as large in each slot."""
    task_shape, batch = task.shape(), sample(task, (0, 1, 2))

    def probed(factors: list[float]) -> dict[str, Tensor]:
        def apply(inputs: Tensor) -> Tensor:
            seen_SB11 = torch.tanh(inputs.float().flatten(2).sum(-1))[..., None, None]
            answers = torch.linspace(0.5, 1.5, task_shape.num_query_positions * task_shape.num_outputs)
            shaped = answers.view(task_shape.num_query_positions, task_shape.num_outputs)
            return (torch.tensor(factors).view(-1, 1, 1, 1) * seen_SB11 * shaped).flatten(1, 2)

        return task.probes(apply, batch)

    found, changed = probed([1.0, 2.0, 3.0]), probed([1.0, -0.5, 3.0])
    require(found.keys() == changed.keys(), "the names of probes depend on what the model answers")
    for name, value in found.items():
        _require_shape(f"values of probe {name}", value, (3,))
        require(torch.isfinite(value).all(), f"probe {name} is not finite")
        told = f"probe {name} of slots 0 and 2 changes with the answers of the model in slot 1"
        require(torch.equal(value[[0, 2]], changed[name][[0, 2]]), told)


def _check_9_disjoint_splits_share_no_inputs(task: Task) -> None:
    def inputs_of(split: Split) -> set[tuple[float, ...]]:
        batches = [sample(task, tuple(range(4)), [step] * 4, 128, split).inputs for step in (0, 1)]
        return {tuple(example.flatten().tolist()) for batch in batches for example in batch.flatten(0, 1)}

    for one, other in task.disjoint:
        num_shared = len(inputs_of(one) & inputs_of(other))
        require(not num_shared, f"{one} and {other} share inputs: {num_shared} of those of 1,024 examples each")


def _cases(cls: type[Task]) -> list[Case]:
    return [Case("", (by_default(cls),))]


TASK_CONTRACT = Contract(
    Task.__doc__ or "",
    (
        _check_1_shapes_are_as_stated,
        _check_2_an_example_depends_on_its_own_slot_alone,
        _check_3_seeds_matter,
        _check_4_losses_are_of_single_questions,
        _check_5_the_floor_is_below_chance,
        _check_6_the_best_predictor_reaches_the_floor,
        _check_7_attention_targets_are_masks_of_the_past,
        _check_8_probes_are_of_single_slots,
        _check_9_disjoint_splits_share_no_inputs,
    ),
    _cases,
)
