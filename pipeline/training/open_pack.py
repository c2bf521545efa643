"""Opens one pack of a sweep's folder: checks the numerics, makes the block, finds the initial state of each run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property, partial
from pathlib import Path
from typing import NoReturn, TypedDict, TypeVar

import torch

from pipeline.engine.block import Block
from pipeline.engine.known_answer import WrongProgramError, known_answer
from pipeline.engine.program import compiled_engine_of, engines_here
from pipeline.engine.slots import RunState
from pipeline.engine.taken_weights import with_taken
from pipeline.engine.trainer_block import TrainerBlock
from pipeline.numerics.processor import processor
from pipeline.numerics.program_cache import cache_folder
from pipeline.planning.pack_runs import runs_of_pack
from pipeline.planning.packs import Numerics, Pack, expand, stored_spec
from pipeline.spec.run_config import RunConfig
from pipeline.spec.sweep import SweepSpec
from pipeline.store.pack_store import StoreError
from pipeline.store.sweep_store import SweepStore
from pipeline.training.abilities import Abilities, NotHereError
from pipeline.training.evaluation_plan import EvaluationPlan
from pipeline.training.isolation import apart
from pipeline.training.origin import refuse_changed_code, refuse_other_bits
from pipeline.training.pack_loop import PackLoop
from pipeline.training.recorder import Origin, Recorder
from pipeline.training.sources import source_hashes, sources_digest

Found = TypeVar("Found")


def open_pack(
    store: SweepStore,
    pack_id: str,
    beat: Callable[[], None] | None = None,
    claim: Callable[[], int] | None = None,
) -> PackLoop:
    """Claim a new attempt at a pack; its loop continues from the newest whole commit, or starts anew.

    It calls `beat`, as it is done here, whenever something was done. `claim`, where it is given, claims the attempt.

    Raises NotHereError, before anything is claimed, when this machine cannot have the pack's numerics or computes other
    bits than the newest commit is made of; StoreError when the code has changed since and the newest launch does not
    accept that; UnloadableError, having recorded why, where every run raises an error before its first step.
    """
    spec = stored_spec(store)
    found = runs_of_pack(store, spec, pack_id)
    pack, configs = found.pack, found.configs
    sources = sources_digest(source_hashes(spec, found.of_every_setting))
    refuse_changed_code(store, [pack_id], sources)
    slots = num_slots(store, pack)
    answer, _ = _of_first(partial(_answer, pack, slots), configs)
    origin = Origin(answer or "", sources, processor())
    refuse_other_bits(store, pack_id, origin)
    block, causes = _of_first(lambda config: block_of(pack, config, slots), configs)
    budgets = {run_id: spec.budget_of(config) for run_id, config in configs.items()}
    recorder = Recorder(store.pack(pack_id), store.sweep["sweep_id"], pack_id, budgets, origin, claim)
    if block is None:
        _fail_all(recorder, configs, causes)
    first_states = FirstStates(store, spec, recorder.continued)
    by_budget = {budget: evaluation_plan_of(spec, budget) for budget in set(budgets.values())}
    evaluation_plans = {run_id: by_budget[budget] for run_id, budget in budgets.items()}
    loop = PackLoop(configs, block, evaluation_plans, recorder, first_states, beat)
    loop.beat()
    return loop


class UnloadableError(StoreError):
    """No run of a pack can be loaded into a slot; its record says why of each."""


def num_slots(store: SweepStore, pack: Pack) -> int:
    """The slots of a pack: those of the plan, or fewer where memory ran out."""
    record = store.pack(pack.pack_id).newest()
    return pack.numerics.slots if record is None else record.slots or pack.numerics.slots


def _of_first(
    call: Callable[[RunConfig], Found], configs: Mapping[str, RunConfig]
) -> tuple[Found | None, dict[str, str]]:
    """`call` of the first run that does not raise, and the causes of those before it; None if all of them raise."""
    causes: dict[str, str] = {}
    for run_id, config in configs.items():
        found, failed = apart(lambda _, config=config: call(config), [run_id])  # type: ignore[misc]
        if found:
            return found[0][1], causes
        causes |= failed
    return None, causes


def _fail_all(recorder: Recorder, configs: Mapping[str, RunConfig], causes: Mapping[str, str]) -> NoReturn:
    states = {run_id: state for run_id, (_, state) in recorder.checkpoint().items()}
    for run_id, config in configs.items():
        if run_id not in recorder.ends or run_id in recorder.continued:
            first = 0 if config.lineage is None else config.lineage.step
            recorder.fail(run_id, states.get(run_id), first, False, f"while it was loaded: {causes[run_id]}")
    recorder.commit({})
    raise UnloadableError(
        f"pack {recorder.record.pack_id}: every run raises an error, such as {next(iter(causes.values()))}"
    )


def _answer(pack: Pack, slots: int, config: RunConfig) -> str:
    """The hash of what this process makes of the first steps of `config`, a run of the pack, checked against torch."""
    if config.model.own_engine() is not None:
        # Nothing is promised of its bits.
        return ""
    # A compiled program's bits do not depend on the number of slots.
    is_compiled = pack.numerics.engine != "torch"
    try:
        return known_answer(config, block_of(pack, config, 1 if is_compiled else slots)).digest
    except WrongProgramError as error:
        raise StoreError(
            f"pack {pack.pack_id}: its compiled program does not compute what torch computes: {error}; remove the "
            f"programs in {cache_folder()}, or start the sweep in another folder with resources.engine=torch"
        ) from None


def block_of(pack: Pack, config: RunConfig, slots: int | None = None) -> Block:
    """A block with the numerics of a pack, of which `config` is a run, and `slots` (None: as planned).

    Raises NotHereError where it cannot be had.
    """
    numerics = pack.numerics
    _check(pack.pack_id, numerics, config)
    device = torch.device(numerics.device)
    precision: _Precision = {"threads": numerics.threads, "matmul_precision": numerics.matmul_precision}
    if config.model.own_engine() is not None:
        return TrainerBlock(config, device, **precision)
    return Block(config, numerics.slots if slots is None else slots, device, numerics.engine, **precision)


class _Precision(TypedDict):
    threads: int
    matmul_precision: str


def _check(pack_id: str, wanted: Numerics, config: RunConfig) -> None:
    here = Abilities.here()
    lack = here.lacks(wanted)
    if lack is None and wanted.engine != "torch" and config.model.own_engine() is None:
        instruction_set = engines_here()[wanted.engine]
        if compiled_engine_of(config, instruction_set) is None:
            lack = f"programs of {wanted.engine}, and that of its runs does not compile here"
    if lack is not None:
        raise NotHereError(pack_id, f"planned for {lack}")


def evaluation_plan_of(spec: SweepSpec, budget: int) -> EvaluationPlan:
    """When the runs of a sweep that have this budget are evaluated, probed, recorded and ended."""
    steps, last = spec.steps(budget), spec.snapshots.at_the_end(spec.num_runs)
    of_last_state = {budget} if last == "state" else set()
    return EvaluationPlan(
        grid=steps.grid,
        budget=budget,
        eval_items=spec.grid.eval_items,
        probe_items=spec.grid.probe_items,
        criterion=spec.criterion,
        stopping=spec.stopping,
        window_steps=frozenset(step for _, step in steps.windows),
        readings=spec.reading_names,
        state_steps=frozenset(steps.snapshots["states"]),
        # A state holds the weights too.
        weight_steps=frozenset(steps.snapshots["weights"]) - {*steps.snapshots["states"], *of_last_state},
        attention_steps=frozenset(steps.snapshots["attention"]),
        last=last,
        last_maps=spec.snapshots.maps_at_the_end(spec.num_runs),
    )


class FirstStates:
    """Initial state of each run: its last state if a larger budget continues it, its parent's if it is a fork.

    Of a fork that takes weights from other runs, their parts are those runs' at the same step.
    """

    def __init__(self, store: SweepStore, spec: SweepSpec, continued: Mapping[str, int]) -> None:
        self.continued = continued
        self._own = store.snapshots() if continued else None
        self._store = None if spec.fork is None else SweepStore(Path(spec.fork.sweep))
        self._parents = None if self._store is None else self._store.snapshots()

    def __call__(self, runs: Mapping[str, RunConfig], block: Block) -> dict[str, RunState]:
        """run_id -> its state before its first step here."""
        drawn = [run_id for run_id, config in runs.items() if self._is_drawn(run_id, config)]
        found = dict(zip(drawn, block.starts([runs[run_id] for run_id in drawn]), strict=True))
        return {run_id: found.get(run_id) or self._kept(run_id, config, block) for run_id, config in runs.items()}

    def _is_drawn(self, run_id: str, config: RunConfig) -> bool:
        """Whether a run starts from initial weights, rather than from a state that was kept."""
        if run_id in self.continued:
            return False
        return config.lineage is None or config.draws_state_at(config.lineage.step)

    def _kept(self, run_id: str, config: RunConfig, block: Block) -> RunState:
        if run_id in self.continued:
            assert self._own is not None
            step = self.continued[run_id]
            return RunState(step, self._own.read(run_id, step))
        assert config.lineage is not None
        step = config.lineage.step
        state = self._of_parent(config.lineage.parent, step, block)
        sources = {run: self._of_parent(run, step, block) for run in set(config.lineage.taken.values())}
        taken = {name: sources[run] for name, run in config.lineage.taken.items()}
        return with_taken(state, taken, block.layout) if taken else state

    def _of_parent(self, run_id: str, step: int, block: Block) -> RunState:
        """The state at this step of a run of the parents' sweep."""
        assert self._parents is not None
        if step == 0 and (config := self._configs[run_id]).draws_state_at(0):
            return block.start(config)
        return RunState(step, self._parents.read(run_id, step))

    @cached_property
    def _configs(self) -> dict[str, RunConfig]:
        """The runs of the parents' sweep, by id."""
        assert self._store is not None
        return {config.run_id: config for config in expand(stored_spec(self._store))}
