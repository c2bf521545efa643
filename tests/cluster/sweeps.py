"""The sweep that all tries train, its results without a fault, and the verdict on a folder after one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from pipeline.spec.sweep import SweepSpec
from pipeline.store.progress import unfinished
from pipeline.store.sweep_store import SweepStore
from sweeps.command.repairing import run_verify
from tests.cluster.processes import Started, seedbed
from tests.faults.checking import REFUSED, Verdict, doubled, leftovers
from tests.support import rows, tiny, trained, weights

# A command that takes longer hangs: Ray's start alone may take half a minute on a busy machine, three times.
DEADLINE_S = 240.0
# Six packs of two runs.
CHANGES: Mapping[str, Any] = {
    "vary": [{"batch_size": [4, 6, 8, 10, 12, 16]}],
    "seeds": {"together": [0, 1]},
    "resources": {"slots": 2},
    "budget": 300,
    "grid": {"chunk": 10, "eval_items": 8, "probe_items": 8},
    "readings": [],
    "snapshots": {"states": [10]},
}
_OWN = "mine.txt"


@dataclass(frozen=True)
class Reference:
    """The sweep without a fault: rows of its history, and the SHA-256 of every run's last weights."""

    rows: Mapping[tuple[str, int, str], bytes]
    weights: Mapping[str, str]


def spec(**changes: Any) -> SweepSpec:
    """The sweep, with changes to fields that move no bit."""
    return tiny(**{**CHANGES, **changes})


def reference(folder: Path, **changes: Any) -> Reference:
    """Train the sweep inline in this process, without a fault."""
    store = trained(spec(**changes), folder)
    return Reference(rows(store), weights(store))


def fresh_folder(folder: Path, **changes: Any) -> Path:
    """A new folder with the sweep file `s.yaml`, a user's file, and an empty `t` for temporary files."""
    (folder / "t").mkdir(parents=True)
    (folder / "s.yaml").write_text(spec(**changes).to_yaml())
    (folder / _OWN).write_text(_OWN)
    return folder


def launch(cwd: Path, *options: object, name: str = "launch", **environment: str) -> Started:
    """Start `seedbed launch s.yaml --results r` in a folder of its own, with its temporary files below it."""
    values = {"TMPDIR": str(cwd / "t"), "SEEDBED_COMMIT_S": "1", **environment}
    return Started(seedbed("launch", "s.yaml", "--results", "r", *options), cwd, values, name)


def is_training(cwd: Path) -> bool:
    """Whether a pack was opened."""
    return any((cwd / "r" / "packs").glob("*/attempt-0001"))


def is_planned(cwd: Path) -> bool:
    """Whether the results folder holds the sweep."""
    return SweepStore(cwd / "r").exists()


def judge_end(verdict: Verdict, command: Started, code: int | None, expected: Reference, cwd: Path) -> None:
    """Whether a command that met a fault ended, said why in a sentence, and is complete where it exits with 0."""
    output = command.output
    verdict.hung += code is None
    verdict.code = -1000 if code is None else code
    if "Traceback" in output or "a mistake in seedbed" in output:
        verdict.problems.append(f"not foreseen: {output[-600:]}")
    if code == 0 and committed(cwd) != expected.rows:
        verdict.silent += 1
    if code is not None and code > 0 and not output.strip():
        verdict.silent += 1


def committed(cwd: Path) -> Mapping[tuple[str, int, str], bytes]:
    """The rows that the newest records name; none where there is no sweep."""
    try:
        return rows(SweepStore(cwd / "r"))
    except REFUSED:
        return {}


def complete(verdict: Verdict, cwd: Path, before: Mapping[Any, bytes], expected: Reference) -> None:
    """Finish the sweep by the real command, without Ray, and compare it with the one that met no fault."""
    if is_planned(cwd) and not unfinished(SweepStore(cwd / "r")):
        judge_results(verdict, cwd, before, expected)
        return
    words = ("resume", "r", "--inline") if is_planned(cwd) else ("launch", "s.yaml", "--results", "r", "--inline")
    command = Started(seedbed(*words), cwd, {"TMPDIR": str(cwd / "t")}, "completing")
    code = command.wait(DEADLINE_S)
    command.kill_all()
    verdict.hung += code is None
    if code:
        verdict.problems.append(f"not completed: {command.output[-600:]}")
    else:
        judge_results(verdict, cwd, before, expected)


def judge_results(verdict: Verdict, cwd: Path, before: Mapping[Any, bytes], expected: Reference) -> None:
    """Compare a folder with the sweep without a fault: rows, weights, one end of each run, checksums, other files."""
    store = SweepStore(cwd / "r")
    found, ended = rows(store), weights(store)
    verdict.lost += sum(key not in found for key in {**before, **expected.rows})
    verdict.lost += len(expected.weights.keys() - ended.keys())
    verdict.wrong += sum(found[key] != expected.rows.get(key) for key in found)
    verdict.wrong += sum(sha256 != expected.weights.get(run) for run, sha256 in ended.items())
    verdict.twice += doubled(store) + _ended_twice(store)
    verdict.leftovers += len(leftovers(store)) + len(list(store.folder.glob("seedbed-tune-*")))
    if run_verify(store, 0, 0, Console(quiet=True)):
        verdict.problems.append("verify finds damage")
    judge_around(verdict, cwd)


def judge_around(verdict: Verdict, cwd: Path) -> None:
    """Whether files beside the results folder are as they were."""
    if (cwd / _OWN).read_text() != _OWN:
        verdict.problems.append(f"{_OWN} was changed")
    strange = {path.name for path in cwd.iterdir() if path.suffix != ".txt"} - {"r", "s.yaml", "t", "n"}
    if strange:
        verdict.problems.append(f"outside the folder: {sorted(strange)}")


def _ended_twice(store: SweepStore) -> int:
    ends = Counter(run_id for record in store.newest_records().values() for run_id in record.ends)
    return sum(number - 1 for number in ends.values())
