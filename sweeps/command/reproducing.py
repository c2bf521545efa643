"""`seedbed reproduce`: trains a paper's sweeps, measures, judges its claims, and writes table and figures.

A results folder holds, for each paper NAME:

    NAME/SWEEP/                   a sweep's results folder, as `seedbed launch` leaves it
    NAME/measured/NAME.json       rows of a measurement, and the plan that they were measured on
    NAME/registered.json          by sweep, hash of the terms that were registered when its training began
    NAME/claims.json, .txt, .md   the judged claims
    NAME/figures/                 its figures, as PNG and SVG

and, of the papers reproduced together last, the same three.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from analysis.claims.claims import ClaimBook, JudgedClaim
from analysis.claims.records import write_claims
from analysis.claims.registration import Registration, RegistrationError, is_as_registered
from analysis.claims.sweeps import Sweeps, UndecidedError
from analysis.claims.text import claims_markdown, claims_table
from analysis.figures.figures import svg_to_png, to_svg
from analysis.figures.style import Figure
from analysis.uncertainty.intervals import json_safe
from pipeline.launch.machine import machine_of, num_cpus_here
from pipeline.launch.planned import plan_for
from pipeline.planning.open_sweep import provenance
from pipeline.planning.packs import Plan
from pipeline.store.budgets import budget_by_run
from pipeline.store.files import write_file
from pipeline.store.pack_store import StoreError
from pipeline.store.progress import progress_by_pack, summed, unfinished
from pipeline.store.sweep_store import SweepStore
from pipeline.training.cost import estimate_cost
from sweeps.command.exit_codes import COMPLETE
from sweeps.command.how import How
from sweeps.command.launching import run_launch
from sweeps.command.request import Request
from sweeps.command.terminal.clock import clock
from sweeps.papers import PROFILES, Measurement, Paper, PaperSweep, papers_of
from sweeps.registered import registration_of


@dataclass(frozen=True)
class Reproduction:
    """One paper in one profile, with its results folder.

    `only` names the sweeps that are to be trained, with those that they fork; all of the profile where it is empty.
    """

    paper: Paper
    profile: str
    folder: Path
    is_inline: bool = False
    only: tuple[str, ...] = ()

    @property
    def sweeps(self) -> list[PaperSweep]:
        """The sweeps that are to be trained, in order."""
        known = self.paper.of_profile(self.profile)
        if not self.only:
            return known
        chosen: set[str] = set()
        for sweep in reversed(known):
            # Parents stand before their forks.
            if sweep.name in (*self.only, *chosen):
                chosen |= {sweep.name} | ({sweep.forks_of} if sweep.forks_of is not None else set())
        return [sweep for sweep in known if sweep.name in chosen]

    @property
    def trained(self) -> list[PaperSweep]:
        """The sweeps of the profile whose runs have all ended, those of earlier reproductions among them."""
        return [sweep for sweep in self.paper.of_profile(self.profile) if _is_trained(self.store(sweep.name))]

    @property
    def measurements(self) -> list[Measurement]:
        """The measurements of this profile on trained sweeps."""
        trained = {sweep.name for sweep in self.trained}
        return [m for m in self.paper.measurements if self.profile in m.profiles and m.sweep in trained]

    def store(self, name: str) -> SweepStore:
        """The results of one of its sweeps."""
        return SweepStore(self.folder / name)

    def measured(self, measurement: Measurement) -> Path:
        """The file that the rows of a measurement are kept in."""
        return self.folder / "measured" / f"{measurement.name}.json"

    def request(self, sweep: PaperSweep) -> Request:
        """The launch request of this sweep."""
        overrides = [*(sweep.overrides(self.profile) or ())]
        if self.profile == "fast":
            # Minutes of training need no dashboard.
            overrides.append("tracking.mode=disabled")
        if sweep.forks_of is not None:
            overrides.append(f"fork.sweep={json.dumps(str((self.folder / sweep.forks_of).resolve()))}")
        return Request(sweep.path, tuple(overrides), self.folder / sweep.name, How(is_inline=self.is_inline))

    def for_claims(self) -> Sweeps:
        """The sweeps as claims and figures read them."""
        measured: dict[str, list[Path]] = {}
        for measurement in self.measurements:
            measured.setdefault(measurement.sweep, []).append(self.measured(measurement))
        return Sweeps({sweep.name: self.folder / sweep.name for sweep in self.trained}, measured)


def run_reproduce(
    names: Sequence[str], profile: str, results: Path | None, is_inline: bool, out: Console, only: Sequence[str] = ()
) -> int:
    """Reproduces papers, all of them where none is named; the exit code, as of a launch.

    A finished sweep is used as it is, an unfinished one continued. The first sweep that is left incomplete ends it.
    `only` names the sweeps that are to be trained; claims are judged by all that are.
    """
    papers = papers_of(names)
    if profile not in PROFILES:
        raise StoreError(f"--profile must be {' or '.join(PROFILES)}, given {profile!r}")
    folder = results or Path("results") / "reproduce" / profile
    parts = chosen_parts([Reproduction(paper, profile, folder / paper.name, is_inline) for paper in papers], only)
    if profile == "full":
        print_estimate(parts, out)
    registrations = {part.paper.name: verified(part.paper) for part in parts}
    claims: list[JudgedClaim] = []
    for part in parts:
        begun_under(part, registrations[part.paper.name])
        out.print(part.paper.title, style="bold", markup=False)
        code = train(part, out)
        if code != COMPLETE:
            out.print("incomplete, no claim was judged: run the same `seedbed reproduce` to continue", markup=False)
            return code
        for measurement in part.measurements:
            make(part, measurement, out)
        claims += judged(part, registrations[part.paper.name], out)
    document = dict(provenance()) | {"profile": profile, "papers": [paper.name for paper in papers]}
    write_table(claims, folder, document)
    out.print("\n".join(claims_table(claims)), markup=False)
    for line in registration_lines(claims):
        out.print(line, markup=False)
    out.print(f"table: {folder / 'claims.txt'}, {folder / 'claims.json'}", markup=False)
    for part in parts:
        out.print(f"figures: {part.folder / 'figures'}", markup=False)
    return COMPLETE


def chosen_parts(parts: Sequence[Reproduction], only: Sequence[str]) -> list[Reproduction]:
    """The papers that have sweeps of these names, for these alone; all where none is named. Raises StoreError."""
    if not only:
        return list(parts)
    known = {part.paper.name: [sweep.name for sweep in part.sweeps] for part in parts}
    if unknown := [name for name in only if not any(name in names for names in known.values())]:
        lists = "; ".join(f"{paper}: {', '.join(names)}" for paper, names in known.items())
        raise StoreError(f"--sweeps names {', '.join(unknown)}, which profile {parts[0].profile} lacks ({lists})")
    return [
        replace(part, only=tuple(own))
        for part in parts
        if (own := [name for name in known[part.paper.name] if name in only])
    ]


def verified(paper: Paper) -> Registration:
    """The paper's registration, its hashes checked. Raises StoreError where an entry was altered."""
    try:
        return registration_of(paper)
    except RegistrationError as error:
        raise StoreError(str(error)) from None


def begun_under(part: Reproduction, registration: Registration) -> dict[str, str]:
    """By sweep that is or will be trained, the hash of the registration under which its training began, kept in a file.

    Empty where a sweep was trained before that was kept: nothing was registered beforehand then. A sweep that is added
    later, with terms of its own, so changes nothing of the others.
    """
    path = part.folder / "registered.json"
    found: dict[str, str] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    to_be_trained = {sweep.name for sweep in part.sweeps}
    for sweep in part.paper.of_profile(part.profile):
        if sweep.name not in found and part.store(sweep.name).exists():
            found[sweep.name] = ""
        elif sweep.name in to_be_trained:
            found.setdefault(sweep.name, registration.sha256)
    part.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_file(path, json.dumps(found, indent=1).encode())
    return found


def registration_lines(claims: Sequence[JudgedClaim]) -> list[str]:
    """How many claims stand as registered before training began, and the others by name."""
    others = [claim for claim in claims if not is_as_registered(claim.registered)]
    lines = [f"{len(claims) - len(others)} of {len(claims)} claim(s) stand as registered before training began"]
    return lines + [f"  {claim.name}: {claim.registered}" for claim in others]


def train(part: Reproduction, out: Console) -> int:
    """Train the unfinished runs of every sweep, in order; COMPLETE, or the exit code of the first incomplete launch."""
    for sweep in part.sweeps:
        code = run_launch(part.request(sweep), out)
        if code != COMPLETE:
            return code
    return COMPLETE


def make(part: Reproduction, measurement: Measurement, out: Console) -> None:
    """Run a measurement, unless its rows exist for this plan and version. All rows are written together at the end."""
    store, path = part.store(measurement.sweep), part.measured(measurement)
    key = {"sweep": measurement.sweep, "plan": store.sweep["plan"], "version": measurement.version}
    if path.is_file():
        document = json.loads(path.read_text(encoding="utf-8"))
        if {name: document.get(name) for name in key} == key:
            return
    started = time.monotonic()
    rows = [dict(row) for row in measurement.measure(store)]
    path.parent.mkdir(mode=0o700, exist_ok=True)
    write_file(path, json.dumps(json_safe(key | {"rows": rows}), allow_nan=False).encode())
    out.print(f"measured {measurement.name} in {clock(time.monotonic() - started)}: {len(rows)} rows, {path}")


def judged(part: Reproduction, registration: Registration, out: Console) -> list[JudgedClaim]:
    """The paper's claims, judged and written beside its figures, with when their terms were registered."""
    module, sweeps = part.paper.claims_module(), part.for_claims()
    begun = begun_under(part, registration)
    book: ClaimBook = module.CLAIMS
    claims = registration.told(book.judged(sweeps), begun)
    write_figures(module.FIGURES, sweeps, part.folder / "figures", out)
    document = {"paper": part.paper.title, "profile": part.profile, "begun_under": begun} | {
        name: sweep.provenance for name, sweep in sweeps.items()
    }
    write_table(claims, part.folder, document)
    return claims


def write_figures(draw: Sequence[Callable[[Sweeps], Figure]], sweeps: Sweeps, folder: Path, out: Console) -> None:
    """Write every figure that can be drawn, as SVG and PNG; for the others, print the reason."""
    folder.mkdir(mode=0o700, exist_ok=True)
    for function in draw:
        try:
            figure = function(sweeps)
        except UndecidedError as error:
            out.print(f"no figure {function.__name__}: {error}", markup=False)
            continue
        if figure.chart is None:
            out.print(f"no figure {figure.name}: {figure.text}", markup=False)
            continue
        svg = to_svg(figure)
        write_file(folder / f"{figure.name}.svg", svg.encode())
        write_file(folder / f"{figure.name}.png", svg_to_png(svg))


def write_table(claims: Sequence[JudgedClaim], folder: Path, document: Mapping[str, Any]) -> None:
    """claims.json, claims.txt and claims.md."""
    write_claims(claims, folder / "claims.json", document)
    write_file(folder / "claims.txt", ("\n".join(claims_table(claims)) + "\n").encode())
    write_file(folder / "claims.md", claims_markdown(claims).encode())


def print_estimate(parts: Sequence[Reproduction], out: Console) -> None:
    """Print the remaining training in device hours, if every run uses its budget, per sweep and in all."""
    total: dict[str, float] = {}
    for part in parts:
        seconds_of: dict[str, float] = {}
        for sweep in part.sweeps:
            request = part.request(sweep)
            spec = request.spec()
            machine = machine_of(spec.resources, None, part.is_inline)
            parents = seconds_of.get(sweep.forks_of or "")
            device = "GPU" if machine.device == "cuda" else "CPU"
            whole = _fork_seconds(part, sweep, parents) if parents is not None else None
            if whole is None:
                plan = plan_for(spec, part.folder / sweep.name, machine)
                device = "GPU" if plan.packs[0].numerics.device == "cuda" else "CPU"
                whole = _seconds(plan)
            seconds_of[sweep.name] = whole
            left = whole * _share_left(part.store(sweep.name))
            total[device] = total.get(device, 0.0) + left
            out.print(f"  {part.paper.name}/{sweep.name}: {left / 3600:.2f} {device}-hours left", markup=False)
    cores = num_cpus_here()
    for device, seconds in total.items():
        wall = f", {clock(seconds / cores)} on {cores} cores" if device == "CPU" else ""
        out.print(f"at most {seconds / 3600:.2f} {device}-hours of training are left{wall}")


def _seconds(plan: Plan) -> float:
    """Seconds that the whole plan would keep one worker busy."""
    return estimate_cost(plan, 1).time_s


def _fork_seconds(part: Reproduction, sweep: PaperSweep, parents_s: float) -> float | None:
    """Seconds for forks of untrained parents, estimated from the parents' time; None if the parents are trained."""
    assert sweep.forks_of is not None
    store = part.store(sweep.forks_of)
    if _is_trained(store):
        return None
    by_name = {other.name: other for other in part.sweeps}
    parent, spec = part.request(by_name[sweep.forks_of]).spec(), part.request(sweep).spec()
    assert spec.fork is not None
    budgets = [parent.budget_of(run) for run in parent.runs()] if parent.fork is None else [parent.budget]
    num_parents = len(budgets)
    seeds = spec.fork.seeds_of("")
    num_forks = (num_parents if spec.fork.runs == "all" else len(spec.fork.runs)) * (1 if seeds is None else len(seeds))
    num_forks *= len(spec.fork.each_changes)
    steps = num_forks * sum(spec.budget - step for step in spec.fork.steps)
    return parents_s * steps / sum(budgets)


def _is_trained(store: SweepStore) -> bool:
    return store.exists() and not unfinished(store)


def _share_left(store: SweepStore) -> float:
    """Share of a sweep's steps that are not trained; 1 for a sweep that has not begun."""
    if not store.exists():
        return 1.0
    total = summed(progress_by_pack(store).values())
    return total.steps_left / sum(budget_by_run(store.plan).values())
