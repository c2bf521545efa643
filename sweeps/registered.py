"""Registrations of papers: where they lie, and what of a paper's sweeps they fix."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from analysis.claims.registration import Registration
from pipeline.spec.forks.section import Fork
from pipeline.spec.forks.weights import WEIGHTS
from pipeline.spec.sweep import SweepSpec, load_spec
from sweeps.papers import Paper

_SWEEPS = Path(__file__).resolve().parent
# Claims are judged by the full profile; the fast one shows less of the same sweeps.
PROFILE = "full"


def registration_path(paper: Paper) -> Path:
    """The file beside the paper's claims."""
    return _SWEEPS / paper.name / "registration.json"


def registration_of(paper: Paper) -> Registration:
    """The paper's registration, without entries where it has none. Raises RegistrationError where it was altered."""
    return Registration.read(registration_path(paper))


def seeds_by_sweep(paper: Paper) -> dict[str, Any]:
    """By sweep of the full profile its budget, the seeds as its file has them, and those of streams that it varies."""
    found: dict[str, Any] = {}
    for sweep in paper.of_profile(PROFILE):
        spec = load_spec(sweep.path, sweep.overrides(PROFILE) or ())
        if spec.fork is None:
            drawn = {"seeds": spec.model_dump(mode="json", include={"seeds"})["seeds"]} | _streams_of(spec)
        else:
            drawn = {"forks": spec.fork.model_dump(mode="json", include={"steps", "data_seed"}) | _runs_of(spec.fork)}
        found[sweep.name] = {"budget": spec.budget} | drawn
    return found


def _runs_of(fork: Fork) -> dict[str, Any]:
    """The parents that are named, and the runs that weights are taken from; nothing where there are none."""
    sources = {run for changes in fork.each_changes for run in changes.get(WEIGHTS, {}).values()}
    named = {} if fork.runs == "all" else {"runs": list(fork.runs)}
    return named | ({"take_from": sorted(sources), "alternatives": len(fork.alternatives)} if sources else {})


def _streams_of(spec: SweepSpec) -> dict[str, Any]:
    """Seeds of single streams by name; nothing where none is varied."""
    streams: dict[str, list[int]] = {}
    for setting in spec.expanded_settings:
        for name, seed in setting.streams.items():
            if seed not in streams.setdefault(name, []):
                streams[name].append(seed)
    return {"streams": streams} if streams else {}
