"""A sweep's two documents, read sealed and of the shape that seedbed writes, and the parts of its plan by pack.

A part is a file of its own, so that a worker need not read the plan of a million runs. It says nothing that the plan
does not say: where it is missing or damaged, the plan is read. Sweeps of few runs have none.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.store.backends.files import Files
from pipeline.store.files import CorruptFileError, make_inner_folder, read_file, write_file
from pipeline.store.formats.sealed import seal, unseal
from pipeline.store.pack_store import StoreError
from pipeline.store.plans import plan_columns
from pipeline.store.plans.plan_columns import RunColumns, with_columns, with_rows
from pipeline.store.shapes import PACK_RUNS, PACK_RUNS_BY_COLUMN, SWEEP, misfit, plan_misfit

PACK_PART = "runs.json"
# Documents that were found to be in order, by the SHA-256 of their files: a plan of 10,000 runs is read many times.
_CHECKED: dict[Path, bytes] = {}


def read_document(path: Path) -> dict[str, Any]:
    """The body of a sweep's document or its plan, by the name of the file. Raises CorruptFileError for another."""
    content = read_file(path)
    body, seen = unseal(content, path), hashlib.sha256(content).digest()
    if _CHECKED.get(path) != seen:
        problem = misfit(body, SWEEP) if path.name == "sweep.json" else plan_misfit(body)
        if problem is not None:
            raise CorruptFileError(f"{path}: is not what seedbed writes: {problem}")
        _CHECKED[path] = seen
    return body if path.name == "sweep.json" else with_rows(body)


def write_parts_by_pack(packs: Path, plan: Mapping[str, Any], is_shared: bool) -> None:
    """Write the part of every pack that has none into its folder in `packs`, if the plan is of many runs.

    Needs the driver's lock.
    """
    if len(plan["runs"]) <= plan_columns.FEW_RUNS:
        return
    columns, rows = RunColumns.of(plan["runs"]), plan["runs"]
    run_ids = [row["run_id"] for row in rows] if columns is None else columns.run_ids
    place_of = {run_id: place for place, run_id in enumerate(run_ids)}
    for entry in plan["packs"]:
        folder = packs / entry["pack_id"]
        make_inner_folder(folder, is_shared)
        if not (folder / PACK_PART).exists():
            places = [place_of[run_id] for run_id in entry["run_ids"]]
            own = [rows[place] for place in places] if columns is None else columns.at(places)
            write_file(folder / PACK_PART, seal(_part(entry, own)))


def read_part_of_pack(files: Files) -> tuple[dict[str, Any], list[dict[str, Any]]] | None:
    """The entry in the plan of the pack whose files these are, and the rows of its runs; None without a whole part."""
    try:
        body = unseal(files.get(PACK_PART), files.address_of(PACK_PART))
    except CorruptFileError:
        return None
    if misfit(body, PACK_RUNS_BY_COLUMN) is None:
        try:
            plan = with_rows({**body, "packs": [body["pack"]]})
            return {**body["pack"], "run_ids": [*plan["packs"][0]["run_ids"]]}, [*plan["runs"]]
        except StoreError:
            return None
    return None if misfit(body, PACK_RUNS) is not None else (body["pack"], body["runs"])


def _part(entry: Mapping[str, Any], rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The part of a pack as it is stored: like a plan of one pack, by columns where the plan can be."""
    columns = RunColumns.of(rows)
    kinds = dict.fromkeys([row["setting_id"] for row in rows] if columns is None else columns.setting_ids)
    settings: dict[str, dict[str, Any]] = {setting_id: {} for setting_id in kinds}
    plan = with_columns({"settings": settings, "runs": rows, "packs": [entry]}, of_few=True)
    if plan["runs"] is rows:
        return {"pack": entry, "runs": rows}
    return {"settings": settings, "runs": plan["runs"], "pack": plan["packs"][0]}
