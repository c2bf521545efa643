"""Papers that `seedbed reproduce` reproduces: which sweeps each needs, and what is measured on them afterwards.

A paper NAME is a folder of sweeps/ that holds

    *.yaml       its sweeps
    paper.py     `PAPER`, a Paper: the sweeps of each profile, and its measurements
    claims.py    `CLAIMS`, a ClaimBook of its own, `FIGURES`, functions of the sweeps to a Figure, and `TASK_PICTURE`, a
                 function without arguments to the Figure that explains the task

and whatever only it uses. Every folder with a paper.py is found. A claim's `figure` names a function of FIGURES, and
the figure that it draws. Claims and figures get `analysis.claims.sweeps.Sweeps`, in which every sweep has the name that
PAPER gives it; what measurements found is in `sweeps[name].history.values` beside what training recorded. A figure that
lacks a sweep lets UndecidedError pass.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from pipeline.store.pack_store import StoreError
from pipeline.store.sweep_store import SweepStore

PROFILES = ("fast", "full")

_SWEEPS = Path(__file__).resolve().parent

# Keys: "run_id", "step", and the names of metrics with their values; NaN, None and absent keys are not measured.
MeasuredRow = Mapping[str, Any]
MeasureFunction = Callable[[SweepStore], Iterable[MeasuredRow]]


@dataclass(frozen=True)
class PaperSweep:
    """A sweep of a paper, in each profile.

    `name` is what claims call it, and its folder's name. `file` is a sweep file, relative to sweeps/. `fast` and `full`
    are overrides of it as on the command line ("budget=2000", "seeds.together.range=[0, 16]"), None where the profile
    leaves the sweep out. `forks_of` names the sweep (an earlier one of the same paper) that a fork file's parents are
    in; the file's own `fork.sweep` is then replaced by that sweep's folder.
    """

    name: str
    file: str
    fast: tuple[str, ...] | None = ()
    full: tuple[str, ...] | None = ()
    forks_of: str | None = None

    @property
    def path(self) -> Path:
        """The sweep file."""
        return _SWEEPS / self.file

    def overrides(self, profile: str) -> tuple[str, ...] | None:
        """Of one of PROFILES; None where it leaves the sweep out."""
        assert profile in PROFILES
        return self.fast if profile == "fast" else self.full


@dataclass(frozen=True)
class Measurement:
    """What a paper measures on trained models, and no history holds: anything that needs torch.

    `measure` gets the store of the finished sweep and gives rows: a run, one step, and metrics. Metrics become part of
    that sweep's history, NaN where not measured, under their own names, which no recorded metric has; so a quantity
    over an axis is several metrics, "ood_loss/0.5", "ood_loss/1". A run's weights are read by
    `pipeline.training.replay.model`.
    Must be deterministic. Rows are kept, and measured again only when the sweep's plan or `version` changes: raise
    `version` with any change of `measure`. `profiles` are those in which it is made: two measurements may share a name
    where no profile makes both.
    """

    name: str
    sweep: str
    measure: MeasureFunction
    version: int = 1
    profiles: tuple[str, ...] = PROFILES


@dataclass(frozen=True)
class Paper:
    """A paper: its title as printed, its sweeps in the order in which they are trained, and its measurements.

    Papers are trained and listed by `order`, those of equal order by name. docs/papers/NAME.md shows those of FIGURES
    that `page_figures` names, and `findings`: sentences in which `{CLAIM}` stands for what was found of that claim.
    `further_findings` are those on questions that the paper does not ask, and have a part of the page of their own.

    Raises ValueError where a name is given twice in one profile, or names no sweep.
    """

    name: str
    title: str
    sweeps: tuple[PaperSweep, ...]
    measurements: tuple[Measurement, ...] = ()
    order: int = 100
    page_figures: tuple[str, ...] = ()
    findings: tuple[str, ...] = ()
    further_findings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        known: set[str] = set()
        for sweep in self.sweeps:
            if sweep.name in known:
                raise ValueError(f"{self.name}: two sweeps are named {sweep.name!r}")
            if sweep.forks_of is not None and sweep.forks_of not in known:
                raise ValueError(f"{self.name}: {sweep.name!r} forks {sweep.forks_of!r}, which is no sweep before it")
            known.add(sweep.name)
        for measurement in self.measurements:
            if measurement.sweep not in known:
                raise ValueError(f"{self.name}: {measurement.name!r} measures {measurement.sweep!r}, which is no sweep")
        for profile in PROFILES:
            names = [found.name for found in self.measurements if profile in found.profiles]
            if len(names) != len(set(names)):
                raise ValueError(f"{self.name}: two measurements of profile {profile} have one name: {names}")

    def of_profile(self, profile: str) -> list[PaperSweep]:
        """The sweeps that a profile trains, in order."""
        return [sweep for sweep in self.sweeps if sweep.overrides(profile) is not None]

    def claims_module(self) -> ModuleType:
        """sweeps.NAME.claims, which holds CLAIMS and FIGURES."""
        return import_module(f"sweeps.{self.name}.claims")


def names_of_papers() -> list[str]:
    """The folders of sweeps/ that hold a paper, by name."""
    return sorted(path.parent.name for path in _SWEEPS.glob("*/paper.py"))


def papers_of(names: Sequence[str] = ()) -> list[Paper]:
    """The papers of these names in their own order; all of them where no name is given. Raises StoreError."""
    known = names_of_papers()
    if unknown := [name for name in names if name not in known]:
        raise StoreError(f"unknown paper {', '.join(unknown)} (known: {', '.join(known)})")
    papers = [import_module(f"sweeps.{name}.paper").PAPER for name in known if not names or name in names]
    assert all(isinstance(paper, Paper) for paper in papers)
    return sorted(papers, key=lambda paper: (paper.order, paper.name))
