"""The commands that meet faults: what folder each begins from, and what it does without a fault."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from pipeline.numerics.compiler import toolchain
from pipeline.store.files import CorruptFileError
from pipeline.store.formats.sealed import NewerFormatError
from pipeline.store.pack_store import StoreError
from pipeline.store.sweep_store import SweepStore
from tests.faults.caching import keep_what_is_common
from tests.faults.commands import import_all, seedbed
from tests.faults.shim import Fault
from tests.support import rows, tiny, weights

LAUNCH = ("launch", "s.yaml", "--results", "r", "--inline")
RESUME = ("resume", "r", "--inline")
REPAIR = ("repair", "r", "--spec", "s.yaml", "--inline")
# Commands that only read, or write side files: after any of them the sweep holds what it held.
READING = {
    "verify": ("verify", "r"),
    "status": ("status", "r", "--runs"),
    "analyse": ("analyse", "r"),
    "forecast": ("forecast", "r"),
}
# A file of the user's beside the results folder.
BESIDE, OWN_TEXT = "beside.txt", "mine"

# What reading raises where it does not take what it finds for whole.
REFUSED = (CorruptFileError, NewerFormatError, StoreError)
Rows = Mapping[tuple[str, int, str], bytes]


def spec_of(engine: str = "torch", **changes: Any) -> Any:
    """Two packs of two runs, three chunks each, with a commit at every chunk."""
    fields: dict[str, Any] = {
        "vary": [{"batch_size": [4, 8]}],
        "seeds": {"together": [0, 1]},
        "budget": 6,
        "grid": {"chunk": 2, "eval_items": 8, "probe_items": 8},
        "readings": [],
        "snapshots": {"states": [2]},
        "resources": {"slots": 2, "engine": engine},
    }
    return tiny(**(fields | changes))


SPEC = spec_of()


@dataclass(frozen=True)
class Case:
    """A command, the folder that it begins from, and what it does there without a fault.

    `rows` and `weights` are what the sweep holds in the end, `..._at_start` what the folder held; `calls` its calls on
    files. `trains`: it makes the sweep complete. `extends`: by runs that the folder does not have yet.
    """

    name: str
    command: tuple[str, ...]
    start: Path
    rows_at_start: Rows
    weights_at_start: Mapping[str, str]
    rows: Rows
    weights: Mapping[str, str]
    calls: tuple[str, ...]
    output: str
    code: int
    took_s: float
    trains: bool = False
    extends: bool = False

    def begun(self, cwd: Path) -> Path:
        """A copy of its folder, in which it is to run."""
        shutil.copytree(self.start, cwd)
        return cwd


def fresh_folder(folder: Path, spec: Any = SPEC) -> Path:
    """A new folder with the sweep file and a user's file, in which the results are to be made."""
    folder.mkdir(parents=True)
    (folder / "s.yaml").write_text(spec.to_yaml())
    (folder / BESIDE).write_text(OWN_TEXT)
    return folder


def committed(folder: Path) -> tuple[Rows, Mapping[str, str]]:
    """Rows and last weights that the newest records name; none where there is no sweep that can be read."""
    store = SweepStore(folder)
    try:
        return rows(store), weights(store)
    except REFUSED:
        return {}, {}


def make_case(name: str, command: tuple[str, ...], start: Path, base: Path, **flags: bool) -> Case:
    """Run the command twice in copies of `start`, the first of which imports what it imports, and note what it does.

    What it prints must be the same both times where it only reads.
    """
    trains, ended = flags.get("trains", False), []
    for number in range(2):
        cwd, log = base / f"{name}-{number}", base / f"{name}-{number}.calls"
        shutil.copytree(start, cwd)
        ended.append(seedbed(command, cwd, cwd / "r", log=log))
        assert ended[-1].code in ((0,) if trains else (0, 3)), ended[-1].output
    assert trains or ended[0].output == ended[1].output, ended
    calls = tuple(line.partition(" ")[0] for line in log.read_text().splitlines())
    held, last = (*committed(start / "r"), *committed(cwd / "r")), ended[-1]
    return Case(name, command, start, *held, calls, last.output, last.code, last.took_s, **flags)  # type: ignore[arg-type]


class Cases:
    """Every command that meets faults, made when it is asked for, in folders below `base`."""

    def __init__(self, base: Path) -> None:
        self._base = base
        self._made: dict[str, Case] = {}
        # The other engine trains by its own program, where there is a compiler.
        self.engines = ("compiled", "torch") if toolchain() is not None else ("torch",)

    @cached_property
    def launches(self) -> tuple[Case, ...]:
        """A launch in an empty folder, by each engine; that of the first engine stands at the start of all others."""
        return tuple(self._launch(engine) for engine in self.engines)

    def _launch(self, engine: str) -> Case:
        start = fresh_folder(self._base / f"new-{engine}", spec_of(engine))
        return make_case(f"launch ({engine})", LAUNCH, start, self._base, trains=True)

    @cached_property
    def half(self) -> Path:
        """A sweep that was killed in its last pack."""
        return stopped(self.launches[0], 0.75, self._base / "half")

    @cached_property
    def whole(self) -> Path:
        """A finished sweep."""
        cwd = self.launches[0].begun(self._base / "whole")
        assert seedbed(LAUNCH, cwd, cwd / "r").code == 0
        return cwd

    @cached_property
    def resume(self) -> Case:
        """The rest of a sweep that was killed."""
        return make_case("resume", RESUME, self.half, self._base, trains=True)

    @cached_property
    def more_seeds(self) -> Case:
        """A launch of a finished sweep whose file now declares more seeds."""
        start = self._copy(self.whole, "longer")
        (start / "s.yaml").write_text(spec_of(self.engines[0], seeds={"together": [0, 1, 2]}).to_yaml())
        return make_case("launch with more seeds", LAUNCH, start, self._base, trains=True, extends=True)

    @cached_property
    def repair(self) -> Case:
        """The repair of a document and of a pack."""
        start = self._copy(self.whole, "damaged")
        for path in (start / "r" / "sweep.json", next(start.glob("r/packs/*/*.history.parquet"))):
            path.write_bytes(path.read_bytes()[:-7])
        return make_case("repair", REPAIR, start, self._base, trains=True)

    @cached_property
    def reading(self) -> tuple[Case, ...]:
        """Each command that only reads, on a sweep that was killed; where it says more there, on a finished one too."""
        both = [(name, self.half, "unfinished") for name in READING]
        both += [(name, self.whole, "finished") for name in READING if name != "forecast"]
        return tuple(make_case(f"{name} ({what})", READING[name], start, self._base) for name, start, what in both)

    @property
    def others(self) -> tuple[Case, ...]:
        """All but launches in empty folders."""
        return (self.resume, self.more_seeds, self.repair, *self.reading)

    def _copy(self, folder: Path, name: str) -> Path:
        shutil.copytree(folder, self._base / name)
        return self._base / name


def stopped(case: Case, share: float, cwd: Path) -> Path:
    """A copy of a launch's folder in which it was killed before the rename that this share of its renames precede."""
    case.begun(cwd)
    renames = [number for number, call in enumerate(case.calls, 1) if call == "rename"]
    call = renames[min(int(share * len(renames)), len(renames) - 1)]
    assert seedbed(LAUNCH, cwd, cwd / "r", Fault("kill before", call)).code == -9
    return cwd


def prepare() -> None:
    """Import what the commands import when they are called, and keep what does not depend on a folder."""
    import_all(
        (
            "sweeps.cli.__main__",
            "sweeps.command.launching",
            "sweeps.command.repairing",
            "sweeps.command.status",
            "sweeps.command.analysing",
            "sweeps.command.forecasts.forecasting",
            "sweeps.command.mirroring",
            "lightning.pytorch",
            "pipeline.training.worker",
        )
    )
    keep_what_is_common()
