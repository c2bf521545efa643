"""Random sequences of what is done to a results folder, compared with the model after every step."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule

from pipeline.store.added import AddedTable, add_table
from pipeline.store.damage import damages, lost_document, set_aside
from pipeline.store.files import CorruptFileError
from pipeline.store.formats.sealed import unseal
from pipeline.store.pack_store import StoreError
from pipeline.store.stored_forecast import newest_orders, read_forecast, write_forecast
from pipeline.store.sweep_store import SweepStore
from tests.store.crashes import CrashError
from tests.store.launch_machine import LaunchMachine, crashes, seeds
from tests.store.store_model import (
    Generation,
    State,
    crash_at,
    harm,
    rows_of,
    value_at,
)


class StoreMachine(LaunchMachine):
    """Damages, repairs and reads it, too."""

    @rule(seed=seeds)
    def damage(self, seed: int) -> None:
        """A file of a pack or a document is deleted, cut or flipped; never a document and its copy."""
        chance = random.Random(seed)
        paths = sorted((self.folder / "packs").glob("*/*-*.*")) + sorted((self.folder / "added").glob("*"))
        documents = sorted(self.folder.glob("*.json"))
        if not damages(self.store) and not self.must_launch:
            paths += [path for path in documents if path.name != "forecast.json"]
        if not paths:
            return
        path = chance.choice(paths)
        if path.parent.name in self.packs:
            self.packs[path.parent.name].is_harmed = True
            self.packs[path.parent.name].num_since_harm = 0
        if path.parent.name == "added":
            if chance.random() < 0.5:
                self._harm_added(path, chance)
            self.added.clear()
            shutil.rmtree(self.folder / "added")
            return
        harm(path, chance)

    def _harm_added(self, path: Path, chance: random.Random) -> None:
        about = self.folder / "added" / "table.json"
        named = unseal(about.read_bytes(), about)["file"] if about.is_file() else None
        harm(path, chance)
        is_named = path.name in (about.name, named) and about.is_file() and self._is_readable()
        with contextlib.suppress(CorruptFileError, StoreError):
            self.store.history()
            assert not is_named, "a damaged table was read"

    @rule()
    @precondition(lambda self: not self.must_launch)
    def repair(self) -> None:
        """Verify finds every damage and no other; what it finds is set aside."""
        with crash_at(None):
            found = damages(self.store)
            lost = lost_document(self.store)
            assert lost is None
            expected = {
                self.store.pack(pack_id).folder for pack_id, pack in self.packs.items() if self._problems(pack_id, pack)
            }
            seen = {path for damage in found for path in (damage.path, damage.path.parent) if path in expected}
            assert seen == expected, "verify missed a damage"
            in_packs = {damage.path for damage in found if "packs" in damage.path.parts}
            assert all(path in expected or path.parent in expected for path in in_packs), "verify found too much"
            set_aside(self.store, found)
            # In a real sweep the lock keeps repair from a folder in which a driver works.
            self.writers = [each for each in self.writers if self.store.pack(each[0]).folder.is_dir()]
            self._write(self.sweep, None)
        assert not damages(self.store)

    @rule(number=st.floats(-9, 9), point=crashes)
    @precondition(lambda self: not self.must_launch)
    def add_numbers(self, number: float, point: int | None) -> None:
        """A table of numbers that were measured after training."""
        run = self.sweep.packs[0][0]
        table = pa.table({"run_id": [run], "step": [5], "added.x": [number]})
        before = dict(self.added)
        try:
            with crash_at(point):
                add_table(self.folder, AddedTable("table", table, {}))
            self.added = {run: number}
        except CrashError:
            found = rows_of(self.store.history()).get((run, 5), {}).get("added.x") if self._is_readable() else None
            assert found in (None, number, before.get(run))
            self.added = {} if found is None else {run: found}
            if found is None and self.folder.joinpath("added").is_dir():
                shutil.rmtree(self.folder / "added")

    @rule()
    @precondition(lambda self: not self.must_launch)
    def forecast(self) -> None:
        """A side file, which is read or counts as none."""
        orders = newest_orders(self.store)
        with crash_at(None):
            write_forecast(self.store, orders, 1, {"budget": self.sweep.budget, "runs": [], "windows": []})
        kept = read_forecast(self.store)
        assert kept is not None

    @rule(notes=st.booleans())
    @precondition(lambda self: self.folder.exists())
    def read_lazily(self, notes: bool) -> None:
        """A reader is made, notes the places of what it may read or does not, and reads it later."""
        if self._is_readable():
            index = self.store.snapshots()
            known = {}
            for pack_id in self.sweep.pack_ids:
                expected = self._expected(pack_id)
                ends = {} if expected is None else expected.state.ends
                known |= {(run, step): value_at(run, step) for run, (_, step) in ends.items()}
            for run, _ in known if notes else ():
                assert index.of(run)
            self.readers.append((index, known, notes))

    @rule()
    @precondition(lambda self: self.readers)
    def read_later(self) -> None:
        """What there was to read is what a reader gets, or is said to be damaged; or gone, where its place is new."""
        index, known, notes = self.readers.pop()
        for (run, step), value in known.items():
            with contextlib.suppress(CorruptFileError, *(() if notes else (StoreError,))):
                assert index.read(run, step)["weights"].tolist() == [np.float32(value)] * 3

    @rule()
    def read_in_another_process(self) -> None:
        """Another process reads the same."""
        end, start = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                os.write(start, json.dumps(self._seen()).encode())
            finally:
                os._exit(0)
        os.close(start)
        with os.fdopen(end, "rb") as stream:
            found = stream.read()
        os.waitpid(pid, 0)
        assert json.loads(found) == json.loads(json.dumps(self._seen()))

    def _seen(self) -> Any:
        try:
            return sorted((run, step, *sorted(m.items())) for (run, step), m in rows_of(self.store.history()).items())
        except (StoreError, CorruptFileError) as error:
            return type(error).__name__

    def _expected(self, pack_id: str) -> Generation | None:
        """The commit that must be read; None if the pack has records and none of them is whole."""
        folder, pack = self.store.pack(pack_id).folder, self.packs[pack_id]
        whole = pack.whole(folder)
        if whole:
            return whole[0]
        is_lost = any(folder.glob("*.record.json"))
        return None if is_lost else Generation((0, 0), State(), {}, "")

    def _is_readable(self) -> bool:
        return all(self._expected(pack_id) is not None for pack_id in self.sweep.pack_ids)

    def _assert_same(self, record: Any, expected: Generation) -> None:
        assert record.order == expected.order
        assert {run: (end.reason, end.step) for run, end in record.ends.items()} == expected.state.ends
        assert {run: entry.step for run, entry in record.active.items()} == expected.state.active

    @invariant()
    def what_is_read_is_what_was_acknowledged(self) -> None:
        """I1, I2, I7: the newest whole commit of each pack, nothing acknowledged missing, one row for each step."""
        if not self.packs:
            return
        store, rows = self.store, dict[tuple[str, int], dict[str, float]]()
        assert [pack["pack_id"] for pack in store.plan["packs"]] == self.sweep.pack_ids
        assert store.budgets == (self.sweep.budget,)
        for pack_id in self.sweep.pack_ids:
            pack, expected = self.packs[pack_id], self._expected(pack_id)
            if not pack.is_harmed and pack.acknowledged is not None:
                assert expected is not None, "an acknowledged commit is gone"
                assert expected.order >= pack.acknowledged.order, "an acknowledged commit is gone"
                num_whole = len(pack.whole(store.pack(pack_id).folder))
                assert num_whole >= min(pack.num_since_harm, 2), "the generation before is gone"
            if expected is None:
                try:
                    store.pack(pack_id).newest()
                except StoreError:
                    continue
                raise AssertionError("a pack without a whole commit was read")
            newest = store.pack(pack_id).newest()
            if newest is None:
                assert expected.order == (0, 0), "a commit that stands is not read"
            else:
                self._assert_same(newest, expected)
            rows |= {key: dict(metrics) for key, metrics in expected.state.rows.items()}
        if self._is_readable():
            self._compare_history(store, rows)

    def _compare_history(self, store: SweepStore, rows: dict[tuple[str, int], dict[str, float]]) -> None:
        for run, number in self.added.items():
            rows.setdefault((run, 5), {})["added.x"] = number
        assert rows_of(store.history()) == rows
        index = store.snapshots()
        for pack_id in self.sweep.pack_ids:
            expected = self._expected(pack_id)
            assert expected is not None
            for run, (_, step) in expected.state.ends.items():
                assert index.read(run, step)["weights"].tolist() == [np.float32(value_at(run, step))] * 3
