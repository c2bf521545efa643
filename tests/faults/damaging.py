"""Bits flipped in every kind of file that is read back, and files cut: refused or right, and computed again."""

from __future__ import annotations

import itertools
import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from pipeline.numerics.program_cache import keep, kept_program
from pipeline.store.added import AddedTable, add_table
from pipeline.store.formats.sealed import seal
from pipeline.store.pack_store import StoreError
from pipeline.store.stored_forecast import newest_orders, read_forecast, write_forecast
from pipeline.store.sweep_store import SweepStore
from pipeline.tracking.ledger import Entry, Ledger
from tests.faults.cases import LAUNCH, OWN_TEXT, REFUSED, REPAIR, Case
from tests.faults.checking import ADDED_METRIC, Verdict, judge_after
from tests.faults.commands import seedbed
from tests.faults.shim import Fault
from tests.support import rows, weights

# What a file is -> where it lies below the folder that holds the results `r`.
PLACES = {
    "sweep document": "r/sweep.json",
    "plan": "r/plan-*.json",
    "copies": "r/copies/*.json",
    "record": "r/packs/*/*.record.json",
    "checkpoint": "r/packs/*/*.checkpoint.parquet",
    "history": "r/packs/*/*.history.parquet",
    "snapshots": "r/packs/*/*.snapshots.parquet",
    "forecast": "r/forecast.json",
    "ceiling": "r/ceiling.json",
    "added table": "r/added/*",
    "mirror's ledger": "r/wandb/mirrored.json",
    "compiled program": "cache/program-*.so",
}


def stopped_sweep(cwd: Path, case: Case, program: Path) -> Path:
    """A launch that was killed in its last pack, with a file of every kind; `program` stands for a compiled one."""
    case.begun(cwd)
    # Just before its end: the last pack still has a checkpoint.
    last_commit = max(n for n, call in enumerate(case.calls, 1) if call == "rename")
    seedbed(LAUNCH, cwd, cwd / "r", Fault("kill before", last_commit))
    store = SweepStore(cwd / "r")
    run_ids = [row["run_id"] for row in store.plan["runs"]]
    table = pa.table({"run_id": run_ids, "step": [2] * len(run_ids), ADDED_METRIC: [2.0] * len(run_ids)})
    add_table(store.folder, AddedTable("added", table, {}))
    forecasts = {"budget": store.plan["budget"], "runs": [], "windows": []}
    assert write_forecast(store, newest_orders(store), len(run_ids), forecasts)
    (store.folder / "ceiling.json").write_bytes(seal({"windows": {}}))
    for folder in (store.folder / "wandb", cwd / "cache"):
        folder.mkdir(mode=0o700)
    _ledger(cwd).write()
    shutil.copy(program, cwd / "cache" / "built.so")
    keep(cwd / "cache" / "built.so", cwd / "cache" / "program-0.so")
    (cwd / "r" / "mine.txt").write_text(OWN_TEXT)
    return cwd


def _ledger(cwd: Path) -> Ledger:
    return Ledger(cwd / "r" / "wandb" / "mirrored.json", {"run": Entry(10, "running", ("offline-run",))})


def harm(path: Path, chance: random.Random) -> str:
    """Flip one bit of a file (three times of four) or cut it; what was done, in words."""
    content = bytearray(path.read_bytes())
    if chance.random() < 0.25:
        length = chance.randrange(len(content))
        path.write_bytes(content[:length])
        return f"{path.name} cut to {length} of {len(content)} bytes"
    bit = chance.randrange(8 * len(content))
    content[bit // 8] ^= 1 << bit % 8
    path.write_bytes(content)
    return f"{path.name} bit {bit}"


def plan_damages(seed: int) -> Iterator[tuple[str, int]]:
    """(kind of file, seed of its damage): the kinds in turn."""
    for index in itertools.count():
        yield list(PLACES)[index % len(PLACES)], seed * 1_000_003 + index


def try_damage(kind: str, seed: int, cwd: Path, stopped: Path, case: Case) -> Verdict:
    """Damage a file of this kind in a copy of a stopped sweep, read everything, repair it, and judge."""
    shutil.copytree(stopped, cwd)
    chance = random.Random(seed)
    path = chance.choice(sorted(cwd.glob(PLACES[kind])))
    verdict = Verdict(f"damaged {kind}", harm(path, chance), has_own_file=True)
    _read(verdict, kind, cwd, stopped)
    if kind in ("mirror's ledger", "compiled program"):
        return verdict
    shutil.rmtree(cwd / "cache")
    for command in (("status", "r"), REPAIR):
        ended = seedbed(command, cwd, cwd / "r")
        verdict.hung += ended.is_hung
        if "Traceback" in ended.output or "a mistake in seedbed" in ended.output:
            verdict.problems.append(f"{command[0]} did not foresee it: {ended.output[-400:]}")
    if ended.code:
        verdict.problems.append(f"repair: {ended.output[-400:]}")
    else:
        judge_after(verdict, cwd, {}, case)
    return verdict


def _read(verdict: Verdict, kind: str, cwd: Path, stopped: Path) -> None:
    """Read what the damaged file holds, as the code does that uses it: it is refused, or equal to what it was."""
    results, before = SweepStore(cwd / "r"), SweepStore(stopped / "r")
    program, damaged = (folder / "cache" / "program-0.so" for folder in (stopped, cwd))
    readers = (rows, weights, _states)
    if kind == "compiled program":
        found = kept_program(damaged)
        verdict.wrong += found is not None and found != kept_program(program)
    elif kind == "mirror's ledger":
        try:
            verdict.wrong += Ledger.read(_ledger(cwd).path).entries != _ledger(cwd).entries
        except StoreError:
            return
    elif kind == "forecast":
        found_forecast = read_forecast(results)
        verdict.wrong += found_forecast is not None and found_forecast != read_forecast(before)
    else:
        for reader in readers:
            try:
                # An older generation may stand in: less, and nothing else.
                verdict.wrong += not reader(results).items() <= reader(before).items()
            except REFUSED:
                verdict.code = 1


def _states(store: SweepStore) -> dict[tuple[str, int, str], bytes]:
    """Every array of every snapshot and checkpoint, by what it is of."""
    index, found = store.snapshots(), {}
    for run in store.history().runs:
        for step in index.of(run.run_id):
            for name, array in index.read(run.run_id, step).items():
                found[run.run_id, step, name] = array.tobytes()
    # Of both generations: the older one may stand in for the newer.
    generations = [(pack, record) for pack in store.pack_ids() for record in store.pack(pack).records()]
    for pack_id, record in generations:
        arrays = store.pack(pack_id).arrays(record.checkpoint) if record.checkpoint is not None else {}
        found |= {(pack_id, record.sequence, name): array.tobytes() for name, array in arrays.items()}
    return found
