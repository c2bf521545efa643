"""Opens a results folder for a spec: creates, continues or extends it, or refuses and lists the differences."""

from __future__ import annotations

import platform
import subprocess
import time
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from pipeline.imports import without_garbage_collection
from pipeline.numerics.processor import processor
from pipeline.own_code.copies import copied
from pipeline.planning.consent import keep_allowed
from pipeline.planning.packs import Pack, Plan, packs_of, stored_spec
from pipeline.spec.run_config import RunConfig, Setting
from pipeline.spec.sweep import SweepSpec, diff
from pipeline.store.documents import write_parts_by_pack
from pipeline.store.files import make_inner_folder, write_file
from pipeline.store.pack_store import StoreError
from pipeline.store.sweep_store import SweepStore

# Fields that may change between launches while finished runs stay valid.
_FREE = ("description", "imports", "criteria", "resources", "tracking", "fork.sweep")
# Compared setting by setting.
_BUDGET = ("budget:",)
# More runs; that none is removed is checked run by run.
_EXTENDABLE = ("vary", "seeds", "fork.runs", "fork.data_seed")
_PACKAGES = ("torch", "lightning", "ray", "wandb", "numpy", "scipy", "scikit-learn", "pyarrow", "pydantic")


def kept_packs(spec: SweepSpec, runs: Mapping[str, RunConfig], folder: Path) -> tuple[Pack, ...]:
    """The packs that `folder` already has, for a spec that declares `runs`; none if it is new. Writes nothing.

    Raises StoreError, field by field, if the folder belongs to a spec that this one does not continue, or holds
    something other than a sweep.
    """
    store = SweepStore(folder)
    if not store.exists():
        if not store.is_free():
            raise StoreError(f"{folder}: is not empty and holds no sweep; name another with --results")
        return ()
    refuse_changes(stored_spec(store), spec, folder)
    kept = packs_of(store.plan)
    num_missing = len({run_id for pack in kept for run_id in pack.run_ids} - runs.keys())
    if num_missing:
        raise StoreError(
            f"{folder}: {num_missing} runs that are done or under way are not in the spec any more; adding seeds or "
            "settings keeps what is done, removing does not"
        )
    return kept


def refuse_changes(old: SweepSpec, new: SweepSpec, folder: Path) -> None:
    """Raises StoreError with every difference that would make the old runs' data untrue."""
    lines = [line for line in diff(old, new) if not line.startswith(_FREE + _EXTENDABLE + _BUDGET)]
    lines += _other_budgets(old, new)
    if lines:
        listed = "\n  ".join(lines)
        raise StoreError(
            f"{folder}: belongs to another spec; the differences:\n  {listed}\n"
            "name another folder with --results, or undo the changes (a larger budget, more seeds and more "
            "settings are allowed)"
        )


def _other_budgets(old: SweepSpec, new: SweepSpec) -> Iterator[str]:
    """A line for every budget of the old settings that is smaller now, or larger where runs cannot go on."""
    if old.fork is not None or new.fork is not None:
        pairs = [(old.budget, new.budget)]
    else:
        now = dict(zip(map(_canonical, new.expanded_settings), new.expanded_budgets, strict=True))
        before = zip(map(_canonical, old.expanded_settings), old.expanded_budgets, strict=True)
        pairs = [(budget, now[setting]) for setting, budget in before if setting in now]
    can_go_on = old.snapshots.at_the_end(old.num_runs) == "state"
    for was, is_now in dict.fromkeys(pairs):
        if is_now < was:
            yield f"budget: {was} -> {is_now}"
        elif is_now > was and not can_go_on:
            yield f"budget: {was} -> {is_now}, which needs the runs' last states, and none are kept (snapshots.last)"


def _canonical(setting: Setting) -> str:
    return setting.canonical


def open_results(plan: Plan, folder: Path, source: str, launch: Mapping[str, Any] | None = None) -> SweepStore:
    """Write the sweep's documents, with a launch more. `source` is the spec as it was given.

    `launch` is what to note of the launch beside its provenance.

    Needs the driver's lock. Raises StoreError if another launch changed the folder since `plan` was made for it.
    """
    store = SweepStore(folder)
    with without_garbage_collection():
        return _opened(store, plan, source, launch or {})


def _opened(store: SweepStore, plan: Plan, source: str, launch: Mapping[str, Any]) -> SweepStore:
    folder = store.folder
    kept = kept_packs(plan.spec, plan.runs, folder)
    if plan.packs[: len(kept)] != kept:
        raise StoreError(f"{folder}: another launch has changed it since this one was planned; launch again")
    document = plan.document()
    sweep_id = plan.spec.sweep_id
    launches: list[dict[str, Any]] = []
    if store.exists():
        before = store.sweep
        sweep_id, launches = before["sweep_id"], before["launches"]
    sweep = {
        "sweep_id": sweep_id,
        "name": plan.spec.name,
        "spec": plan.spec.identity(),
        "source": source,
        "launches": [*launches, {**provenance(), **launch}],
    }
    is_shared = plan.spec.resources.share_with_group
    store.write_documents(sweep, document, is_shared)
    write_parts_by_pack(folder / "packs", document, is_shared)
    # Whoever opens it has named its code, and may read it later without naming it again.
    keep_allowed()
    return store


def keep_copies(store: SweepStore, spec: SweepSpec) -> None:
    """Copy the files of the user's own that a sweep imports into its folder, for workers that lack them.

    Needs the driver's lock.
    """
    for path, content in copied(store.folder, spec.imports):
        for folder in reversed([*path.parents][: len(path.relative_to(store.folder).parts) - 1]):
            make_inner_folder(folder, spec.resources.share_with_group)
        if not path.is_file() or path.read_bytes() != content:
            write_file(path, content)


def provenance() -> Mapping[str, Any]:
    """Time, commit, versions and hardware; no environment variables, no user name."""
    return {
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "git_commit": _git_commit(),
        "versions": {"python": platform.python_version()} | {name: _version(name) for name in _PACKAGES},
        "hardware": {"machine": platform.machine(), "system": platform.system(), "processor": processor()},
    }


def _git_commit() -> str | None:
    here = Path(__file__).resolve().parents[2]
    try:
        done = subprocess.run(["git", "describe", "--always", "--dirty", "--abbrev=12"], cwd=here, capture_output=True)
    except OSError:
        return None
    return done.stdout.decode().strip() or None


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
