"""Loss of power at every moment of a sweep that is launched, killed, resumed and extended: each pack is old or new."""

from __future__ import annotations

import hashlib
import random
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

from pipeline.store.formats.sealed import unseal
from pipeline.store.pack_store import PackStore, StoreError
from pipeline.store.records.record import Record
from pipeline.store.sweep_store import SweepStore
from tests.faults.cases import LAUNCH, RESUME, Case, Cases, spec_of
from tests.faults.checking import Verdict, complete, judge_after
from tests.faults.commands import Ended, seedbed
from tests.faults.crash_states import Operation, crash_states, lay_out, read_trace
from tests.faults.shim import COUNT, Fault

KINDS = {
    "nothing": "power loss, all written is there",
    "all that is not sure": "power loss, nothing unsynced is there",
    "": "power loss, some unsynced is there",
}
# Random states of each moment, and the share of all states in which the sweep is also completed and compared.
_NUM_RANDOM, COMPLETED = 12, 0.01


@dataclass(frozen=True)
class Sure:
    """What a crash may not take back: the newest synced record of each pack, and whether the documents were synced."""

    records: Mapping[str, Record]
    has_documents: bool


def trace_of(cases: Cases, base: Path) -> Traced:
    """The trace of a launch that is killed, resumed, and launched again with more seeds."""
    root, log, launch = base / "traced", base / "trace", cases.launches[0]
    launch.begun(root)
    killed = Fault("kill before", len(launch.calls) * 2 // 3)
    for command, fault in ((LAUNCH, killed), (RESUME, COUNT)):
        seedbed(command, root, root, fault, trace=log)
    (root / "s.yaml").write_text(spec_of(cases.engines[0], seeds={"together": [0, 1, 2]}).to_yaml())
    assert seedbed(LAUNCH, root, root, trace=log).code == 0
    return Traced(root, read_trace(log.read_bytes()), cases.more_seeds)


class Traced:
    """What was done below the folder `root`, where the results are `r`; `case` completes a sweep that was traced."""

    def __init__(self, root: Path, operations: Sequence[Operation], case: Case | None = None) -> None:
        self.root, self.operations, self.case = root, operations, case

    @cached_property
    def records(self) -> dict[str, Record]:
        """SHA-256 of each record file that was ever written -> the record."""
        found = {}
        for place, operation in enumerate(self.operations):
            if operation.call == "rename" and operation.path.endswith(".record.json"):
                content = self._written(operation.other, place)
                body = unseal(content, Path(operation.path))
                found[operation.path, content] = Record.from_body(body)
        return {hashlib.sha256(content).hexdigest(): record for (_, content), record in found.items()}

    def _written(self, path: str, end: int) -> bytes:
        """What stood in a file before this operation."""
        begun = max(n for n, done in enumerate(self.operations[:end]) if done.call == "create" and done.path == path)
        return b"".join(done.data for done in self.operations[begun:end] if done.call == "write" and done.path == path)

    @cached_property
    def sure(self) -> list[Sure]:
        """What is sure after each number of operations."""
        records: dict[str, Record] = {}
        waiting: dict[str, Record] = {}
        found, has_documents, is_named = [Sure({}, False)], False, False
        for place, done in enumerate(self.operations):
            folder = str(PurePosixPath(done.path).parent)
            if done.call == "rename" and done.path.endswith(".record.json"):
                waiting[folder] = Record.from_body(unseal(self._written(done.other, place), Path(done.path)))
            elif done.call == "rename" and done.path == str(self.root / "r" / "sweep.json"):
                is_named = True
            elif done.call == "fsync" and done.path in waiting:
                records[PurePosixPath(done.path).name] = waiting.pop(done.path)
            elif done.call == "fsync" and done.path == str(self.root / "r"):
                has_documents = has_documents or is_named
            found.append(Sure(dict(records), has_documents))
        return found

    def states(self, chance: random.Random) -> Iterator[tuple[int, str, dict[str, bytes | None]]]:
        """Every state that a crash may leave, each once, in random order and ever more of them."""
        seen: set[bytes] = set()
        while True:
            found = list(crash_states(self.operations, str(self.root), _NUM_RANDOM, chance))
            chance.shuffle(found)
            for number, missing, state in found:
                digest = hashlib.sha256(repr((number, sorted(state.items()))).encode()).digest()
                if digest not in seen:
                    seen.add(digest)
                    yield number, missing, state


def try_state(
    traced: Traced, number: int, missing: str, state: Mapping[str, bytes | None], is_completed: bool, cwd: Path
) -> Verdict:
    """Lay out a state and open it: each pack is at a record that was written, not behind one that is sure."""
    if traced.case is None:
        cwd.mkdir()
    else:
        shutil.copytree(traced.case.start, cwd, ignore=shutil.ignore_patterns("r"))
    lay_out(state, cwd)
    last = traced.operations[number - 1] if number else Operation("begin", str(traced.root))
    place = f"after operation {number} ({last.call} {Path(last.path).name}), missing: {missing}"
    verdict = Verdict(KINDS.get(missing, KINDS[""]), place)
    is_readable = _judge_documents(verdict, cwd / "r", traced.sure[number])
    for folder in sorted((cwd / "r" / "packs").glob("*")):
        sure = traced.sure[number].records.get(folder.name)
        _judge_pack(verdict, PackStore(folder), traced, sure)
    verdict.lost += sum(not (cwd / "r" / "packs" / name).exists() for name in traced.sure[number].records)
    if traced.case is not None and (is_completed or not is_readable) and verdict.survived:
        _judge_completed(verdict, cwd, traced.case)
    return verdict


def _judge_documents(verdict: Verdict, folder: Path, sure: Sure) -> bool:
    """Whether the sweep can be read, or there is none; it is lost if it cannot be read and was sure."""
    store = SweepStore(folder)
    if not store.exists():
        verdict.lost += sure.has_documents
        return True
    try:
        assert store.plan["packs"]
    except StoreError as error:
        verdict.lost += sure.has_documents
        verdict.problems += [str(error)] if sure.has_documents else []
        return False
    return True


def _judge_pack(verdict: Verdict, pack: PackStore, traced: Traced, sure: Record | None) -> None:
    """The newest record is one that was written, all that it names is whole, and it is not older than what is sure."""
    try:
        newest = pack.newest()
    except StoreError as error:
        verdict.problems.append(f"a mix: {error}")
        return
    verdict.wrong += newest is not None and newest not in traced.records.values()
    verdict.lost += sure is not None and (newest is None or newest.order < sure.order)


def _judge_completed(verdict: Verdict, cwd: Path, case: Case) -> None:
    after = complete(cwd, Ended(1, "", 0.0), case)
    verdict.hung += after.is_hung
    if after.code:
        verdict.problems.append(f"not completed ({after.code}): {after.output[-400:]}")
    else:
        judge_after(verdict, cwd, {}, case)
