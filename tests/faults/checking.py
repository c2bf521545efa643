"""A sweep that was trained without a fault, and what a folder holds compared with it."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.store.files import CorruptFileError, NewerFormatError
from pipeline.store.pack_store import StoreError
from pipeline.store.sweep_store import SweepStore
from tests.faults.commands import Ended, import_all, seedbed
from tests.faults.shim import Fault
from tests.support import rows, tiny, weights

# Two packs of two runs, two chunks each, with a commit at every chunk.
SPEC = tiny(
    vary=[{"batch_size": [4, 8]}],
    seeds={"together": [0, 1]},
    budget=20,
    grid={"chunk": 10, "eval_items": 8, "probe_items": 8},
    readings=[],
    snapshots={"states": [10]},
)
LAUNCH = ("launch", "s.yaml", "--results", "r", "--inline")
REPAIR = ("repair", "r", "--spec", "s.yaml", "--inline")
# A file of the user's in the results folder, put there once it holds a sweep, and one beside it.
_OWN, _BESIDE = "r/mine.txt", "beside.txt"
_OWN_TEXT = "mine"
# What reading raises where it does not take what it finds for whole.
REFUSED = (CorruptFileError, NewerFormatError, StoreError)
# Of a table that was added after training, which is not part of what training gives.
ADDED_METRIC = "added.steps"


@dataclass(frozen=True)
class Reference:
    """The sweep without a fault: rows of its history, last weights, its calls on files (name, path), its seconds."""

    folder: Path
    rows: Mapping[tuple[str, int, str], bytes]
    weights: Mapping[str, str]
    calls: tuple[str, ...]
    took_s: float


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


def fresh_folder(folder: Path) -> Path:
    """A new folder with the sweep file and a user's file, in which the results are to be made."""
    folder.mkdir(parents=True)
    (folder / "s.yaml").write_text(SPEC.to_yaml())
    (folder / _BESIDE).write_text(_OWN_TEXT)
    return folder


def reference(base: Path) -> Reference:
    """Train the sweep twice without a fault: the first imports what commands import, the second counts its calls."""
    for number in range(2):
        folder, log = fresh_folder(base / f"reference-{number}"), base / f"calls-{number}"
        ended = seedbed(LAUNCH, folder, folder / "r", log=log)
        assert ended.code == 0, ended.output
    store = SweepStore(folder / "r")
    calls = tuple(line.partition(" ")[0] for line in log.read_text().splitlines())
    return Reference(folder, rows(store), weights(store), calls, ended.took_s)


def committed(folder: Path) -> Mapping[tuple[str, int, str], bytes]:
    """The rows that the newest records name; none where there is no sweep that can be read."""
    try:
        return rows(SweepStore(folder))
    except REFUSED:
        return {}


def judge_end(verdict: Verdict, ended: Ended, results: Path, expected: Reference) -> None:
    """Whether a command with a fault said so: it hangs not, shows no traceback, and is complete where it exits 0."""
    verdict.code = ended.code
    verdict.hung += ended.is_hung
    if "Traceback" in ended.output or "a mistake in seedbed" in ended.output:
        verdict.problems.append(f"not foreseen: {ended.output[-400:]}")
    if ended.left_processes:
        verdict.problems.append("a process was left behind")
    if ended.code == 0 and committed(results) != expected.rows:
        verdict.silent += 1
    if ended.code > 0 and not ended.output.strip():
        verdict.silent += 1


def judge_after(verdict: Verdict, cwd: Path, before: Mapping[Any, bytes], expected: Reference) -> None:
    """Compare a folder, after the sweep was completed in it, with the sweep without a fault."""
    store = SweepStore(cwd / "r")
    if (problem := _why_unreadable(store)) is not None:
        verdict.problems.append(problem)
        return
    found = {key: value for key, value in rows(store).items() if key[2] != ADDED_METRIC}
    verdict.lost += sum(key not in found for key in {**before, **expected.rows})
    verdict.wrong += sum(found[key] != expected.rows.get(key) for key in found)
    verdict.wrong += sum(sha256 != expected.weights.get(run) for run, sha256 in weights(store).items())
    verdict.lost += len(expected.weights.keys() - weights(store).keys())
    verdict.twice += doubled(store)
    verdict.leftovers += len(leftovers(store))
    for path in (cwd / _OWN, cwd / _BESIDE):
        if path.exists() and path.read_text() != _OWN_TEXT:
            verdict.problems.append(f"{path.name} was changed")
    if verdict.has_own_file and not (cwd / _OWN).exists():
        verdict.problems.append("a user's file was removed")
    strange = {path.name for path in cwd.iterdir()} - {"r", "s.yaml", _BESIDE}
    if strange:
        verdict.problems.append(f"outside the folder: {sorted(strange)}")
    checked = seedbed(("verify", "r"), cwd, cwd / "r")
    if checked.code:
        verdict.problems.append(f"verify: {checked.output[-300:]}")


def _why_unreadable(store: SweepStore) -> str | None:
    try:
        rows(store)
    except REFUSED as error:
        return f"completed, but not readable: {error}"
    return None


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


def complete(cwd: Path, before: Ended) -> Ended:
    """Finish a sweep: by `resume` where there is one, by `repair` if that was asked for, else by `launch`."""
    if "seedbed repair" in before.output:
        return seedbed(REPAIR, cwd, cwd / "r")
    if SweepStore(cwd / "r").exists():
        ended = seedbed(("resume", "r", "--inline"), cwd, cwd / "r")
        return complete(cwd, ended) if ended.code and "seedbed repair" in ended.output else ended
    return seedbed(LAUNCH, cwd, cwd / "r")


def judge(verdict: Verdict, cwd: Path, ended: Ended, expected: Reference) -> Verdict:
    """The verdict on a command that a fault or a signal met in `cwd`, after the sweep was completed there."""
    judge_end(verdict, ended, cwd / "r", expected)
    before = committed(cwd / "r")
    if SweepStore(cwd / "r").exists():
        (cwd / _OWN).write_text(_OWN_TEXT)
        verdict.has_own_file = True
    after = complete(cwd, ended)
    verdict.hung += after.is_hung
    if after.code:
        verdict.problems.append(f"not completed: {after.output[-400:]}")
    else:
        judge_after(verdict, cwd, before, expected)
    shutil.rmtree(cwd)
    return verdict


def try_call(fault: Fault, cwd: Path, expected: Reference) -> Verdict:
    """Launch with this fault, complete the sweep without one, and judge."""
    fresh_folder(cwd)
    ended = seedbed(LAUNCH, cwd, cwd / "r", fault)
    place = f"call {fault.call} ({expected.calls[fault.call - 1]})"
    return judge(Verdict(fault.kind, place), cwd, ended, expected)


def prepare() -> None:
    """Import what the commands import when they are called."""
    import_all(
        (
            "sweeps.cli.__main__",
            "sweeps.command.launching",
            "sweeps.command.repairing",
            "sweeps.command.status",
            "sweeps.command.analysing",
            "lightning.pytorch",
            "pipeline.training.worker",
        )
    )
