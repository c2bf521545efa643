"""What launches do to a results folder, beside the model: plans, attempts, commits, and crashes between any writes."""

from __future__ import annotations

import contextlib
import random
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from pipeline.engine.slots import RunState
from pipeline.store.formats.sealed import unseal
from pipeline.store.pack_store import FencedError, StoreError
from pipeline.store.snapshot_index import SnapshotIndex
from pipeline.store.sweep_store import SweepStore
from pipeline.training.recorder import Recorder
from tests.store.crashes import CrashError
from tests.store.store_model import (
    CHUNK,
    Generation,
    Pack,
    State,
    Sweep,
    crash_at,
    digest,
    value_at,
)

crashes = st.one_of(st.none(), st.integers(0, 14))
seeds = st.integers(0, 2**16)


class LaunchMachine(RuleBasedStateMachine):
    """Plans, extends, trains and crashes in one results folder."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="seedbed-machine-")) / "r"
        self.sweep = Sweep()
        self.packs: dict[str, Pack] = {}
        self.writers: list[tuple[str, Recorder]] = []
        self.added: dict[str, float] = {}
        self.readers: list[tuple[SnapshotIndex, dict[tuple[str, int], float], bool]] = []
        # After a crash between the documents, the next launch writes both again before it trains.
        self.must_launch = False

    def teardown(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self.folder.parent)

    @property
    def store(self) -> SweepStore:
        """Opened anew, as by another command."""
        return SweepStore(self.folder)

    def _write(self, wanted: Sweep, point: int | None) -> None:
        before = self.sweep
        try:
            with crash_at(point):
                self.store.write_documents(wanted.sweep_document(), wanted.plan_document(), is_shared=False)
            self.sweep, self.must_launch = wanted, False
        except CrashError:
            self.must_launch = True
            if before.packs:
                found = [pack["run_ids"] for pack in self.store.plan["packs"]]
                is_new = found == [list(pack) for pack in wanted.packs] and self.store.plan["budget"] == wanted.budget
                self.sweep = wanted if is_new else before
        for pack_id in self.sweep.pack_ids:
            self.packs.setdefault(pack_id, Pack())

    @initialize(num_runs=st.integers(1, 3))
    def plan(self, num_runs: int) -> None:
        """A first launch."""
        self._write(Sweep().with_pack(num_runs), None)

    @rule(num_runs=st.integers(1, 3), point=crashes)
    @precondition(lambda self: len(self.sweep.packs) < 3)
    def extend(self, num_runs: int, point: int | None) -> None:
        """More seeds or settings."""
        self._write(self.sweep.with_pack(num_runs), point)

    @rule(point=crashes)
    @precondition(lambda self: self.sweep.budget < 6 * CHUNK)
    def raise_budget(self, point: int | None) -> None:
        """A larger budget, under which runs that ended at theirs go on."""
        self._write(Sweep(self.sweep.packs, self.sweep.budget + CHUNK), point)

    @rule()
    @precondition(lambda self: self.must_launch)
    def launch_again(self) -> None:
        """What follows a crash."""
        self._write(self.sweep, None)

    def _pack_of(self, seed: int) -> str:
        return random.Random(seed).choice(self.sweep.pack_ids)

    @rule(seed=seeds, point=crashes)
    @precondition(lambda self: not self.must_launch)
    def claim(self, seed: int, point: int | None) -> None:
        """A new attempt at a pack, which reads what it continues."""
        pack_id = self._pack_of(seed)
        before = self._expected(pack_id)
        budgets = dict.fromkeys(self.sweep.packs[self.sweep.pack_ids.index(pack_id)], self.sweep.budget)
        try:
            with crash_at(point):
                writer = Recorder(self.store.pack(pack_id), "sweep", pack_id, budgets)
        except CrashError:
            return
        except StoreError:
            assert before is None, "a pack with a whole commit was refused"
            return
        assert before is not None, "no generation is whole, and an attempt went on"
        self._assert_same(writer.record, before)
        writer.held = writer.checkpoint()  # type: ignore[attr-defined]
        self.writers.append((pack_id, writer))

    @rule(seed=seeds, point=crashes)
    @precondition(lambda self: self.writers and not self.must_launch)
    def train(self, seed: int, point: int | None) -> None:
        """The newest attempt trains some runs by a chunk or two and commits."""
        chance = random.Random(seed)
        pack_id, writer = self.writers[-1]
        if self.store.pack(pack_id).newest_attempt() > writer.attempt:
            return
        states = {run: entry for run, entry in _states(writer).items() if run not in writer.ends}
        for _ in range(chance.choice((1, 1, 2))):
            self._advance(pack_id, writer, states, chance)
        generation = self._begun(writer, states)
        pack = self.packs[pack_id]
        try:
            with crash_at(point):
                writer.commit(states)
        except CrashError:
            self.writers.pop()
            self._note_files(pack_id, generation)
            return
        writer.held = states  # type: ignore[attr-defined]
        self._note_files(pack_id, generation, writer)
        pack.acknowledged, pack.is_harmed = pack.generations[-1], pack.is_harmed and self._is_harmed(pack_id)
        pack.num_since_harm = 0 if pack.is_harmed else pack.num_since_harm + 1

    def _advance(self, pack_id: str, writer: Recorder, states: dict[str, Any], chance: random.Random) -> None:
        budget = self.sweep.budget
        for run in self.sweep.packs[self.sweep.pack_ids.index(pack_id)]:
            end = writer.ends.get(run)
            is_over = end is not None and run not in writer.continued
            if is_over or chance.random() < 0.3:
                continue
            if end is not None:
                writer.reopen(run)
                states[run] = (0, _state(run, end.step))
            step = (states[run][1].step if run in states else 0) + CHUNK
            if step > budget:
                continue
            metrics = {"label_loss": value_at(run, step), "probe_loss": -value_at(run, step)}
            writer.add(run, step, metrics)
            vars(writer).setdefault("added", {})[run, step] = metrics
            if step == budget or chance.random() < 0.1:
                states.pop(run, None)
                writer.end(run, "budget" if step == budget else "diverged", _state(run, step), is_converged=False)
            else:
                states[run] = (0, _state(run, step))

    def _begun(self, writer: Recorder, states: dict[str, Any]) -> Generation:
        """The commit that is about to be made, in the words of the model; its files are noted afterwards."""
        own = getattr(writer, "known", None)
        rows = dict(self._state_of(writer).rows if own is None else own)
        rows |= vars(writer).get("added", {})
        writer.known = rows  # type: ignore[attr-defined]
        ends = {run: (end.reason, end.step) for run, end in writer.ends.items()}
        active = {run: state.step for run, (_, state) in states.items()}
        order = writer.attempt, writer.record.sequence + 1
        record = f"{order[0]:04d}-{order[1]:06d}.record.json"
        return Generation(order, State(rows, ends, active), {}, record)

    def _state_of(self, writer: Recorder) -> State:
        """What the model knows of the commit that a writer continues."""
        if writer.record.order == (0, 0):
            return State()
        known = [g for pack in self.packs.values() for g in pack.generations if g.order == writer.record.order]
        pack_id = writer.store.folder.name
        return next(g.state for g in self.packs[pack_id].generations if g.order == writer.record.order and g in known)

    def _note_files(self, pack_id: str, generation: Generation, writer: Recorder | None = None) -> None:
        """Note what a commit wrote; of one that crashed, only if its record is there."""
        folder, pack = self.store.pack(pack_id).folder, self.packs[pack_id]
        path = folder / generation.record
        if writer is not None:
            assert path.is_file(), "a commit was acknowledged, and its record is not there"
        if not path.is_file():
            return
        body = unseal(path.read_bytes(), path)
        entries = [*body["history"], *(file for file, _ in body["snapshots"])]
        named = {entry["name"]: entry["sha256"] for entry in [*entries, body["checkpoint"]] if entry is not None}
        pack.records[generation.record] = str(digest(path))
        pack.generations.append(Generation(generation.order, generation.state, named, generation.record))

    @rule(seed=seeds)
    @precondition(lambda self: len(self.writers) > 1 and not self.must_launch)
    def commit_late(self, seed: int) -> None:
        """An attempt that was superseded tries to commit, and is told so."""
        chance = random.Random(seed)
        late = [
            (pack_id, writer)
            for pack_id, writer in self.writers
            if self.store.pack(pack_id).newest_attempt() > writer.attempt
        ]
        if not late:
            return
        pack_id, writer = chance.choice(late)
        run = self.sweep.packs[self.sweep.pack_ids.index(pack_id)][0]
        writer._new.add([run], [10 * CHUNK], ("label_loss",), np.array([[-1.0]]))
        with contextlib.suppress(FencedError), crash_at(None):
            writer.commit({})
            raise AssertionError("a late attempt committed")

    def _problems(self, pack_id: str, pack: Pack) -> list[Generation]:
        """The commits whose record stands, damaged itself or in a file that it names."""
        folder = self.store.pack(pack_id).folder
        return [g for g in pack.generations if (folder / g.record).is_file() and not g.is_whole(folder, pack.records)]

    def _is_harmed(self, pack_id: str) -> bool:
        return bool(self._problems(pack_id, self.packs[pack_id]))


def _state(run: str, step: int) -> RunState:
    return RunState(step, {"weights": np.full(3, value_at(run, step), np.float32)})


def _states(writer: Recorder) -> dict[str, Any]:
    """The states of a writer's runs in progress: those of the checkpoint, or its own since it committed."""
    return dict(writer.held)  # type: ignore[attr-defined]
