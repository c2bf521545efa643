"""What holds of every run, whatever it is made of: tasks, models that fit them, optimisers and schedules, in their
tiny forms.

1. The run rule: a run has the same bits in every slot, beside any neighbours, and whether or not they are there.
2. Training in pieces, with evaluations between them, moves no bit.
3. A sweep that is interrupted and resumed has the bits of one that is not, and a replay meets all of them again.
4. A compiled program gives the numbers of the torch engine; what has no C++ form is not planned as one.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.contracts.contract import Case, Contract, require
from pipeline.contracts.small_sweeps import (
    assert_compiled_equals_torch,
    fitting,
    left_after_every_chunk,
    rows,
    same,
    states_of,
    tasks_for,
    tiny,
    trained_block,
    trained_inline,
    varied,
    weights,
)
from pipeline.engine.program import compiled_engine_of, missing_part
from pipeline.models.base import MODELS, Model
from pipeline.numerics.compiler import toolchain
from pipeline.optimisers.base import OPTIMISERS, Optimiser
from pipeline.schedules.base import SCHEDULES, Schedule
from pipeline.spec.parameters import Registered
from pipeline.spec.registered import declared
from pipeline.spec.sweep import SweepSpec
from pipeline.tasks.base import TASKS, Task
from pipeline.training.replay import replay

_CONFIGURED = {"optimiser.lr": [0.5, 1.0, 2.0], "optimiser.clip": [None, 0.1, 1.0]}
# Names of the parts of a run: of its task, model, optimiser and schedule, those that are given.
Parts = Mapping[str, Any]


def spec_of(
    task: str = "linear_regression",
    model: str | None = None,
    optimiser: str = "adamw",
    schedule: str = "cosine",
    sections: Mapping[str, Any] | None = None,
    **changes: Any,
) -> SweepSpec:
    """Six runs of a tiny sweep that differ in their seeds and in every vector parameter of every part.

    With `sections` of a sweep file, whose model configures its optimiser, they stand in place of the parts, and lr and
    clip vary; under Trainers, which take neither, there are two runs.
    """
    if sections is not None:
        base = {name: value for name, value in tiny().identity().items() if name not in ("optimiser", "schedule")}
        vary = [] if "trainer" in sections["model"] else [_CONFIGURED]
        return SweepSpec.model_validate({**base, **sections, "vary": vary, "seeds": {"together": [0, 1]}, **changes})
    small_task = TASKS[task].tiny()
    small: dict[str, Registered] = {
        "task": small_task,
        "optimiser": OPTIMISERS[optimiser].tiny(),
        "schedule": SCHEDULES[schedule].tiny(),
        "model": MODELS[model or fitting(small_task)[0]].tiny(small_task),
    }
    factor = {path: values for section, part in small.items() for path, values in varied(section, part).items()}
    sections = {section: declared(part) for section, part in small.items()}
    seeds = {"together": [0, 1]}
    return SweepSpec.model_validate(tiny().identity() | sections | {"vary": [factor], "seeds": seeds} | changes)


def require_equal_numbers(parts: Parts) -> None:
    """Raises an AssertionError where a compiled program gives other numbers than the torch engine, to 1e-9."""
    runs = spec_of(**parts, dtype="float64").runs()
    if missing_part(runs[0]):
        require(compiled_engine_of(runs[0]) is None, "a compiled program is planned, and a part has no C++ form")
    elif toolchain() is not None:
        assert_compiled_equals_torch(runs)


def _check_1_a_run_has_the_same_bits_in_every_slot_and_beside_any_neighbours(parts: Parts) -> None:
    runs = spec_of(**parts).runs()
    together = states_of(runs, 8)
    num_different = len({state.arrays["weights"].tobytes() for state in together})
    require(num_different == 6, f"6 runs of other seeds or hyperparameters have {num_different} different weights")
    permuted = states_of(runs[::-1], 8)[::-1]
    moved = states_of(runs[:3], 8, slots=[7, 2, 5])
    dropped = states_of(runs[:2] + runs[3:], 8, slots=[0, 1, 3, 4, 5])
    for how, expected, found in (
        ("in reversed order", together, permuted),
        ("in other slots, three of six", together[:3], moved),
        ("once one of six is dropped", together[:2] + together[3:], dropped),
    ):
        is_same = all(same(one, other) for one, other in zip(expected, found, strict=True))
        require(is_same, f"runs have other bits after 25 steps {how}")


def _check_2_training_in_pieces_with_looks_between_moves_no_bit(parts: Parts) -> None:
    runs = spec_of(**parts).runs()
    block = trained_block(runs, 6, steps=1)
    for piece in (4, 5, 2):
        block.evaluate(20)
        block.probe(20)
        block.train(piece)
    whole = states_of(runs, 6, steps=12)
    is_same = all(same(block.run_state(slot), state) for slot, state in enumerate(whole))
    require(is_same, "12 steps give other bits in pieces of 1, 4, 5 and 2, with evaluations and probes between them")


def _check_3_resumed_and_replayed_runs_have_the_bits_of_uninterrupted_ones(parts: Parts) -> None:
    spec = spec_of(**parts, snapshots={"states": [0, 10]}, resources={"slots": 4, "engine": "torch"})
    with tempfile.TemporaryDirectory(prefix="seedbed-check-") as folder:
        store = trained_inline(spec, Path(folder) / "whole")
        again, attempts = left_after_every_chunk(spec, Path(folder) / "interrupted")
        require(attempts > 2, f"it was interrupted {attempts - 1} times, which tells little")
        require(rows(again) == rows(store), "an interrupted sweep recorded other numbers")
        require(weights(again) == weights(store), "an interrupted sweep has other last weights")
        replayed = replay(store, store.plan["runs"][-1]["run_id"], 5, 30, 5, (), with_weights=False)
        is_met = replayed.num_hashes == 2 and replayed.num_values > 20
        require(is_met, f"a replay met {replayed.num_hashes} states and {replayed.num_values} numbers again")


def _check_4_a_compiled_program_gives_the_numbers_of_the_torch_engine(parts: Parts) -> None:
    require_equal_numbers(parts)


def _cases(cls: type[Registered]) -> list[Case]:
    parts = _parts_of(cls)
    return [] if parts is None else [Case(", ".join(f"{kind} {name}" for kind, name in parts.items()), (parts,))]


def _parts_of(cls: type[Registered]) -> dict[str, str] | None:
    """What a run is made of that uses the class: beside a task or model the first that fits; None if none does."""
    if issubclass(cls, Optimiser):
        return {"optimiser": cls.name, "schedule": "constant"}
    if issubclass(cls, Schedule):
        return {"optimiser": "sgd", "schedule": cls.name}
    if issubclass(cls, Task):
        models = fitting(cls.tiny())
        return {"task": cls.name, "model": models[0]} if models else None
    assert issubclass(cls, Model)
    fits = tasks_for(cls)
    return {"task": fits[0].name, "model": cls.name} if fits else None


RUN_CONTRACT = Contract(
    __doc__ or "",
    (
        _check_1_a_run_has_the_same_bits_in_every_slot_and_beside_any_neighbours,
        _check_2_training_in_pieces_with_looks_between_moves_no_bit,
        _check_3_resumed_and_replayed_runs_have_the_bits_of_uninterrupted_ones,
        _check_4_a_compiled_program_gives_the_numbers_of_the_torch_engine,
    ),
    _cases,
)
