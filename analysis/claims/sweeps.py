"""Named sweeps with histories, measurements and snapshots for claims; the exception of an undecided claim."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from analysis.dynamics.attention import MapReader
from analysis.outcomes.equal_runs import distinct_runs
from analysis.outcomes.measurements import join_measurements, read_measurements
from pipeline.store.history import History
from pipeline.store.sweep_store import SweepStore


class UndecidedError(Exception):
    """Raised by a claim's function where the sweeps cannot tell; the message is the reason."""


class MissingSweepError(UndecidedError, KeyError):
    """A sweep that a claim needs is not there."""

    def __str__(self) -> str:
        return str(self.args[0])


@dataclass(frozen=True)
class JudgedSweep:
    """What a claim reads of one sweep. `snapshots` is None where none were kept."""

    history: History
    snapshots: MapReader | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)


class Sweeps(Mapping[str, JudgedSweep]):
    """Sweeps by name. Asking for one that is not there raises MissingSweepError, which makes a claim undecided."""

    def __init__(
        self, sweeps: Mapping[str, JudgedSweep | Path], measured: Mapping[str, Sequence[Path]] | None = None
    ) -> None:
        """A path is a results folder, read when first asked for; a folder without a sweep counts as missing.

        `measured` names files of measurements, by sweep; what they hold joins the history that is read from the folder.
        """
        self._given = dict(sweeps)
        self._measured = dict(measured or {})
        self._read = {name: sweep for name, sweep in sweeps.items() if isinstance(sweep, JudgedSweep)}
        # A dict keeps the order.
        self.asked_for: dict[str, None] = {}

    def noted(self) -> Sweeps:
        """The same sweeps, read once for both; its `asked_for` names those that are asked for from now on."""
        found = copy(self)
        found.asked_for = {}
        return found

    def __getitem__(self, name: str) -> JudgedSweep:
        if name not in self._given:
            raise MissingSweepError(f"sweep {name!r} is missing")
        self.asked_for[name] = None
        if name not in self._read:
            folder = self._given[name]
            assert isinstance(folder, Path)
            self._read[name] = _from_store(name, folder, self._measured.get(name, ()))
        return self._read[name]

    def has(self, name: str) -> bool:
        """Whether the sweep is there to be read."""
        given = self._given.get(name)
        return isinstance(given, JudgedSweep) or (given is not None and SweepStore(given).exists())

    def __iter__(self) -> Iterator[str]:
        return iter(self._given)

    def __len__(self) -> int:
        return len(self._given)


def _from_store(name: str, folder: Path, measured: Sequence[Path]) -> JudgedSweep:
    store = SweepStore(folder)
    if not store.exists():
        raise MissingSweepError(f"sweep {name!r} is missing: {folder} holds none")
    document = store.sweep
    commits = dict.fromkeys(launch["git_commit"] or "unknown" for launch in document["launches"])
    provenance: dict[str, Any] = {"sweep_id": document["sweep_id"], "git_commit": ", then ".join(commits)}
    rows = [row for path in measured for row in read_measurements(path)]
    history = join_measurements(store.history(), rows)
    (distinct,) = distinct_runs([history], [store])
    if num_equal := len(history.runs) - len(distinct.runs):
        provenance["num_equal_runs"] = num_equal
    return JudgedSweep(distinct, store.snapshots(), provenance)
