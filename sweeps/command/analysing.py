"""`seedbed analyse`: outcomes, times to convergence and forecasts from the commits so far."""

from __future__ import annotations

import json
from typing import Any

from rich.console import Console

from analysis.summary.analyse import Analysis, analyse
from pipeline.planning.packs import stored_spec
from pipeline.store.files import write_file
from pipeline.store.pack_store import StoreError
from pipeline.store.sweep_store import SweepStore


def analysis_of(store: SweepStore) -> Analysis:
    """The analysis of the commits so far, by the sweep's own criterion. Raises StoreError if there are none."""
    spec = stored_spec(store)
    history = store.history()
    if not history.values:
        raise StoreError(f"{store.folder}: nothing is committed yet")
    return analyse(history, spec.criterion, provenance_of(store))


def provenance_of(store: SweepStore) -> dict[str, Any]:
    """The sweep of an analysis, and commit, versions and hardware of its newest launch."""
    sweep, plan = store.sweep, store.plan
    newest = sweep["launches"][-1]
    return {"sweep": plan["name"], "sweep_id": sweep["sweep_id"], **newest, "numerics": plan["packs"][0]["numerics"]}


def run_analyse(store: SweepStore, out: Console) -> Analysis:
    """Writes FOLDER/analysis.json and prints a summary. Raises StoreError if nothing is committed."""
    found = analysis_of(store)
    document = json.dumps(found.to_json(), indent=1, allow_nan=False).encode()
    write_file(store.folder / "analysis.json", document)
    out.print(found.summary(), markup=False)
    return found
