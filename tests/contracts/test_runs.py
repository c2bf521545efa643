"""What holds of every run, whatever it is made of: every pair of a task and a model that fits it, every optimiser and
every schedule, all of them in their tiny forms.

1. The run rule: a run has the same bits in every slot, beside any neighbours, and whether or not they are there.
2. Training in pieces, with evaluations between them, moves no bit.
3. A sweep that is interrupted and resumed has the bits of one that is not, and a replay meets all of them again.
4. A compiled program gives the numbers of the torch engine; what has no twin is not planned as one.
"""

from __future__ import annotations

from functools import cache

import pytest

from pipeline.engine.program import compiled_engine_of, without_twin
from pipeline.models.base import MODELS
from pipeline.numerics.compiler import toolchain
from pipeline.optimisers.base import OPTIMISERS
from pipeline.schedules.base import SCHEDULES
from pipeline.spec.registered import declared
from pipeline.spec.sweep import SweepSpec
from pipeline.tasks.base import TASKS
from pipeline.training.replay import replay
from tests.support import (
    assert_compiled_equals_torch,
    block_of,
    fitting,
    interrupted,
    rows,
    same,
    states_of,
    tiny,
    trained,
    varied,
    weights,
)


def spec_of(task="linear_regression", model=None, optimiser="adamw", schedule="cosine", **changes):
    """Six runs of a tiny sweep that differ in their seeds and in every vector parameter of every part."""
    names = {"optimiser": OPTIMISERS[optimiser], "schedule": SCHEDULES[schedule]}
    small = {"task": TASKS[task].tiny(), **{section: part.tiny() for section, part in names.items()}}
    small["model"] = MODELS[model or fitting(small["task"])[0]].tiny(small["task"])
    factor = {path: values for section, part in small.items() for path, values in varied(section, part).items()}
    sections = {section: declared(part) for section, part in small.items()}
    seeds = {"together": [0, 1]}
    return SweepSpec.model_validate(tiny().identity() | sections | {"vary": [factor], "seeds": seeds} | changes)


def check_1_a_run_has_the_same_bits_in_every_slot_and_beside_any_neighbours(parts):
    runs = spec_of(**parts).runs()
    together = states_of(runs, 8)
    assert len({state.arrays["weights"].tobytes() for state in together}) == 6
    permuted = states_of(runs[::-1], 8)[::-1]
    moved = states_of(runs[:3], 8, slots=[7, 2, 5])
    dropped = states_of(runs[:2] + runs[3:], 8, slots=[0, 1, 3, 4, 5])
    assert all(same(one, other) for one, other in zip(together, permuted, strict=True))
    assert all(same(one, other) for one, other in zip(together[:3], moved, strict=True))
    assert all(same(one, other) for one, other in zip(together[:2] + together[3:], dropped, strict=True))


def check_2_training_in_pieces_with_looks_between_moves_no_bit(parts):
    runs = spec_of(**parts).runs()
    block = block_of(runs, 6, steps=1)
    for piece in (4, 5, 2):
        block.evaluate(20)
        block.probe(20)
        block.train(piece)
    assert all(same(block.run_state(slot), state) for slot, state in enumerate(states_of(runs, 6, steps=12)))


def check_3_resumed_and_replayed_runs_have_the_bits_of_uninterrupted_ones(parts, folder):
    spec = spec_of(**parts, snapshots={"states": [0, 10]}, resources={"slots": 4, "engine": "torch"})
    store = trained(spec, folder / "whole")
    with pytest.MonkeyPatch.context() as patch:
        again, attempts = interrupted(spec, folder / "interrupted", 1, patch)
    assert attempts > 2
    assert rows(again) == rows(store)
    assert weights(again) == weights(store)
    replayed = replay(store, store.plan["runs"][-1]["run_id"], 5, 30, 5, (), with_weights=False)
    assert replayed.num_hashes == 2
    assert replayed.num_values > 20


def check_4_a_compiled_program_gives_the_numbers_of_the_torch_engine(parts):
    runs = spec_of(**parts, dtype="float64").runs()
    if without_twin(runs[0]):
        assert compiled_engine_of(runs[0]) is None
    elif toolchain() is not None:
        assert_compiled_equals_torch(runs)


@cache
def cases():
    """Name of a case -> what it is made of."""
    pairs = {(task, model) for task in TASKS for model in fitting(TASKS[task].tiny())}
    return {
        **{f"{task}, {model}": {"task": task, "model": model} for task, model in sorted(pairs)},
        **{f"optimiser {name}": {"optimiser": name, "schedule": "constant"} for name in OPTIMISERS},
        **{f"schedule {name}": {"optimiser": "sgd", "schedule": name} for name in SCHEDULES},
    }


CHECKS = [
    check_1_a_run_has_the_same_bits_in_every_slot_and_beside_any_neighbours,
    check_2_training_in_pieces_with_looks_between_moves_no_bit,
    check_4_a_compiled_program_gives_the_numbers_of_the_torch_engine,
]


def check_all(parts, folder):
    """Every check, for what a test drops in."""
    for check in CHECKS:
        check(parts)
    check_3_resumed_and_replayed_runs_have_the_bits_of_uninterrupted_ones(parts, folder)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("case", cases())
def test_every_run_keeps_the_rule(case, check):
    check(cases()[case])


@pytest.mark.parametrize("case", cases())
def test_every_run_is_resumed_and_replayed_to_the_bit(case, tmp_path):
    check_3_resumed_and_replayed_runs_have_the_bits_of_uninterrupted_ones(cases()[case], tmp_path)


def test_every_registered_part_is_in_some_case():
    parts = [part for case in cases().values() for part in case.items()]
    registries = {"task": TASKS, "model": MODELS, "optimiser": OPTIMISERS, "schedule": SCHEDULES}
    assert {(kind, name) for kind, registry in registries.items() for name in registry} <= set(parts)
