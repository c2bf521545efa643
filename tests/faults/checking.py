"""What a results folder holds after a fault, compared with a sweep that met none."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.store.damage import damages
from pipeline.store.sweep_store import SweepStore
from tests.faults.cases import BESIDE, LAUNCH, OWN_TEXT, REFUSED, REPAIR, RESUME, Case, Rows, committed
from tests.faults.commands import Ended, seedbed
from tests.faults.shim import COUNT, Fault
from tests.support import rows, weights

# A file of the user's in the results folder, put there once it holds a sweep.
_OWN = "r/mine.txt"
# Of a table that was added after training, which is not part of what training gives.
ADDED_METRIC = "added.steps"
# How many rounds of completing a sweep may ask for the next, such as a resume that asks for a repair.
_MOST_ROUNDS = 3


@dataclass
class Verdict:
    """What became of one try: every count and flag is 0 in one that the sweep survived."""

    kind: str
    place: str
    lost: int = 0
    twice: int = 0
    wrong: int = 0
    hung: int = 0
    leftovers: int = 0
    silent: int = 0
    problems: list[str] = field(default_factory=list)
    # How the command with the fault ended, and whether a file of the user's then was in the folder.
    code: int = 0
    has_own_file: bool = False

    @property
    def survived(self) -> bool:
        """Whether nothing was lost, doubled, wrong, hung or silent, and every command did what it should."""
        return not (self.lost or self.twice or self.wrong or self.hung or self.silent or self.problems)


def judge_end(verdict: Verdict, ended: Ended, case: Case, found: Rows) -> None:
    """Whether a command with a fault said so: it hangs not, shows no traceback, and did its work where it exits 0.

    `found` are the rows that are committed after it. What a command that only reads printed is that of the one without
    a fault, where it exits with the same code; it may add that a forecast could not be kept, and why.
    """
    verdict.code = ended.code
    verdict.hung += ended.is_hung
    if "Traceback" in ended.output or "a mistake in seedbed" in ended.output:
        verdict.problems.append(f"not foreseen: {ended.output[-400:]}")
    if ended.left_processes:
        verdict.problems.append("a process was left behind")
    if case.trains and ended.code == 0 and found != case.rows:
        verdict.silent += 1
    is_told = ended.output == case.output or "not kept as r/forecast.json: " in ended.output
    if not case.trains and ended.code == case.code and not is_told:
        verdict.wrong += 1
        verdict.problems.append(f"printed {ended.output[-300:]!r}")
    if ended.code > 0 and not ended.output.strip():
        verdict.silent += 1


def judge_after(verdict: Verdict, cwd: Path, before: Rows, case: Case) -> None:
    """Compare a folder, after the sweep was completed in it, with the sweep without a fault."""
    store = SweepStore(cwd / "r")
    try:
        held, last = rows(store), weights(store)
    except REFUSED as error:
        verdict.problems.append(f"completed, but not readable: {error}")
        return
    found = {key: value for key, value in held.items() if key[2] != ADDED_METRIC}
    expected = case.rows if case.trains else case.rows_at_start
    verdict.lost += sum(key not in found for key in {**before, **expected} if key[2] != ADDED_METRIC)
    verdict.wrong += sum(found[key] != expected.get(key) for key in found)
    sha256s = case.weights if case.trains else case.weights_at_start
    verdict.wrong += sum(sha256 != sha256s.get(run) for run, sha256 in last.items())
    verdict.lost += len(sha256s.keys() - last.keys())
    verdict.twice += doubled(store)
    verdict.leftovers += len(leftovers(store))
    for damage in damages(store):
        verdict.problems.append(f"damaged: {damage.problem}")
    _judge_others_files(verdict, cwd)


def _judge_others_files(verdict: Verdict, cwd: Path) -> None:
    for path in (cwd / _OWN, cwd / BESIDE):
        if path.exists() and path.read_text() != OWN_TEXT:
            verdict.problems.append(f"{path.name} was changed")
    if verdict.has_own_file and not (cwd / _OWN).exists():
        verdict.problems.append("a user's file was removed")
    strange = {path.name for path in cwd.iterdir()} - {"r", "s.yaml", BESIDE}
    if strange:
        verdict.problems.append(f"outside the folder: {sorted(strange)}")


def doubled(store: SweepStore) -> int:
    """Rows of the history files that have the run and step of another."""
    places: Counter[tuple[str, int]] = Counter()
    for pack_id, record in store.newest_records().items():
        for entry in record.history:
            table = store.pack(pack_id).table(entry)
            places.update(zip(table["run_id"].to_pylist(), table["step"].to_pylist(), strict=True))
    return sum(number - 1 for number in places.values())


def leftovers(store: SweepStore) -> list[Path]:
    """Temporary files, and files of packs that no record names."""
    found = list(store.folder.rglob(".*.tmp"))
    for pack_id in store.pack_ids():
        pack = store.pack(pack_id)
        named = {entry.name for record in pack.records() for entry in record.files()}
        found += [path for path in pack.folder.glob("*.parquet") if path.name not in named]
    return found


def complete(cwd: Path, before: Ended, case: Case) -> Ended:
    """Finish the work of a case after a fault, without one: as its messages say, else by what it is.

    `seedbed repair` where that was asked for, else the case's own command; for a launch `seedbed resume`, where the
    folder holds a sweep.
    """
    for _ in range(_MOST_ROUNDS):
        before = seedbed(_command(cwd, before, case), cwd, cwd / "r")
        if before.code in (0, case.code) or "seedbed repair" not in before.output:
            return before
    return before


def _command(cwd: Path, before: Ended, case: Case) -> tuple[str, ...]:
    if "seedbed repair" in before.output:
        return REPAIR
    return RESUME if case.command == LAUNCH and not case.extends and SweepStore(cwd / "r").exists() else case.command


def judge(verdict: Verdict, cwd: Path, ended: Ended, case: Case, second: Fault = COUNT) -> Verdict:
    """The verdict on a command that a fault or a signal met in `cwd`, after its work was completed there.

    `second` is a fault that the first command that is to complete it meets; the next one meets none.
    """
    before = committed(cwd / "r")[0]
    judge_end(verdict, ended, case, before)
    if SweepStore(cwd / "r").exists():
        (cwd / _OWN).write_text(OWN_TEXT)
        verdict.has_own_file = True
    if second != COUNT:
        ended = seedbed(_command(cwd, ended, case), cwd, cwd / "r", second)
        found = committed(cwd / "r")[0]
        verdict.lost += len(before.keys() - found.keys())
        judge_end(verdict, ended, case, found)
    after = complete(cwd, ended, case)
    verdict.hung += after.is_hung
    if after.code != case.code:
        verdict.problems.append(f"not completed ({after.code}): {after.output[-400:]}")
    else:
        if not case.trains and after.output != case.output:
            verdict.problems.append(f"afterwards printed {after.output[-300:]!r}")
        judge_after(verdict, cwd, before, case)
    return verdict
